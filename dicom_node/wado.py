"""Fetches a study by WADO-RS (PS3.18 10.4): each part goes to disk as it comes, then into the inbox."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dicom_node.intake import Fetched, Intake, NoRoom
from dicom_node.peer import Peer
from dicom_node.query_answers import QueryFailed
from dicom_node.web_source import WebAnswer, WebLimits, asked_by_web
from viewer_integration.multipart import MultipartError, PartBegins, PartEnds, PartPiece, boundary_of, read_multipart

__all__ = ["fetch_by_web"]

LARGEST_PART_BYTES = 2**30
"""One instance: enhanced MR of a whole head stays under 0.3 GiB."""

_DICOM = "application/dicom"
_WANTED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_NAME = "WADO-RS"


def fetch_by_web(source: Peer, intake: Intake, folder: Path, limits: WebLimits) -> Fetched:
    """Fetch a study.

    Parameters
    ----------
    folder
        On the disk that has room: a part is there while it comes, without a name, so that nothing of it stays.

    Raises
    ------
    QueryFailed
        When nothing could be fetched. What came before a source broke off is kept, and it says so.
    """
    try:
        with asked_by_web(source, f"studies/{intake.study_uid}", _WANTED, _NAME, limits) as answer:
            return _take(answer, intake, folder, source.name)
    except (QueryFailed, NoRoom) as failure:
        if not intake.came:
            raise QueryFailed(str(failure)) from failure
        return intake.result(_NAME, broken_off=str(failure))


def _take(answer: WebAnswer, intake: Intake, folder: Path, name: str) -> Fetched:
    if answer.is_empty:
        return intake.result(_NAME)
    try:
        boundary = boundary_of(answer.content_type)
    except MultipartError as error:
        raise QueryFailed(f"{name} answered {_NAME} with what {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            for number, content in enumerate(_parts(_with_room(answer, intake), boundary, file, name), start=1):
                if content is None:
                    intake.refuse(f"no {_DICOM}", "content_type")
                else:
                    intake.file(content, f"part {number}")
        except MultipartError as error:
            raise QueryFailed(f"the answer of {name} {error}") from error
    return intake.result(_NAME)


def _with_room(answer: WebAnswer, intake: Intake) -> Iterator[bytes]:
    for chunk in answer.chunks():
        intake.check_disk()
        yield chunk


def _parts(chunks: Iterator[bytes], boundary: str, file: IO[bytes], name: str) -> Iterator[bytes | None]:
    """Yield whole parts; None for one that is no DICOM file."""
    size, wanted = 0, True
    for event in read_multipart(chunks, boundary):
        match event:
            case PartBegins():
                size, wanted = 0, event.content_type.partition(";")[0].strip() in ("", _DICOM)
                file.seek(0)
                file.truncate()
            case PartPiece():
                size += len(event.data)
                if size > LARGEST_PART_BYTES:
                    raise QueryFailed(f"{name} sent a part of more than {LARGEST_PART_BYTES // 2**20} MiB")
                if wanted:
                    file.write(event.data)
            case PartEnds():
                file.seek(0)
                yield file.read() if wanted else None
