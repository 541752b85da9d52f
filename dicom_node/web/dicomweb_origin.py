"""A read-only DICOMweb origin for the stored studies: QIDO-RS, WADO-RS and WADO-URI (PS3.18)."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import structlog
from pydicom import Dataset
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from conversion.encoding import SettledDataset
from conversion.values import identifier, text
from dicom_node.access.visible import sees
from dicom_node.studies.holdings import HeldInstance, HeldSeries, HeldStudy, Holdings
from viewer_integration.big_endian import little_endian_file, was_big_endian
from viewer_integration.dicom_json import dicom_json
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
_NOT_READABLE = "The node has stored this but cannot read the file."
_MOST_FRAMES = 1000
_PIECE_BYTES = 2**20
_NOT_HELD = "The node has stored nothing under this UID."


class DicomwebOrigin:
    """Answers `/dicom-web` and `/wado` from the stored studies.

    Parameters
    ----------
    holdings
        The stored studies.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def routes(self) -> list[Route]:
        """Return the routes, which belong at the root of the viewer's port."""
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
        query, root, writer = _query(request), _root(request), _AnswerWriter()
        held = self._holdings.studies(query.study_uids)
        studies = (study for study in held if sees(request.state.user, study.study_uid))
        answers = (writer.written(one.key, self._study(one, query, root, writer)) for one in studies)
        return _page_of(answers, query, writer)

    def _study(self, study: HeldStudy, query: Query, root: str, writer: "_AnswerWriter") -> "_Answer":
        def answer() -> Dataset | None:
            headers = [self._header(series.sample, study.key, writer) for series in study.series]
            readable = [header for header in headers if header is not None]
            if not readable:
                return None
            summary = _summary(study, readable)
            for header in readable[:-1]:
                with contextlib.suppress(Exception):  # a broken series must not hide its study: try the next one
                    if (answer := _study_answer(header, summary, root, query)) is not None:
                        return answer
            return _study_answer(readable[-1], summary, root, query)

        return answer

    def search_series(self, request: Request) -> Response:
        """QIDO-RS: search for the series of a study."""
        study_uid = _seen(request, _uid(request, "study"))
        query, root, writer = _query(request), _root(request), _AnswerWriter()
        held = ((study.key, series) for study in self._holdings.studies([study_uid]) for series in study.series)
        answers = (writer.written(key, self._series(one, key, query, root, writer)) for key, one in held)
        return _page_of(answers, query, writer)

    def _series(self, series: HeldSeries, key: str, query: Query, root: str, writer: "_AnswerWriter") -> "_Answer":
        def answer() -> Dataset | None:
            header = self._header(series.sample, key, writer)
            if header is None:
                return None
            ds = series_answer(header, series.count, root, query)
            return ds if matches(ds, header, query) else None

        return answer

    def search_instances(self, request: Request) -> Response:
        """QIDO-RS: search for the instances of a study or a series."""
        held, query, root, writer = self._held(request), _query(request), _root(request), _AnswerWriter()
        answers = (writer.written(one.study_key, self._instance(one, query, root, writer)) for one in held)
        return _page_of(answers, query, writer)

    def _instance(self, held: HeldInstance, query: Query, root: str, writer: "_AnswerWriter") -> "_Answer":
        def answer() -> Dataset | None:
            header = self._header(held.path, held.study_key, writer)
            if header is None:
                return None
            ds = instance_answer(header, header.file_meta.TransferSyntaxUID, root, query)
            return ds if matches(ds, header, query) else None

        return answer

    def metadata(self, request: Request) -> Response:
        """WADO-RS: metadata of a study, a series or an instance."""
        root, writer = _root(request), _AnswerWriter()

        def header_of(held: HeldInstance) -> "_Answer":
            return lambda: self._header(held.path, held.study_key, writer)

        def bulk_root(header: Dataset) -> str:
            return f"{instance_url(root, header)}/bulkdata"

        held = self._held(request, must_exist=True)
        answers = (writer.written(one.study_key, header_of(one), bulk_root) for one in held)
        return _page_of(answers, Query(), writer)

    def retrieve(self, request: Request) -> Response:
        """WADO-RS: complete instances as stored; big endian ones in explicit VR little endian (PS3.18 8.7.3).

        A file whose header states another encoding than its own is re-encoded, so that both agree.
        """
        held = self._held(request, must_exist=True)
        if not _accepts(request, "multipart/related"):
            if len(held) == 1 and _accepts(request, _DICOM):
                return self._file(held[0])
            raise HTTPException(406, "Instances are sent as multipart/related with parts of application/dicom.")
        boundary = secrets.token_hex(16)
        body = multipart((self._instance_part(one) for one in held), boundary)
        return StreamingResponse(body, media_type=multipart_type(_DICOM, boundary), headers=_NO_STORE)

    def _instance_part(self, held: HeldInstance) -> Part:
        header = self._holdings.header(held.path)  # readable: `retrieve` has just read it
        syntax = header.file_meta.TransferSyntaxUID
        content_type = f"{_DICOM}; transfer-syntax={syntax}"
        if _needs_recoding(header):
            return Part(content_type=content_type, body=self._little_endian(held))
        return Part(content_type=content_type, body=b"", more=_pieces(held.path))

    def _file(self, held: HeldInstance) -> Response:
        header = self._header(held.path, held.study_key)
        if header is not None and _needs_recoding(header):
            return Response(self._little_endian(held), media_type=_DICOM, headers=_NO_STORE)
        return FileResponse(held.path, media_type=_DICOM, headers=_NO_STORE)

    def _little_endian(self, held: HeldInstance) -> bytes:
        return little_endian_file(self._holdings.whole(held.path))

    def frames(self, request: Request) -> Response:
        """WADO-RS: frames by number, in the stored transfer syntax."""
        numbers = _frame_numbers(request.path_params["frames"])
        ds = self._whole(request)

        def read() -> Iterator[Part]:
            return (frame_part(ds, number) for number in numbers)

        return _parts(request, read, len(numbers))

    def bulk_data(self, request: Request) -> Response:
        """WADO-RS: one large value, such as the complete pixel data."""
        ds = self._whole(request)
        parts = _or_not_found(lambda: bulk_parts(ds, request.path_params["path"]))
        return _parts(request, lambda: iter(parts), len(parts))

    def wado_uri(self, request: Request) -> Response:
        """WADO-URI: one instance as a file (PS3.18 9)."""
        if request.query_params.get("requestType") != "WADO":
            raise HTTPException(400, "The parameter requestType=WADO is missing.")
        if request.query_params.get("contentType", _DICOM) != _DICOM:
            raise HTTPException(406, "Only contentType=application/dicom is supported.")
        names = [request.query_params.get(name, "") for name in ("studyUID", "seriesUID", "objectUID")]
        if not all(is_uid(name) for name in names):
            raise HTTPException(400, "studyUID, seriesUID and objectUID must each be a UID.")
        held = self._holdings.instances(_seen(request, names[0]), *names[1:])
        if not held or not held[0].path.is_file():
            raise HTTPException(404, _NOT_HELD)
        return self._file(held[0])

    def _held(self, request: Request, *, must_exist: bool = False) -> list[HeldInstance]:
        names = [_uid(request, name) for name in ("study", "series", "instance") if name in request.path_params]
        held = self._holdings.instances(_seen(request, names[0]), *names[1:])
        if must_exist:
            held = [one for one in held if self._header(one.path, one.study_key) is not None]
        if must_exist and not held:
            raise HTTPException(404, _NOT_HELD)
        return held

    def _header(self, path: Path, study_key: str, writer: "_AnswerWriter | None" = None) -> SettledDataset | None:
        """Return a header, or None: a missing or broken file must not hide the rest of its study."""
        try:
            return self._holdings.header(path)
        except Exception as error:  # noqa: BLE001 - a received file may raise any error
            (writer or _AnswerWriter()).left_out(study_key, error)
            return None

    def _whole(self, request: Request) -> Dataset:
        held = self._held(request, must_exist=True)[0]
        try:
            return self._holdings.whole(held.path)
        except Exception as error:
            _AnswerWriter().left_out(held.study_key, error)
            raise HTTPException(404, _NOT_READABLE) from error


