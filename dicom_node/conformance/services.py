"""Section 5: each service, its behaviour, and its status codes."""

from dicom_node.conformance.dicomweb_services import origin_server, user_agent
from dicom_node.conformance.document import Bullets, Paragraph, Section, Table
from dicom_node.conformance.facts import Facts
from dicom_node.peers.query import DEMOGRAPHICS, FIND_S
from dicom_node.reception.acceptor.dimse_commands import CANNOT_UNDERSTAND
from dicom_node.reception.contract import (
    DATA_SET_MISMATCH,
    NO_SUCH_INSTANCE,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
)
from dicom_node.retrieval.fetch import FETCHED_CLASSES, GET_S

__all__ = ["services"]

_WIDTHS = (14, 26, 60)


def services(facts: Facts) -> Section:
    """Return section 5."""
    dimse = (
        _verification(),
        _storage_scp(facts),
        _storage_scu(facts),
        _commitment(facts),
        _find(facts),
        _retrieve(facts),
    )
    return Section(
        number="5",
        title="Service and interoperability description",
        parts=(
            Section(number="5.1", title="DIMSE services", parts=dimse),
            Section(number="5.2", title="DICOM web services", parts=(origin_server(facts), user_agent(facts))),
        ),
    )


def _verification() -> Section:
    text = (
        "As SCP, every accepted peer gets the status 0x0000. As SCU, the button C-ECHO on the page AE titles "
        "calls a peer "
        "and shows why it does not answer."
    )
    return Section(number="5.1.1", title="Verification", blocks=(Paragraph(text),))


def _storage_scp(facts: Facts) -> Section:
    limits = facts.settings.limits
    behaviour = Bullets(
        (
            (
                "Success means that the data set is on the disk. A duplicate changes nothing; an object with a "
                "known UID and "
                "other bytes is kept beside the first."
            ),
            "Level 2 (full): all attributes, also private ones, are kept. Nothing is coerced.",
            (
                f"Data sets larger than {limits.data_set_gib:g} GiB are refused, and all while less than "
                f"{limits.free_disk_gib:g} GiB of disk are free."
            ),
            (
                "An object is stored only over a presentation context of its own SOP class. A data set that is encoded "
                "otherwise than negotiated is read as it is encoded."
            ),
            "Stored objects are kept " + _kept(facts) + ".",
        )
    )
    return Section(
        number="5.1.2",
        title="Storage as SCP",
        blocks=(
            Paragraph("The accepted SOP classes and transfer syntaxes are in 7.1.2."),
            behaviour,
            storage_statuses(),
        ),
    )


def _kept(facts: Facts) -> str:
    days = facts.settings.retention.pixels_days
    return f"for {days:g} days after their study is finished and delivered" if days else "without a limit of time"


def storage_statuses() -> Table:
    """Return the statuses of a C-STORE response and what each means."""
    rows = (
        (SUCCESS, "Success", "the data set is stored durably"),
        (
            OUT_OF_RESOURCES,
            "Out of resources",
            "the disk is full, the data set too large, or storing failed: try again",
        ),
        (DATA_SET_MISMATCH, "Data set does not match", "SOP class or instance differ from those of the request"),
        (CANNOT_UNDERSTAND, "Cannot understand", "the data set cannot be read, or lacks a valid UID"),
        (0x0122, "SOP class not supported", "the request is for another SOP class than its presentation context"),
        (NOT_AUTHORISED, "Not authorised", "the AE title is accepted for storage commitment results only"),
        (0x0211, "Unrecognised operation", "an operation other than C-ECHO, C-STORE and N-EVENT-REPORT"),
    )
    return Table(
        title="Table 5-1. Status codes of Storage SCP",
        columns=("Status", "Meaning", "When"),
        rows=tuple((f"0x{code:04X}", meaning, when) for code, meaning, when in rows),
        widths=_WIDTHS,
    )


