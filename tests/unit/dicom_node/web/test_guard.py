"""The guard before panel and viewer, request by request, without a network."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from dicom_node.web.guard import (
    BROKEN,
    MOST_ADDRESS_BYTES,
    MOST_BODY_BYTES,
    MOST_FIELDS,
    Guard,
)
from dicom_node.web.http_server import MOST_HEAD_BYTES

FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


async def _repeating(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the body that came."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(body, headers={"X-Own": "kept", "X-Safe": "no"})(scope, receive, send)


def _asked(
    app: Any,  # noqa: ANN401 - any application
    method: str = "POST",
    path: bytes = b"/login",
    query: bytes = b"",
    headers: dict[str, str] | None = None,
    pieces: Sequence[bytes] = (b"",),
) -> tuple[int, str, list[Message]]:
    """Send a request through a guard; return status and text of the answer, and what was sent."""
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path.decode(), "raw_path": path, "query_string": query}
    sent = list[Message]()
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = Guard(app, "test", {"X-Safe": "yes"})
    asyncio.run(guard({**scope, "headers": raw}, receive, send))
    start = next((message for message in sent if message["type"] == "http.response.start"), {"status": 0})
    return start["status"], b"".join(message.get("body", b"") for message in sent).decode(), sent


def test_a_request_is_passed_on_with_its_whole_body_and_answered_with_safe_headers() -> None:
    status, text, sent = _asked(_repeating, headers=FORM, pieces=[b"a=", b"", b"1"])
    assert (status, text) == (200, "a=1")
    names = [name for name, _ in sent[0]["headers"]]
    assert dict(sent[0]["headers"]).items() >= {(b"x-own", b"kept"), (b"x-safe", b"yes")}
    assert names.count(b"x-safe") == 1


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"path": b"/" + b"a" * MOST_ADDRESS_BYTES}, 414, "This address is too long."),
        ({"path": b"/" + b"a" * 5000, "query": b"b" * 5000}, 414, "This address is too long."),
        ({"headers": {"x-long": "a" * MOST_HEAD_BYTES}}, 431, "The headers of this request are too long."),
        ({"path": b"/studies/\0"}, 400, "This request contains a NUL character."),
        ({"query": b"token=a%00"}, 400, "This request contains a NUL character."),
        ({"headers": FORM, "pieces": [b"a=1%", b"00"]}, 400, "This request contains a NUL character."),
        ({"headers": JSON, "pieces": [b'{"name": "\\u0000"}']}, 400, "This request contains a NUL character."),
        ({"pieces": [b"a\0"]}, 400, "This request contains a NUL character."),
        ({"headers": {"content-length": f"{MOST_BODY_BYTES + 1}"}}, 413, "A request may have at most 64 KiB"),
        ({"headers": {"content-length": "9" * 5000}}, 413, "A request may have at most 64 KiB of content."),
        ({"pieces": [b"a" * MOST_BODY_BYTES, b"a"]}, 413, "A request may have at most 64 KiB of content."),
        ({"headers": {"content-type": "Multipart/form-data"}}, 415, "Send forms as application/x-www-form-urlencoded"),
        ({"headers": FORM, "pieces": [b"&" * MOST_FIELDS]}, 413, "A form may have at most 100 fields."),
    ],
)
def test_a_request_that_is_too_large_or_has_a_nul_is_refused_with_its_reason(
    request_: dict[str, Any], status: int, sentence: str
) -> None:
    found, text, sent = _asked(_repeating, **request_)
    assert found == status
    assert text.startswith(sentence)
    assert (b"x-safe", b"yes") in sent[0]["headers"]


@pytest.mark.parametrize(
    "request_",
    [
        {"path": b"/" + b"a" * (MOST_ADDRESS_BYTES - 11), "query": b"b" * 10},
        {"headers": {"content-length": f"{MOST_BODY_BYTES}"}, "pieces": [b"a" * MOST_BODY_BYTES]},
        {"headers": FORM, "pieces": [b"&" * (MOST_FIELDS - 1)]},
        {"headers": JSON, "pieces": [b"&" * MOST_FIELDS]},
        {"headers": {"x-long": "a" * (MOST_HEAD_BYTES - 6)}},
    ],
)
def test_a_request_at_a_limit_is_answered(request_: dict[str, Any]) -> None:
    status, text, _ = _asked(_repeating, **request_)
    assert (status, text) == (200, b"".join(request_.get("pieces", [b""])).decode())


def test_what_only_reads_is_passed_on_without_its_body_being_read() -> None:
    assert _asked(_repeating, "GET", pieces=[b"a" * MOST_BODY_BYTES, b"a"])[:2] == (200, "a" * (MOST_BODY_BYTES + 1))


class _Broken:
    """Fail before or behind the beginning of an answer."""

    def __init__(self, *, started: bool) -> None:
        self.started = started

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if self.started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["endpoint"] = test_an_unforeseen_error_is_logged_by_the_function_and_never_the_address
        raise ValueError


@pytest.mark.parametrize(("method", "logged"), [("POST", "POST"), ("DOE^JOHN", "another")])
def test_an_unforeseen_error_is_logged_by_the_function_and_never_the_address(method: str, logged: str) -> None:
    with capture_logs() as logs:
        status, text, _ = _asked(_Broken(started=False), method, b"/studies/1.2.3")
    assert (status, text) == (500, f"{BROKEN}\n")
    (log,) = logs
    assert (log["event"], log["port"], log["method"]) == ("web_defect", "test", logged)
    assert log["called"] == "test_an_unforeseen_error_is_logged_by_the_function_and_never_the_address"
    assert "1.2.3" not in str(log)


def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    with capture_logs() as logs:
        _, _, sent = _asked(_Broken(started=True), "GET")
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [log["event"] for log in logs] == ["web_defect"]


def test_a_client_that_leaves_is_no_defect() -> None:
    async def leaving(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise ClientDisconnect

    with capture_logs() as logs:
        assert _asked(leaving, pieces=[b"a"]) == (0, "", [])
    assert logs == []


def test_the_body_is_followed_by_what_the_server_says_next() -> None:
    told = list[str]()

    async def listening(_scope: Scope, receive: Receive, _send: Send) -> None:
        told.extend([(await receive())["type"] for _ in range(2)])

    _asked(listening, pieces=[b"a", b"b"])
    assert told == ["http.request", "http.disconnect"]


def test_what_is_no_request_is_passed_on_as_it_is() -> None:
    seen = list[str]()

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    guard = Guard(app, "test", {})
    asyncio.run(guard({"type": "lifespan"}, asyncio.Queue[Message]().get, asyncio.Queue[Message]().put))
    assert seen == ["lifespan"]
