"""Section 6: what can be configured, and how it is at the moment."""

from dicom_node.conformance.document import Paragraph, Section, Table
from dicom_node.conformance.facts import Facts
from dicom_node.peers.peer import Peer
from viewer_integration.transport.association import ANSWER_TIMEOUT_S, CONNECTION_TIMEOUT_S

__all__ = ["configuration"]


def configuration(facts: Facts) -> Section:
    """Return section 6."""
    node, viewer = facts.settings.node, facts.settings.viewer
    local = Table(
        title="Table 6-1. Local application entities",
        columns=("Application entity", "AE title", "Address", "Port"),
        rows=(
            ("STORAGE-SCP, DELIVERY-SCU, QUERY-SCU", node.ae_title, node.bind, str(node.dicom_port)),
            ("DICOMWEB", "-", viewer.bind, str(viewer.port)),
        ),
        widths=(40, 24, 22, 14),
    )
    any_sender = "Any calling AE title is accepted (node.any_calling_ae)." if node.any_calling_ae else ""
    remote = Table(
        title="Table 6-2. Remote application entities",
        columns=("Peer", "AE title", "Host and port", "Roles"),
        rows=tuple((peer.name, peer.ae_title, _address(peer), ", ".join(_roles(peer))) for peer in facts.peers)
        or (("no peer is configured", "", "", ""),),
        widths=(22, 22, 24, 32),
    )
    text = (
        "AE title, address and port of the node are settings (a TOML file or environment variables) and apply "
        "from the next "
        "start. Peers are changed on the page AE titles; a change applies from the next association."
    )
    return Section(
        number="6",
        title="Configuration",
        blocks=(Paragraph(text),),
        parts=(
            Section(number="6.1", title="Local AE titles", blocks=(local,)),
            Section(
                number="6.2",
                title="Remote AE titles",
                blocks=(*((Paragraph(any_sender),) if any_sender else ()), remote),
            ),
            Section(number="6.3", title="Parameters", blocks=(_parameters(facts),)),
        ),
    )


def _address(peer: Peer) -> str:
    return f"{peer.host}:{peer.port}" if peer.host else "is never called"


def _roles(peer: Peer) -> list[str]:
    if not peer.enabled:
        return ["disabled"]
    roles = {"sends images": peer.may_send, "receives results": peer.is_destination, "is queried": peer.is_source}
    return [role for role, has in roles.items() if has] + (["STAT"] if peer.is_urgent else [])


def _parameters(facts: Facts) -> Table:
    listener, limits = facts.settings.listener, facts.settings.limits
    rows = (
        ("Association request and release (ARTIM, ACSE)", f"{listener.association_timeout_s} s", "yes"),
        ("DIMSE message, as SCP", f"{listener.dimse_timeout_s} s", "yes"),
        ("Association without traffic, as SCP", f"{listener.network_timeout_s} s", "yes"),
        ("Associations at the same time, for each listener process", str(listener.maximum_associations), "yes"),
        ("Listener processes on the port", str(listener.processes), "yes"),
        ("Connections from one address that wait for acceptance", str(listener.waiting_connections), "yes"),
        ("Largest data set", f"{limits.data_set_gib:g} GiB", "yes"),
        ("Connection and association request, as SCU", f"{CONNECTION_TIMEOUT_S} s", "no"),
        ("Answer to a request, as SCU", f"{ANSWER_TIMEOUT_S} s", "no"),
    )
    return Table(
        title="Table 6-3. Parameters", columns=("Parameter", "Value", "Configurable"), rows=rows, widths=(60, 22, 18)
    )
