"""Takes corrections by STOW-RS (PS3.18 10.5): segmentations and reports about studies that the node holds."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import anyio.from_thread
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dicom_node.reception.corrections import LARGEST_BYTES, MOST_OBJECTS, Correction, Corrections, Failure
from dicom_node.reception.incoming_file import IncomingFile
from viewer_integration.multipart import MultipartError, PartBegins, PartEnds, PartPiece, boundary_of, read_multipart

__all__ = ["STORE_ADDRESSES", "store_routes"]

_STUDIES = "/dicom-web/studies"
STORE_ADDRESSES = f"{_STUDIES}(/[^/]+)?"
"""Addresses to which objects are sent, as a regular expression."""

_DICOM = "application/dicom"
_ANSWERS = "application/dicom+json"
_WANTED = 'Send multipart/related; type="application/dicom": one part for each segmentation or report.'
_UID, _CLASS, _REASON, _URL = "00081155", "00081150", "00081197", "00081190"
_STORED, _FAILED = "00081199", "00081198"


def store_routes(corrections: Corrections) -> list[Route]:
    """Return the routes of the store transaction, with and without a study in the address."""

    async def store(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        try:
            boundary = boundary_of(content_type)
        except MultipartError:
            return PlainTextResponse(_WANTED + "\n", 415)
        if parse_options_header(content_type)[1].get(b"type", _DICOM.encode()) != _DICOM.encode():
            return PlainTextResponse(_WANTED + "\n", 415)
        study_uid = request.path_params.get("study", "")
        pieces = _Pieces(request)
        try:
            done = await run_in_threadpool(_take, corrections, pieces, boundary, study_uid)
        except _TooMuch as error:
            return PlainTextResponse(f"{error}\n", 413)
        except MultipartError as error:
            return PlainTextResponse(f"The request {error}.\n", 400)
        return _answer(done, str(request.base_url).rstrip("/"))

    return [
        Route(_STUDIES, store, methods=["POST"]),
        Route(_STUDIES + "/{study}", store, methods=["POST"]),
    ]


class _TooMuch(Exception):  # noqa: N818 - named for what happened
    """The request is larger than a viewer's would be."""


class _Pieces:
    """The body of a request, for a thread: each piece is fetched as it is needed."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                piece = anyio.from_thread.run(self._stream.__anext__)
            except StopAsyncIteration:
                return
            except ClientDisconnect as error:
                raise MultipartError("was cut short") from error
            yield piece


def _take(corrections: Corrections, pieces: _Pieces, boundary: str, study_uid: str) -> list[Correction]:
    done: list[Correction] = []
    file: IncomingFile | None = None
    size, unwritten = 0, ""
    with ExitStack() as under_way:
        for event in read_multipart(pieces, boundary):
            match event:
                case PartBegins():
                    if len(done) == MOST_OBJECTS:
                        raise _TooMuch(f"A request may have at most {MOST_OBJECTS} objects.")
                    size, unwritten, file = 0, "", corrections.file()
                    under_way.callback(file.discard)
                case PartPiece():
                    size += len(event.data)
                    if size > LARGEST_BYTES:
                        raise _TooMuch(f"An object may have at most {LARGEST_BYTES // 2**20} MiB.")
                    if file is not None and not unwritten:
                        unwritten = _written(file, event.data)
                case PartEnds() if file is not None:
                    failed = Correction(failure=Failure.OUT_OF_RESOURCES, sentence=unwritten)
                    done.append(failed if unwritten else corrections.take(file, study_uid))
                    under_way.close()
    return done


def _written(file: IncomingFile, piece: bytes) -> str:
    """Write a piece; return why it cannot be written, if so."""
    try:
        file.take(piece)
    except OSError as error:
        return f"it could not be written: {error.strerror or type(error).__name__}"
    return ""


def _answer(done: Sequence[Correction], root: str) -> Response:
    """Return the Store Instances Response (PS3.18 10.5.3 and annex I.2); a warning says why something failed."""
    if not done:
        return PlainTextResponse("The request contains no object. " + _WANTED + "\n", 400)
    stored, failed = [one for one in done if one.failure is None], [one for one in done if one.failure is not None]
    content: dict[str, object] = {}
    if studies := {one.study_uid for one in stored}:
        content[_URL] = {"vr": "UR", "Value": [f"{root}{_STUDIES}/{uid}" for uid in sorted(studies)][:1]}
    for tag, group in ((_FAILED, failed), (_STORED, stored)):
        if group:
            content[tag] = {"vr": "SQ", "Value": [_item(one, root) for one in group]}
    status = 200 if not failed else 202 if stored else 409
    if not stored and all(one.failure == Failure.OUT_OF_RESOURCES for one in failed):
        status = 503
    reasons = "; ".join(dict.fromkeys(one.sentence for one in failed))
    warning = {"Warning": f'299 glionode "{_header_text(reasons)}"'} if failed else {}
    return Response(json.dumps(content), status, media_type=_ANSWERS, headers=warning)


def _item(one: Correction, root: str) -> dict[str, object]:
    item: dict[str, object] = {
        tag: {"vr": "UI", "Value": [uid]} if uid else {"vr": "UI"}
        for tag, uid in ((_CLASS, one.sop_class_uid), (_UID, one.sop_instance_uid))
    }
    if one.failure is None:
        address = f"{root}{_STUDIES}/{one.study_uid}/series/{one.series_uid}/instances/{one.sop_instance_uid}"
        return item | {_URL: {"vr": "UR", "Value": [address]}}
    return item | {_REASON: {"vr": "US", "Value": [int(one.failure)]}}


def _header_text(sentence: str) -> str:
    """Return a text that may stand quoted in a header."""
    return sentence.encode("ascii", "replace").decode("ascii").replace("\\", "/").replace('"', "'").replace("\n", " ")
