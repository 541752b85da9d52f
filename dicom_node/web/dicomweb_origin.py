"""A read-only DICOMweb origin over what the node holds: QIDO-RS, WADO-RS and WADO-URI (PS3.18)."""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import structlog
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from conversion.encoding import SettledDataset
from dicom_node.holdings import HeldInstance, HeldStudy, Holdings
from viewer_integration.big_endian import little_endian_file, was_big_endian
from viewer_integration.dicom_json import JsonObject, dicom_json
from viewer_integration.dicomweb import (
    Query,
    QueryError,
    StudySummary,
    instance_answer,
    instance_url,
    is_uid,
    matches,
    parse_query,
    series_answer,
    study_answer,
)
from viewer_integration.frames import FrameError, Part, bulk_parts, frame_part, multipart, multipart_type

__all__ = ["DicomwebOrigin"]

log = structlog.get_logger(__name__)

_ROOT = "/dicom-web"
_STUDY = _ROOT + "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_DICOM = "application/dicom"
_JSON = "application/dicom+json"
_NO_STORE = {"Cache-Control": "no-store"}
_NOT_HELD = "The node holds nothing of this name."


class DicomwebOrigin:
    """Answers for `/dicom-web` and `/wado` from the node's holdings.

    Parameters
    ----------
    holdings
        What the node holds.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def routes(self) -> list[Route]:
        """Return the routes, which stand at the root of the viewer's port."""
        table: dict[str, Callable[[Request], Response]] = {
            _ROOT + "/studies": self.search_studies,
            _STUDY: self.retrieve,
            _STUDY + "/metadata": self.metadata,
            _STUDY + "/series": self.search_series,
            _STUDY + "/instances": self.search_instances,
            _SERIES: self.retrieve,
            _SERIES + "/metadata": self.metadata,
            _SERIES + "/instances": self.search_instances,
            _INSTANCE: self.retrieve,
            _INSTANCE + "/metadata": self.metadata,
            _INSTANCE + "/frames/{frames}": self.frames,
            _INSTANCE + "/bulkdata/{path:path}": self.bulk_data,
            "/wado": self.wado_uri,
        }
        return [Route(path, handler, methods=["GET"]) for path, handler in table.items()]

    def search_studies(self, request: Request) -> Response:
        """QIDO-RS: search for studies (PS3.18 10.6)."""
        query, root = _query(request), _root(request)
        return _answers(self._studies(query, root), query)

    def _studies(self, query: Query, root: str) -> Iterator[Dataset]:
        for study in self._holdings.studies(query.study_uids):
            headers = [self._header(series.sample, study.key) for series in study.series]
            readable = [header for header in headers if header is not None]
            if readable:
                answer = study_answer(readable[0], _summary(study, readable), root, query)
                if matches(answer, readable[0], query):
                    yield answer

    def search_series(self, request: Request) -> Response:
        """QIDO-RS: search for the series of a study."""
        study_uid = _uid(request, "study")
        query, root = _query(request), _root(request)
        return _answers(self._series(study_uid, query, root), query)

    def _series(self, study_uid: str, query: Query, root: str) -> Iterator[Dataset]:
        for study in self._holdings.studies([study_uid]):
            for series in study.series:
                header = self._header(series.sample, study.key)
                if header is not None:
                    answer = series_answer(header, series.count, root, query)
                    if matches(answer, header, query):
                        yield answer

    def search_instances(self, request: Request) -> Response:
        """QIDO-RS: search for the instances of a study or a series."""
        held, query, root = self._held(request), _query(request), _root(request)
        return _answers(self._instances(held, query, root), query)

    def _instances(self, held: list[HeldInstance], query: Query, root: str) -> Iterator[Dataset]:
        for header in self._headers(held):
            answer = instance_answer(header, header.file_meta.TransferSyntaxUID, root, query)
            if matches(answer, header, query):
                yield answer

    def metadata(self, request: Request) -> Response:
        """WADO-RS: metadata of a study, a series or an instance."""
        root = _root(request)
        headers = self._headers(self._held(request, must_exist=True))
        return _json([dicom_json(header, f"{instance_url(root, header)}/bulkdata") for header in headers])

    def retrieve(self, request: Request) -> Response:
        """WADO-RS: whole instances, as they are stored; big endian ones in explicit VR little endian (PS3.18 8.7.3).

        A file that is not encoded as it says is written anew, and says so then.
        """
        held = self._held(request, must_exist=True)
        if not _accepts(request, "multipart/related"):
            if len(held) == 1 and _accepts(request, _DICOM):
                return self._file(held[0])
            raise HTTPException(406, "Instances are given as multipart/related with parts of application/dicom.")
        boundary = secrets.token_hex(16)
        body = multipart((self._instance_part(one) for one in held), boundary)
        return StreamingResponse(body, media_type=multipart_type(_DICOM, boundary), headers=_NO_STORE)

    def _instance_part(self, held: HeldInstance) -> Part:
        header = self._holdings.header(held.path)
        syntax = header.file_meta.TransferSyntaxUID
        body = self._turned(held) if _needs_turning(header) else held.path.read_bytes()
        return Part(content_type=f"{_DICOM}; transfer-syntax={syntax}", body=body)

    def _file(self, held: HeldInstance) -> Response:
        header = self._header(held.path, held.study_key)
        if header is not None and _needs_turning(header):
            return Response(self._turned(held), media_type=_DICOM, headers=_NO_STORE)
        return FileResponse(held.path, media_type=_DICOM, headers=_NO_STORE)

    def _turned(self, held: HeldInstance) -> bytes:
        return little_endian_file(self._holdings.whole(held.path))

    def frames(self, request: Request) -> Response:
        """WADO-RS: frames by their numbers, in the transfer syntax in which they are stored."""
        numbers = request.path_params["frames"].split(",")
        if not all(number.isascii() and number.isdigit() and len(number) <= 6 for number in numbers):
            raise HTTPException(400, "Frame numbers are whole numbers from 1, with commas between them.")
        ds = self._whole(request)
        return _parts(request, lambda: [frame_part(ds, int(number)) for number in numbers])

    def bulk_data(self, request: Request) -> Response:
        """WADO-RS: one large value, such as the whole pixel data."""
        ds = self._whole(request)
        return _parts(request, lambda: bulk_parts(ds, request.path_params["path"]))

    def wado_uri(self, request: Request) -> Response:
        """WADO-URI: one instance as a file (PS3.18 9)."""
        if request.query_params.get("requestType") != "WADO":
            raise HTTPException(400, "requestType=WADO is needed.")
        if request.query_params.get("contentType", _DICOM) != _DICOM:
            raise HTTPException(406, "Only contentType=application/dicom is given.")
        names = [request.query_params.get(name, "") for name in ("studyUID", "seriesUID", "objectUID")]
        if not all(is_uid(name) for name in names):
            raise HTTPException(400, "studyUID, seriesUID and objectUID must each be a UID.")
        held = self._holdings.instances(*names)
        if not held or not held[0].path.is_file():
            raise HTTPException(404, _NOT_HELD)
        return self._file(held[0])

    def _held(self, request: Request, *, must_exist: bool = False) -> list[HeldInstance]:
        names = [_uid(request, name) for name in ("study", "series", "instance") if name in request.path_params]
        held = self._holdings.instances(*names)
        if must_exist:
            held = [one for one in held if self._header(one.path, one.study_key) is not None]
        if must_exist and not held:
            raise HTTPException(404, _NOT_HELD)
        return held

    def _headers(self, held: list[HeldInstance]) -> list[Dataset]:
        headers = [self._header(one.path, one.study_key) for one in held]
        return [header for header in headers if header is not None]

    def _header(self, path: Path, study_key: str) -> SettledDataset | None:
        """Return a header; a file that is gone or broken must not hide the rest of its study."""
        try:
            return self._holdings.header(path)
        except (OSError, InvalidDicomError) as error:
            log.warning("held_file_unreadable", study=study_key, error=type(error).__name__)
            return None

    def _whole(self, request: Request) -> Dataset:
        return self._holdings.whole(self._held(request, must_exist=True)[0].path)


