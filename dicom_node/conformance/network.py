"""Section 7: associations, presentation contexts, and physical network."""

from collections.abc import Sequence

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.conformance.document import Paragraph, Section, Table
from dicom_node.conformance.facts import Facts
from dicom_node.reception.acceptor.line import MAXIMUM_PDU_BYTES
from dicom_node.reception.contract import (
    ACCEPTED_SOP_CLASSES,
    ACCEPTED_TRANSFER_SYNTAXES,
    BUSY,
    CALLED_UNKNOWN,
    CALLING_UNKNOWN,
    COMMITMENT,
    FULL,
    VERIFICATION,
    accepted_contexts,
)
from dicom_node.retrieval.fetch import FETCHED_CLASSES
from viewer_integration.transport.requestor import LARGEST_PDU_BYTES

__all__ = ["ACCEPTED_CONTEXTS", "ACCEPTED_SYNTAXES", "network", "sop_class_name"]

ACCEPTED_CONTEXTS = "Table 7-3. Accepted SOP classes"
ACCEPTED_SYNTAXES = "Table 7-4. Transfer syntaxes accepted for storage, in the order of preference"

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_FIND, _GET, _MOVE = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 3, 2))
_CREATED = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.88.34")


def network(facts: Facts) -> Section:
    """Return section 7."""
    associations = Section(
        number="7.1",
        title="Associations",
        parts=(
            Section(number="7.1.1", title="General", blocks=(_general(facts),)),
            Section(number="7.1.2", title="Acceptance", blocks=(Paragraph(_POLICY), _rejections(), *_accepted())),
            Section(number="7.1.3", title="Initiation", blocks=(Paragraph(_INITIATION), _proposed())),
        ),
    )
    tcp = (
        "TCP/IP, version 4 or 6, by any network that the operating system supports. The node needs no "
        "particular services "
        "such as DHCP, DNS or NTP; peers may be named by host name. TLS is described in section 8."
    )
    return Section(
        number="7",
        title="Network and media communication details",
        parts=(
            associations,
            Section(number="7.2", title="Physical network", blocks=(Paragraph(tcp),)),
            Section(number="7.3", title="Media", blocks=(Paragraph("No media storage service is supported."),)),
        ),
    )


def _general(facts: Facts) -> Table:
    listener = facts.settings.listener
    rows = (
        ("Application context", _APPLICATION_CONTEXT),
        ("Implementation class UID", facts.implementation_uid),
        ("Implementation version name", facts.implementation_version),
        ("Maximum PDU size announced as acceptor", f"{MAXIMUM_PDU_BYTES} bytes"),
        ("Largest PDU read as requestor", f"{LARGEST_PDU_BYTES} bytes"),
        (
            "Associations accepted at a time",
            f"{listener.maximum_associations} for each of {listener.processes} processes",
        ),
        ("Associations initiated at a time", "one for each destination, and one for queries and fetching"),
        ("Asynchronous operations", "not supported: one operation at a time"),
        ("SOP class extended and user identity negotiation", "accepted and ignored"),
        ("SCP/SCU role selection", "for storage commitment (SCP) and C-GET (storage SCP)"),
    )
    return Table(title="Table 7-1. General", columns=("Item", "Value"), rows=rows, widths=(46, 54))


_POLICY = (
    "An association is accepted when the called AE title is that of the node and the calling one belongs to an "
    "enabled peer "
    "that may send, or to a destination that answers storage commitment. Of the transfer syntaxes of one presentation "
    "context, the first of Table 7-4 is accepted: uncompressed before compressed ones, lossy ones last."
)


def _rejections() -> Table:
    codes = (
        (CALLED_UNKNOWN, "the called AE title is not that of this node"),
        (CALLING_UNKNOWN, "the calling AE title is not an enabled peer"),
        (BUSY, "the node is in maintenance, or cannot read its peers: try again later"),
        (FULL, "as many associations as allowed are open: try again later"),
    )
    rows = tuple(
        (
            f"{code['result']} ({'permanent' if code['result'] == 1 else 'transient'})",
            f"{code['source']} ({'service user' if code['source'] == 1 else 'service provider'})",
            str(code["diagnostic"]),
            when,
        )
        for code, when in codes
    )
    return Table(
        title="Table 7-2. Rejections (A-ASSOCIATE-RJ)",
        columns=("Result", "Source", "Reason", "When"),
        rows=rows,
        widths=(20, 22, 12, 46),
    )


def _accepted() -> tuple[Table, Table]:
    contexts = accepted_contexts()
    storage = "Table 7-4"
    rows = tuple(
        (
            sop_class_name(uid),
            str(uid),
            storage if syntaxes is contexts[ACCEPTED_SOP_CLASSES[0]] else _named(syntaxes),
            "SCU" if uid == COMMITMENT else "SCP",
        )
        for uid, syntaxes in contexts.items()
    )
    classes = Table(
        title=ACCEPTED_CONTEXTS,
        columns=("SOP class", "UID", "Transfer syntaxes", "Role"),
        rows=rows,
        widths=(38, 30, 24, 8),
    )
    syntaxes = Table(
        title=ACCEPTED_SYNTAXES,
        columns=("Transfer syntax", "UID"),
        rows=tuple((uid.name, str(uid)) for uid in ACCEPTED_TRANSFER_SYNTAXES),
        widths=(66, 34),
    )
    return classes, syntaxes


_NEWER = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
}
"""SOP classes that pydicom's dictionary does not contain yet."""


def sop_class_name(uid: UID) -> str:
    """Return the name of a SOP class (PS3.6 A)."""
    return _NEWER.get(uid, uid.name)


def _named(syntaxes: Sequence[UID]) -> str:
    return ", ".join(str(uid) for uid in syntaxes)


_INITIATION = (
    "Associations are initiated to deliver results (with a request for storage commitment, or a query, after "
    "it), to query, "
    "to fetch, and to test a peer by C-ECHO. Each transfer syntax is proposed in a presentation context of its own."
)


def _proposed() -> Table:
    sent = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    created = f"{ExplicitVRLittleEndian}, or as the destination's profile states ({', '.join(map(str, sent))})"
    plain = _named(_PLAIN)
    rows = [
        ("Verification", str(VERIFICATION), "the default of C-ECHO", "SCU"),
        *((sop_class_name(UID(uid)), uid, created, "SCU") for uid in _CREATED),
        (COMMITMENT.name, str(COMMITMENT), plain, "SCU"),
        *((UID(uid).name, uid, plain, "SCU") for uid in (_FIND, _GET, _MOVE)),
        *((f"{uid.name}, for C-GET", str(uid), plain, "SCP") for uid in FETCHED_CLASSES),
    ]
    return Table(
        title="Table 7-5. Proposed SOP classes",
        columns=("SOP class", "UID", "Transfer syntaxes", "Role"),
        rows=tuple(rows),
        widths=(34, 28, 30, 8),
    )
