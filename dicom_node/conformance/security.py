"""Section 8 and Annex C: security, and the audit messages."""

from dicom_node.audit.codes import EventId
from dicom_node.conformance.document import Bullets, Paragraph, Section, Table
from dicom_node.conformance.facts import Facts

__all__ = ["audit_details", "security"]

_TRIGGERS = {
    EventId.APPLICATION_ACTIVITY: "a listener, worker or web process starts or stops",
    EventId.AUDIT_LOG_USED: "somebody reads or checks the trail",
    EventId.INSTANCES_ACCESSED: "somebody looks at a study's page, pictures or images, or changes its run",
    EventId.INSTANCES_TRANSFERRED: "an association that brought images ends; a study is fetched; results are sent",
    EventId.STUDY_DELETED: "the retention policy removes images, results or entries of a study",
    EventId.EXPORT: "a training set is exported; a result of the workbench is downloaded",
    EventId.IMPORT: "files are sent to the workbench; segmentations or reports arrive by STOW-RS",
    EventId.QUERY: "somebody searches studies; QIDO-RS is received; C-FIND or QIDO-RS is sent",
    EventId.SECURITY_ALERT: "something is refused; configuration, rules, models, users or tokens change",
    EventId.USER_AUTHENTICATION: "somebody logs in, fails to, or logs out",
}
_NOT_USED = (
    "Begin Transferring DICOM Instances",
    "Network Entry",
    "Order Record",
    "Patient Record",
    "Procedure Record",
)


def security(facts: Facts) -> Section:
    """Return section 8."""
    bound = facts.settings.node.bind
    who = "this machine alone" if bound in ("127.0.0.1", "::1", "localhost") else f"the network ({bound})"
    network = Bullets(
        (
            (
                f"The DICOM port is reachable from {who}. Senders are known by their AE titles; restrict the "
                f"port to the "
                "addresses of your PACS by a firewall."
            ),
            "DICOM over TLS (PS3.15 Annex B) is not supported by the node itself.",
            "User identity negotiation (PS3.7 D.3.3.7) is not evaluated.",
            (
                "The viewer's port takes the panel's login or a token of a program (RFC 6750) with a scope; a "
                "login from another host needs HTTPS."
            ),
            _logins(facts),
            "The secrets of DICOMweb servers come from the environment, and are sent only to the origin stated there.",
        )
    )
    audit = (
        "The node conforms to the Audit Trail Message Format Profile (PS3.15 A.5). Messages are kept in a file "
        "of the node, "
        "each chained to the one before by a keyed code. They are not transmitted to another system (PS3.15 A.6 "
        "and A.7 are "
        "not supported). Nothing about them can be configured. Details are in annex C."
    )
    return Section(
        number="8",
        title="Security",
        parts=(
            Section(number="8.1", title="Network security", blocks=(network,)),
            Section(number="8.2", title="Audit trail", blocks=(Paragraph(audit),)),
        ),
    )


def _logins(facts: Facts) -> str:
    """Return how people log in to the panel and the viewer."""
    oidc = facts.settings.oidc
    if not oidc.is_on:
        return "People log in with a name and a password, of which the node keeps an argon2id hash."
    who = "everyone who has one" if oidc.passwords else "administrators"
    return (
        f"People log in by OpenID Connect 1.0 (authorization code flow with PKCE, RFC 7636) at {oidc.issuer}; "
        f"{who} may log in with a name and a password too, of which the node keeps an argon2id hash."
    )


def audit_details(facts: Facts) -> Section:
    """Return annex C."""
    del facts  # the same for every configuration
    rows = [(event.value.meaning, "Y", _TRIGGERS[event], "N", "N") for event in EventId]
    rows += [(name, "N", "", "", "") for name in _NOT_USED]
    table = Table(
        title="Table A.C-1. Audit messages",
        columns=("Audit message", "Used", "Triggers", "Configurable triggers", "Configurable message"),
        rows=tuple(rows),
        widths=(26, 8, 40, 13, 13),
    )
    content = Bullets(
        (
            "Patients are named by their Patient ID (Patient Number) alone; the name is replaced by 'withheld'.",
            "Studies are named by Study Instance UID, with the number of instances by SOP class.",
            (
                "Processes are named by process ID and AE title (AETITLES=...), persons by account, programs by "
                "account and token (token:NAME)."
            ),
            "Of a query, values of names and free texts are withheld.",
            "Repeated looks at one study by one caller are one message in ten minutes.",
        )
    )
    return Section(number="A.C", title="Security details", blocks=(table, content))