def _needs_turning(header: SettledDataset) -> bool:
    return was_big_endian(header) or bool(header.encoding.contradiction)


def _summary(study: HeldStudy, headers: Sequence[Dataset]) -> StudySummary:
    return StudySummary(
        modalities=tuple(sorted({str(header.get("Modality", "OT")) for header in headers})),
        sop_classes=tuple(sorted({series.sop_class_uid for series in study.series})),
        series=len(study.series),
        instances=sum(series.count for series in study.series),
    )


def _uid(request: Request, name: str) -> str:
    uid: str = request.path_params[name]
    if not is_uid(uid):
        raise HTTPException(400, f"The {name} in the address is not a UID.")
    return uid


def _query(request: Request) -> Query:
    try:
        return parse_query(request.query_params.multi_items())
    except QueryError as error:
        raise HTTPException(400, f"{error}.") from error


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{_ROOT}"


def _answers(found: Iterator[Dataset], query: Query) -> Response:
    end = None if query.limit is None else query.offset + query.limit
    return _json([dicom_json(answer, "") for answer in islice(found, query.offset, end)])


def _json(answers: list[JsonObject]) -> Response:
    body = json.dumps(answers, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return Response(body, media_type=_JSON, headers=_NO_STORE)


def _accepts(request: Request, media_type: str) -> bool:
    accepted = request.headers.get("Accept", "*/*").lower()
    ranges = {entry.partition(";")[0].strip() for entry in accepted.split(",")}
    return bool(ranges & {"*/*", media_type, media_type.partition("/")[0] + "/*"})


def _parts(request: Request, read: Callable[[], list[Part]]) -> Response:
    try:
        parts = read()
    except FrameError as error:
        raise HTTPException(404, f"{error}.") from error
    if _accepts(request, "multipart/related"):
        boundary = secrets.token_hex(16)
        content_type = multipart_type(parts[0].content_type, boundary)
        return StreamingResponse(multipart(parts, boundary), media_type=content_type, headers=_NO_STORE)
    if len(parts) == 1 and _accepts(request, parts[0].content_type.partition(";")[0]):
        return Response(parts[0].body, media_type=parts[0].content_type, headers=_NO_STORE)
    raise HTTPException(406, f"This is given as multipart/related with parts of {parts[0].content_type}.")