def _storage_scu(facts: Facts) -> Section:
    rows = (
        ("0x0000", "Success", "accepted; proof is asked for, see 5.1.4"),
        ("0xB000 to 0xBFFF", "Warning", "accepted; the status is kept and shown"),
        ("any other", "Failure", "not accepted; sent again after 5, 10, 20 s and so on, at most every 15 minutes"),
        ("none", "No answer", "the destination is first asked whether it holds the object, then sent again"),
    )
    answers = Table(
        title="Table 5-2. Reaction of Storage SCU",
        columns=("Status", "Meaning", "Reaction"),
        rows=rows,
        widths=_WIDTHS,
    )
    sent = tuple(
        (
            peer.name,
            peer.objects,
            "STOW-RS" if peer.send_by == "stow-rs" else "C-STORE",
            peer.transfer_syntax,
            str(peer.seg_form),
            f"{peer.seg_series}, {peer.sr_series}",
        )
        for peer in facts.destinations
    )
    table = Table(
        title="Table 5-3. What each destination gets",
        columns=("Destination", "Objects", "By", "Transfer syntax", "SEG as", "Series numbers"),
        rows=sent or (("no destination is configured", "", "", "", "", ""),),
        widths=(24, 12, 14, 18, 14, 18),
    )
    return Section(number="5.1.3", title="Storage as SCU", blocks=(table, answers))


def _commitment(facts: Facts) -> Section:
    text = (
        "After a C-STORE, the destination is asked for storage commitment (N-ACTION). Its answer "
        "(N-EVENT-REPORT) is taken "
        "over the same association or over one that it opens to STORAGE-SCP, and counts once within seven days."
    )
    how = Table(
        title="Table 5-4. Proof of storage by destination",
        columns=("Destination", "Proof"),
        rows=tuple((peer.name, peer.proof) for peer in facts.destinations) or (("no destination is configured", ""),),
        widths=(50, 50),
    )
    statuses = Table(
        title="Table 5-5. Status codes of the N-EVENT-REPORT response",
        columns=("Status", "Meaning", "When"),
        rows=(
            (f"0x{SUCCESS:04X}", "Success", "the result is recorded"),
            (f"0x{PROCESSING_FAILURE:04X}", "Processing failure", "the result cannot be read or recorded"),
            (f"0x{NO_SUCH_INSTANCE:04X}", "No such instance", "the node has not asked for this transaction"),
        ),
        widths=_WIDTHS,
    )
    return Section(number="5.1.4", title="Storage commitment as SCU", blocks=(Paragraph(text), how, statuses))


def _find(facts: Facts) -> Section:
    named = ", ".join(peer.name for peer in facts.sources) or "none"
    keys = Table(
        title="Table 5-6. Keys of C-FIND requests, Study Root",
        columns=("Level", "Matching keys", "Return keys"),
        rows=(
            ("STUDY", "Study Instance UID", ", ".join(DEMOGRAPHICS)),
            ("STUDY", "Patient ID", "StudyInstanceUID, StudyDate, ModalitiesInStudy"),
            ("SERIES", "Study Instance UID", "SeriesInstanceUID, Modality"),
            ("IMAGE", "Study and Series Instance UID", "SOPInstanceUID"),
        ),
        widths=(14, 36, 50),
    )
    text = f"Peers that are queried: {named}. No wildcards and no names are sent. A query that does not end is aborted "
    return Section(
        number="5.1.5",
        title="Query as SCU",
        blocks=(Paragraph(f"{text}after {FIND_S:g} s."), keys),
    )


def _retrieve(facts: Facts) -> Section:
    move = facts.settings.node.ae_title
    text = (
        "A study is fetched by its UID when a person asks for it, with the priors of its patient on request. "
        "WADO-RS is "
        "used where the peer has a DICOMweb address, else C-GET, else C-MOVE with the destination "
        f"{move}. A transfer is aborted after {GET_S / 3600:g} h. These SOP classes are proposed for C-GET, as SCP:"
    )
    return Section(
        number="5.1.6",
        title="Retrieve as SCU",
        blocks=(Paragraph(text), Bullets(tuple(f"{uid.name} ({uid})" for uid in FETCHED_CLASSES))),
    )
