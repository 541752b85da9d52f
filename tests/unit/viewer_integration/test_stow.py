"""STOW-RS over a real port: what stands in the answer decides for each object, and silence is no success."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.support.small_study import make_small_study
from tests.support.viewer_port import served
from viewer_integration.transport.delivery import DeliveryReceipt
from viewer_integration.transport.stow import store_over_web


class _Web:
    """A DICOMweb origin that answers as it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.kinds: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.answer: Response = PlainTextResponse("", 500)

    async def store(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.kinds.append(request.headers["content-type"])
        self.headers.append(dict(request.headers))
        return self.answer


@pytest.fixture
def web() -> Iterator[_Web]:
    origin = _Web()
    with served(Starlette(routes=[Route("/dicom-web/studies", origin.store, methods=["POST"])])) as url:
        origin.url = f"{url}/dicom-web"
        yield origin


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = []
    for number, ds in enumerate(make_small_study("stow", roles=["FLAIR"])[:3]):
        found.append(tmp_path / f"{number}.dcm")
        ds.save_as(found[-1], enforce_file_format=True)
    return found


def _uids() -> list[str]:
    return [str(ds.SOPInstanceUID) for ds in make_small_study("stow", roles=["FLAIR"])[:3]]


def _item(uid: str, **codes: int) -> dict[str, Any]:
    tags = {"failure": "00081197", "warning": "00081196"}
    item: dict[str, Any] = {"00081155": {"vr": "UI", "Value": [uid]}}
    return item | {tags[kind]: {"vr": "US", "Value": [code]} for kind, code in codes.items()}


def _sequences(**items: list[dict[str, Any]]) -> dict[str, Any]:
    tags = {"stored": "00081199", "failed": "00081198"}
    return {tags[name]: {"vr": "SQ", "Value": found} for name, found in items.items()}


def _told(receipts: Iterator[DeliveryReceipt]) -> list[tuple[bool, int | None, str]]:
    return [(one.accepted, one.status, one.reason) for one in receipts]


def test_stored_warned_of_and_failed_objects_are_told_apart(web: _Web, paths: list[Path]) -> None:
    first, second, third = _uids()
    stored, failed = [_item(first), _item(second, warning=0xB000)], [_item(third, failure=0x0110)]
    web.answer = JSONResponse(_sequences(stored=stored, failed=failed), 202)
    assert _told(store_over_web(paths, "PACS", web.url, {})) == [
        (True, 0, ""),
        (True, 0xB000, "PACS stored it with warning 0xB000"),
        (False, 0x0110, "PACS did not store it (0x0110)"),
    ]


def test_an_object_that_the_answer_does_not_name_is_not_accepted(web: _Web, paths: list[Path]) -> None:
    web.answer = JSONResponse(_sequences(stored=[_item(_uids()[0])]), 200)
    assert _told(store_over_web(paths[:2], "PACS", web.url, {})) == [
        (True, 0, ""),
        (False, None, "PACS did not report on this object"),
    ]


@pytest.mark.parametrize("answer", [PlainTextResponse("", 200), JSONResponse([], 200), PlainTextResponse("no", 503)])
def test_an_answer_without_a_word_on_objects_is_a_failure(web: _Web, paths: list[Path], answer: Response) -> None:
    web.answer = answer
    reason = f"PACS answered {answer.status_code} to STOW-RS, but reported on no object"
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [(False, None, reason)]


def test_nobody_there_is_said_for_every_object(paths: list[Path]) -> None:
    told = _told(store_over_web(paths, "PACS", "http://127.0.0.1:1/dicom-web", {}))
    assert told == [(False, None, "PACS could not be reached by STOW-RS (ConnectError)")] * 3


def test_a_file_that_cannot_be_read_is_said_and_the_others_go_out(web: _Web, paths: list[Path]) -> None:
    good = _uids()[2]
    web.answer = JSONResponse(_sequences(stored=[_item(good)]))
    paths[0].unlink()
    paths[1].write_bytes(b"no DICOM file")
    assert _told(store_over_web(paths, "PACS", web.url, {})) == [
        (False, None, "the file cannot be read (FileNotFoundError); not sent"),
        (False, None, "the file is damaged (InvalidDicomError); not sent"),
        (True, 0, ""),
    ]
    assert [body.count(b"Content-Type: application/dicom") for body in web.bodies] == [1]


def test_where_no_file_can_be_read_nobody_is_called(web: _Web, paths: list[Path]) -> None:
    paths[0].unlink()
    (told,) = store_over_web(paths[:1], "PACS", web.url, {})
    assert (told.accepted, web.bodies) == (False, [])


def test_files_go_out_byte_for_byte(web: _Web, paths: list[Path]) -> None:
    list(store_over_web(paths, "PACS", web.url, {}))
    (body,), (kind,) = web.bodies, web.kinds
    boundary = kind.rpartition("boundary=")[2].encode()
    assert kind.startswith('multipart/related; type="application/dicom"')
    parts = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in body.split(b"--" + boundary)[1:-1]]
    assert parts == [path.read_bytes() for path in paths]


def test_nothing_to_store_calls_nobody(web: _Web) -> None:
    assert list(store_over_web([], "PACS", web.url, {})) == []
    assert web.bodies == []


