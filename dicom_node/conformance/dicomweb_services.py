"""The part of section 5 on DICOM web services."""

from pydicom.uid import UID

from conversion.correction_classes import CORRECTIONS
from dicom_node.conformance.document import Paragraph, Section, Table
from dicom_node.conformance.facts import Facts
from dicom_node.reception.corrections import LARGEST_BYTES, MOST_OBJECTS, Failure

__all__ = ["ENDPOINTS", "STORE_ENDPOINTS", "origin_server", "user_agent"]

_STUDY = "/dicom-web/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_WHOLE = "multipart/related; type=application/dicom"
_JSON = "application/dicom+json"

ENDPOINTS: tuple[tuple[str, str, str], ...] = (
    ("/dicom-web/studies", "QIDO-RS: studies", _JSON),
    (_STUDY + "/series", "QIDO-RS: series", _JSON),
    (_STUDY + "/instances", "QIDO-RS: instances", _JSON),
    (_SERIES + "/instances", "QIDO-RS: instances", _JSON),
    (_STUDY, "WADO-RS: study", _WHOLE),
    (_SERIES, "WADO-RS: series", _WHOLE),
    (_INSTANCE, "WADO-RS: instance", f"{_WHOLE}; application/dicom"),
    (_STUDY + "/metadata", "WADO-RS: metadata", _JSON),
    (_SERIES + "/metadata", "WADO-RS: metadata", _JSON),
    (_INSTANCE + "/metadata", "WADO-RS: metadata", _JSON),
    (_INSTANCE + "/frames/{frames}", "WADO-RS: frames", "multipart/related, as stored"),
    (_INSTANCE + "/bulkdata/{path:path}", "WADO-RS: bulk data", "multipart/related, as stored"),
    ("/wado", "WADO-URI: instance", "application/dicom"),
)
"""Address, service and media types; a test compares them with the routes of the viewer's port."""

STORE_ENDPOINTS: tuple[tuple[str, str, str], ...] = (
    ("/dicom-web/studies", "STOW-RS", f"{_WHOLE}; answers {_JSON}"),
    (_STUDY, "STOW-RS", f"{_WHOLE}; answers {_JSON}"),
)

PARAMETERS = (
    (
        "{attribute}={value}",
        "by keyword or eight hexadecimal digits; wildcards * and ? in texts, ranges of dates and times",
    ),
    ("includefield", "an attribute, or all"),
    ("limit, offset", "page of the answers"),
)

STATUSES = (
    ("200", "answered; a header Warning counts stored files that cannot be read. STOW-RS: every object is stored"),
    ("202", "STOW-RS: some objects are stored; FailedSOPSequence and a header Warning say why the others are not"),
    ("400", "the address, a parameter or the multipart message is not valid"),
    ("401", "neither the panel's login nor a token"),
    ("403", "the request comes from a page of another site, or the role or the token's scope does not allow it"),
    ("404", "the node has stored nothing under this UID, or no such service"),
    ("405", "a method that is not supported at this address"),
    ("406", "the requested media type is not supported"),
    ("409", "STOW-RS: no object is stored"),
    ("413", "STOW-RS: too many objects, or one that is too large"),
    ("415", "STOW-RS: not multipart/related; type=application/dicom"),
    ("421", "the host name is not that of this node"),
    ("503", "the request cannot be recorded in the audit trail at the moment, or the disk is too full to store"),
)


_WHO = {
    False: "to users who are logged in to the panel and to programs with a token",
    True: "to anyone who can reach it (setting viewer.open); STOW-RS to nobody",
}


def origin_server(facts: Facts) -> Section:
    """Return the section on what the viewer's port serves."""
    viewer = facts.settings.viewer
    text = (
        f"The viewer's port ({viewer.bind}, port {viewer.port}) answers GET and HEAD, and POST for STOW-RS, "
        f"{_WHO[viewer.open]}. Instances and frames are "
        f"sent in the "
        "stored transfer syntax; those in Explicit VR Big Endian in Explicit VR Little Endian. Frames are "
        "numbered from "
        "1, at most 1000 in one request. fuzzymatching is not supported."
    )
    taken = (
        "STOW-RS stores segmentations and structured reports ("
        f"{', '.join(UID(one).name for one in CORRECTIONS)}) of a study that the node holds, of the same patient, that "
        "refer to an image or a result of it. Failure Reason (0008,1197): "
        f"{', '.join(f'{int(one):04X}H {one.name.lower().replace(chr(95), chr(32))}' for one in Failure)}. At most "
        f"{MOST_OBJECTS} objects of {LARGEST_BYTES // 2**20} MiB in one request."
    )
    return Section(
        number="5.2.1",
        title="Origin server",
        blocks=(
            Paragraph(text),
            Paragraph(taken),
            Table(
                title="Table 5-7. Addresses",
                columns=("Address", "Service", "Media types"),
                rows=(*ENDPOINTS, *STORE_ENDPOINTS),
                widths=(48, 22, 30),
            ),
            Table(
                title="Table 5-8. Parameters of QIDO-RS", columns=("Parameter", "Use"), rows=PARAMETERS, widths=(28, 72)
            ),
            Table(title="Table 5-9. HTTP status codes", columns=("Status", "Meaning"), rows=STATUSES, widths=(14, 86)),
        ),
    )


def user_agent(facts: Facts) -> Section:
    """Return the section on the DICOMweb servers that the node calls."""
    rows = tuple(
        (peer.name, peer.dicomweb_url, ", ".join(_uses(peer.is_source, peer.send_by == "stow-rs")))
        for peer in facts.peers
        if peer.enabled and peer.dicomweb_url
    )
    table = Table(
        title="Table 5-10. DICOMweb servers",
        columns=("Peer", "Base address", "Services used"),
        rows=rows or (("none is configured", "", ""),),
        widths=(24, 46, 30),
    )
    text = (
        "STOW-RS sends application/dicom in multipart/related and reads application/dicom+json: an object counts as "
        "accepted only where the answer lists it, and a FailedSOPSequence is honoured."
    )
    return Section(number="5.2.2", title="User agent", blocks=(Paragraph(text), table))


def _uses(is_source: bool, stows: bool) -> list[str]:  # noqa: FBT001 - two facts of a peer
    return [*(["QIDO-RS", "WADO-RS"] if is_source else []), *(["STOW-RS"] if stows else [])]