_Answer = Callable[[], Dataset | None]


class _AnswerWriter:
    """Writes answers one by one, and counts the files that were left out."""

    def __init__(self) -> None:
        self.missing = 0

    def left_out(self, study_key: str, error: Exception) -> None:
        """Count and log an unreadable file, with the kind of the error alone: its text may contain patient data."""
        self.missing += 1
        log.warning("held_file_unreadable", study=study_key, error=type(error).__name__)

    def written(
        self, study_key: str, answer: _Answer, bulk_root: Callable[[Dataset], str] = lambda _answer: ""
    ) -> bytes | None:
        """Return an answer in JSON, or None when there is none or it cannot be written."""
        try:
            ds = answer()
            if ds is None:
                return None
            content = dicom_json(ds, bulk_root(ds))
            text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
            return text.encode("utf-8", "replace")
        except Exception as error:  # noqa: BLE001 - a received file may raise any error; the others are still answered
            self.left_out(study_key, error)
            return None


def _needs_recoding(header: SettledDataset) -> bool:
    return was_big_endian(header) or bool(header.encoding.contradiction)


def _summary(study: HeldStudy, headers: Sequence[Dataset]) -> StudySummary:
    return StudySummary(
        modalities=tuple(sorted({_modality(header) for header in headers})),
        sop_classes=tuple(sorted({uid for series in study.series for uid in series.sop_class_uids})),
        series=len(study.series),
        instances=sum(series.count for series in study.series),
    )


