"""Fetches a study by WADO-RS (PS3.18 10.4): each part is stored in the inbox, a large one by way of a file there."""

from contextlib import ExitStack

from dicom_node.peers.peer import Peer
from dicom_node.peers.query_answers import QueryFailed
from dicom_node.peers.web_source import WebAnswer, WebLimits, asked_by_web
from dicom_node.reception.incoming_file import IncomingFile
from dicom_node.reception.intake import Fetched, Intake, NoRoom
from viewer_integration.multipart import MultipartError, PartBegins, PartEnds, PartPiece, boundary_of, read_multipart

__all__ = ["fetch_by_web"]

LARGEST_PART_BYTES = 2**30
"""Limit for one instance: an enhanced MR of a whole head stays under 0.3 GiB."""

_DICOM = "application/dicom"
_WANTED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_NAME = "WADO-RS"


def fetch_by_web(source: Peer, intake: Intake, limits: WebLimits) -> Fetched:
    """Fetch a study.

    Raises
    ------
    QueryFailed
        When nothing could be fetched. If a source breaks off, what arrived before is kept, and the result states this.
    """
    try:
        with asked_by_web(source, f"studies/{intake.study_uid}", _WANTED, _NAME, limits) as answer:
            return _take(answer, intake, source.name)
    except (QueryFailed, NoRoom) as failure:
        if not intake.received:
            raise QueryFailed(str(failure)) from failure
        return intake.result(_NAME, broken_off=str(failure))


def _take(answer: WebAnswer, intake: Intake, name: str) -> Fetched:
    if answer.is_empty:
        return intake.result(_NAME)
    try:
        boundary = boundary_of(answer.content_type)
    except MultipartError as error:
        raise QueryFailed(f"the {_NAME} answer of {name} {error}") from error
    try:
        _take_parts(answer, boundary, intake, name)
    except MultipartError as error:
        raise QueryFailed(f"the answer of {name} {error}") from error
    return intake.result(_NAME)


def _take_parts(answer: WebAnswer, boundary: str, intake: Intake, name: str) -> None:
    number = size = 0
    file: IncomingFile | None = None
    with ExitStack() as under_way:
        for event in read_multipart(answer.chunks(), boundary):
            match event:
                case PartBegins():
                    under_way.close()
                    number, size = number + 1, 0
                    wanted = event.content_type.partition(";")[0].strip() in ("", _DICOM)
                    file = under_way.enter_context(intake.file()) if wanted else None
                case PartPiece():
                    size += len(event.data)
                    if size > LARGEST_PART_BYTES:
                        raise QueryFailed(f"{name} sent a part of more than {LARGEST_PART_BYTES // 2**20} MiB")
                    if file is not None:
                        file.take(event.data)
                case PartEnds() if file is None:
                    intake.refuse(f"not {_DICOM}", "content_type")
                case PartEnds():
                    intake.take(file, f"part {number}")