@pytest.mark.parametrize(
    "said",
    [
        {"00081199": []},
        {"00081199": {"Value": 7}},
        {"00081199": {"Value": ["x", None, {"00081155": 3}, {"00081155": {"Value": [{}]}}]}},
        {"00081198": {"Value": [{"00081155": {"Value": "1.2"}, "00081197": {"Value": ["x"]}}]}},
    ],
)
def test_an_answer_of_another_form_proves_nothing_and_breaks_nothing(
    web: _Web, paths: list[Path], said: dict[str, Any]
) -> None:
    web.answer = JSONResponse(said, 200)
    ((accepted, status, reason),) = _told(store_over_web(paths[:1], "PACS", web.url, {}))
    assert (accepted, status) == (False, None)
    assert reason in ("PACS answered 200 to STOW-RS, but reported on no object", "PACS did not report on this object")


@pytest.mark.parametrize("status", ["x", None, True, 1 << 40])
def test_a_failure_whose_reason_is_no_number_is_a_failure(web: _Web, paths: list[Path], status: object) -> None:
    item = _item(_uids()[0]) | {"00081197": {"vr": "US", "Value": [status]}}
    web.answer = JSONResponse(_sequences(failed=[item]), 200)
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [(False, None, "PACS did not store it")]


def test_an_answer_without_end_is_cut_off(web: _Web, paths: list[Path]) -> None:
    web.answer = PlainTextResponse(" " * (2**20 + 1), 200)
    reason = "PACS answered 200 to STOW-RS, but the answer was too long or too slow"
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [(False, None, reason)]


def test_a_redirect_is_not_followed_with_a_secret(web: _Web, paths: list[Path]) -> None:
    web.answer = Response(status_code=307, headers={"Location": f"{web.url}/studies"})
    reason = "PACS answered 307 to STOW-RS, but reported on no object"
    told = _told(store_over_web(paths[:1], "PACS", web.url, {"Authorization": "Bearer secret"}))
    assert told == [(False, None, reason)]
    assert len(web.bodies) == 1


def test_the_request_is_authorised_and_asks_for_plain_json(web: _Web, paths: list[Path]) -> None:
    list(store_over_web(paths[:1], "PACS", web.url, {"Authorization": "Bearer secret", "Accept": "text/html"}))
    (headers,) = web.headers
    assert headers["authorization"] == "Bearer secret"
    assert (headers["accept"], headers["accept-encoding"]) == ("application/dicom+json", "identity")


def test_no_two_requests_have_one_boundary(web: _Web, paths: list[Path]) -> None:
    for _ in range(3):
        list(store_over_web(paths[:1], "PACS", web.url, {}))
    assert len(set(web.kinds)) == 3


def test_an_object_in_both_lists_was_not_stored(web: _Web, paths: list[Path]) -> None:
    uid = _uids()[0]
    web.answer = JSONResponse(_sequences(stored=[_item(uid)], failed=[_item(uid, failure=0xA700)]), 202)
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [(False, 0xA700, "PACS did not store it (0xA700)")]


def test_objects_that_nobody_sent_are_of_no_use(web: _Web, paths: list[Path]) -> None:
    web.answer = JSONResponse(_sequences(stored=[_item("1.2.3")]), 200)
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [
        (False, None, "PACS did not report on this object")
    ]


@pytest.mark.parametrize("status", [400, 409, 500])
def test_what_the_answer_says_of_an_object_counts_whatever_its_code(web: _Web, paths: list[Path], status: int) -> None:
    web.answer = JSONResponse(_sequences(stored=[_item(_uids()[0])]), status)
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [(True, 0, "")]


@pytest.mark.parametrize(
    ("warning", "told"), [(0, (True, 0, "PACS stored it with warning 0x0000")), (-1, (True, 0, ""))]
)
def test_a_warning_is_told_where_it_is_a_status(
    web: _Web, paths: list[Path], warning: int, told: tuple[bool, int, str]
) -> None:
    web.answer = JSONResponse(_sequences(stored=[_item(_uids()[0], warning=warning)]), 200)
    assert _told(store_over_web(paths[:1], "PACS", web.url, {})) == [told]


@pytest.mark.parametrize(
    ("url", "kind"), [("dicom.example/web", "UnsupportedProtocol"), ("http://127.0.0.1:port", "InvalidURL")]
)
def test_an_address_that_is_none_is_said_for_every_object(paths: list[Path], url: str, kind: str) -> None:
    reason = f"PACS could not be reached by STOW-RS ({kind})"
    assert _told(store_over_web(paths[:2], "PACS", url, {})) == [(False, None, reason)] * 2


def test_receipts_are_in_the_order_of_the_files_and_name_them(web: _Web, paths: list[Path]) -> None:
    first, second, third = _uids()
    web.answer = JSONResponse(_sequences(stored=[_item(first), _item(third), _item(second)]), 200)
    receipts = list(store_over_web(paths[::-1], "PACS", web.url, {}))
    assert [(one.path, one.sop_instance_uid) for one in receipts] == list(zip(paths, _uids(), strict=True))[::-1]