def _study_answer(header: Dataset, summary: StudySummary, root: str, query: Query) -> Dataset | None:
    if not identifier(header, "StudyInstanceUID"):
        return None
    ds = study_answer(header, summary, root, query)
    return ds if "StudyInstanceUID" in ds and matches(ds, header, query) else None


def _modality(header: Dataset) -> str:
    return text(header, "Modality") or "OT"


def _frame_numbers(text: str) -> list[int]:
    entries = text.split(",")
    if not all(entry.isascii() and entry.isdigit() and len(entry) <= 6 for entry in entries):
        raise HTTPException(400, "Give frame numbers from 1, separated by commas.")
    numbers = [int(entry) for entry in entries]
    if len(set(numbers)) < len(numbers) or len(numbers) > _MOST_FRAMES:
        raise HTTPException(400, f"Request each frame once, and at most {_MOST_FRAMES} frames at a time.")
    return numbers


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _uid(request: Request, name: str) -> str:
    uid: str = request.path_params[name]
    if not is_uid(uid):
        raise HTTPException(400, f"The {name} in the address is not a UID.")
    return uid


def _seen(request: Request, study_uid: str) -> str:
    """Return a study's UID for a caller who may see the study; to others it is as if it were not there."""
    if not sees(request.state.user, study_uid):
        raise HTTPException(404, _NOT_HELD)
    return study_uid


def _query(request: Request) -> Query:
    try:
        return parse_query(request.query_params.multi_items())
    except QueryError as error:
        raise HTTPException(400, f"{error}.") from error


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{_ROOT}"


def _page_of(answers: Iterator[bytes | None], query: Query, writer: _AnswerWriter) -> Response:
    end = None if query.limit is None else query.offset + query.limit
    page = list(islice((one for one in answers if one is not None), query.offset, end))
    headers = dict(_NO_STORE)
    if writer.missing:
        headers["Warning"] = f'299 GlioNode "{writer.missing} stored files cannot be read and are left out"'
    return Response(b"[" + b",".join(page) + b"]", media_type=_JSON, headers=headers)


def _accepts(request: Request, media_type: str) -> bool:
    accepted = request.headers.get("Accept", "*/*").lower()
    ranges = {entry.partition(";")[0].strip() for entry in accepted.split(",")}
    return bool(ranges & {"*/*", media_type, media_type.partition("/")[0] + "/*"})


def _or_not_found(read: Callable[[], list[Part]]) -> list[Part]:
    try:
        return read()
    except FrameError as error:
        raise HTTPException(404, f"{error}.") from error


def _parts(request: Request, read: Callable[[], Iterator[Part]], count: int) -> Response:
    """Send parts one by one, after all were read once: an error in the middle of a message could not be reported."""
    kinds = _or_not_found(lambda: [Part(content_type=part.content_type, body=b"") for part in read()])
    if _accepts(request, "multipart/related"):
        boundary = secrets.token_hex(16)
        content_type = multipart_type(kinds[0].content_type, boundary)
        return StreamingResponse(multipart(read(), boundary), media_type=content_type, headers=_NO_STORE)
    if count == 1 and _accepts(request, kinds[0].content_type.partition(";")[0]):
        return Response(next(read()).body, media_type=kinds[0].content_type, headers=_NO_STORE)
    raise HTTPException(406, f"This is sent as multipart/related with parts of {kinds[0].content_type}.")
