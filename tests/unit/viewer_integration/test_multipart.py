"""Multipart messages piece by piece: what is a part, what is noise around it, and what is no message at all."""

import random
from collections.abc import Iterable, Sequence

import pytest

from viewer_integration.multipart import (
    HEADER_BYTES,
    HEADERS_OF_PART,
    PREAMBLE_BYTES,
    MultipartError,
    PartBegins,
    PartEnds,
    PartPiece,
    boundary_of,
    read_multipart,
)

BROKEN = "breaks the rules of multipart messages"
CUT_SHORT = "ended before its last boundary"

Parts = list[tuple[str, bytes]]


def _message(parts: Sequence[tuple[str, bytes]], boundary: bytes = b"B") -> bytes:
    """Return a message to the letter of RFC 2046, each part with a content type."""
    encoded = [b"--%b\r\nContent-Type: %b\r\n\r\n%b" % (boundary, kind.encode(), body) for kind, body in parts]
    return b"\r\n".join([*encoded, b"--%b--\r\n" % boundary])


def _read(chunks: Iterable[bytes], boundary: str = "B") -> tuple[Parts, str]:
    """Return the complete parts of a message, and what is wrong with it."""
    parts, kind, body = Parts(), "", b""
    try:
        for event in read_multipart(chunks, boundary):
            match event:
                case PartBegins():
                    kind, body = event.content_type, b""
                case PartPiece():
                    body += event.data
                case PartEnds():
                    parts.append((kind, body))
    except MultipartError as error:
        return parts, str(error)
    return parts, ""


def _cut(message: bytes, size: int) -> list[bytes]:
    return [message[at : at + size] for at in range(0, len(message), size)]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/related; boundary=abc", "abc"),
        ('multipart/related; type="application/dicom"; boundary="a b:c=d"', "a b:c=d"),
        ("Multipart/RELATED; Boundary=AbC", "AbC"),
        ("multipart/related;boundary=abc;type=application/dicom", "abc"),
    ],
)
def test_the_boundary_is_the_one_that_the_content_type_names(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/related",
        'multipart/related; boundary=""',
        "multipart/mixed; boundary=abc",
        "boundary=abc",
        "日本",
    ],
)
def test_a_content_type_without_related_parts_or_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MultipartError, match=r"^is not multipart/related with a boundary$"):
        boundary_of(content_type)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_parts_come_in_their_order_however_the_bytes_arrive(size: int) -> None:
    parts = [("application/dicom", b"first\r\n-\r\n--"), ("text/plain", b""), ("image/jls", b"\0\xff--B\n--C\r\n--")]
    assert _read(_cut(_message(parts), size)) == (parts, "")


@pytest.mark.parametrize("seed", range(8))
def test_bytes_that_resemble_a_boundary_come_back_as_they_were(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - it cuts a message
    bodies = [b"".join(dice.choices([b"\r", b"\n", b"\r\n", b"-", b"--", b"B", b"x"], k=60)) for _ in range(3)]
    parts = [("a/b", body.replace(b"\r\n--B", b"\r\n-B")) for body in bodies]
    message, chunks = _message(parts), []
    while message:
        size = dice.randint(1, 9)
        chunks.append(message[:size])
        message = message[size:]
    assert _read(chunks) == (parts, "")


def test_a_part_begins_before_its_bytes_and_ends_after_them() -> None:
    events = list(read_multipart([_message([("a/b", b"12")])], "B"))
    assert events == [PartBegins(content_type="a/b"), PartPiece(data=b"12"), PartEnds()]


def test_a_part_is_handed_on_before_the_message_is_complete() -> None:
    asked: list[int] = []

    def chunks() -> Iterable[bytes]:
        for number, chunk in enumerate(_cut(_message([("a/b", b"x" * 40)] * 3), 20)):
            asked.append(number)
            yield chunk

    first = next(iter(read_multipart(chunks(), "B")))
    assert (first, len(asked)) == (PartBegins(content_type="a/b"), 2)


@pytest.mark.parametrize(
    ("headers", "content_type"),
    [
        (b"", ""),
        (b"Content-Length: 4\r\n", ""),
        (b"CONTENT-TYPE:application/DICOM; Transfer-Syntax=1.2\r\n", "application/dicom; transfer-syntax=1.2"),
        (b"Content-Location: x\r\ncontent-type:  text/plain  \r\nX-Other: 7\r\n", "text/plain"),
    ],
)
def test_only_the_content_type_of_a_part_is_kept_in_small_letters(headers: bytes, content_type: str) -> None:
    message = b"--B\r\n" + headers + b"\r\nbody\r\n--B--"
    assert _read([message]) == ([(content_type, b"body")], "")
    assert _read(_cut(message, 1)) == ([(content_type, b"body")], "")


def test_a_content_type_does_not_last_into_the_next_part() -> None:
    assert _read([b"--B\r\nContent-Type: a/b\r\n\r\n1\r\n--B\r\n\r\n2\r\n--B--"]) == ([("a/b", b"1"), ("", b"2")], "")


def test_a_message_of_no_part_is_complete() -> None:
    assert _read([b"--B--\r\n"]) == ([], "")


@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    "preamble", [b"\r\n", b"This is for mail readers.\r\n", b"a --B in a line\r\n", b"--A\r\n\r\n"]
)
def test_what_stands_before_the_first_boundary_and_after_the_last_is_skipped(preamble: bytes, size: int) -> None:
    message = preamble + _message([("a/b", b"body")]) + b"An epilogue.\r\n--B\r\n\r\nno part"
    assert _read(_cut(message, size)) == ([("a/b", b"body")], "")


def test_a_preamble_may_have_64_kib_and_no_more() -> None:
    rest = b"\r\n" + _message([("a/b", b"body")])
    assert PREAMBLE_BYTES == 65536
    assert _read([b"x" * PREAMBLE_BYTES, rest]) == ([("a/b", b"body")], "")
    assert _read([b"x" * (PREAMBLE_BYTES + 1), rest]) == ([], "does not begin with its boundary")


@pytest.mark.parametrize("kept", [0, 1])
def test_a_message_that_is_cut_short_keeps_the_parts_that_were_complete(kept: int) -> None:
    first = b"--B\r\nContent-Type: a/b\r\n\r\n1"
    message = first + (b"\r\n--B\r\nContent-Type: c/d\r\n\r\n2" if kept else b"")
    assert _read([message]) == ([("a/b", b"1")] * kept, CUT_SHORT)
    assert _read([message + b"\r\n--B\r\n"]) == ([("a/b", b"1"), ("c/d", b"2")][: kept + 1], CUT_SHORT)


@pytest.mark.parametrize("chunks", [[], [b""], [b"-"], [b"\r\n"], [b"not multipart"]])
def test_what_holds_no_boundary_is_cut_short(chunks: list[bytes]) -> None:
    assert _read(chunks) == ([], CUT_SHORT)


@pytest.mark.parametrize("rest", [b"\r\nno header\r\n\r\nx", b"\r\n: value\r\n\r\nx", b"\r\nA\0B: value\r\n\r\nx"])
def test_a_part_that_breaks_the_grammar_is_refused_and_the_one_before_is_kept(rest: bytes) -> None:
    message = b"--B\r\nContent-Type: a/b\r\n\r\n1\r\n--B" + rest + b"\r\n--B--"
    assert _read([message]) == ([("a/b", b"1")], BROKEN)


@pytest.mark.parametrize(("count", "fault"), [(HEADERS_OF_PART, ""), (HEADERS_OF_PART + 1, BROKEN)])
def test_a_part_has_at_most_32_headers(count: int, fault: str) -> None:
    assert HEADERS_OF_PART == 32
    parts, found = _read([b"--B\r\n" + b"A: b\r\n" * count + b"\r\nbody\r\n--B--"])
    assert (parts, found) == ([("", b"body")] if not fault else [], fault)


@pytest.mark.parametrize(("length", "fault"), [(HEADER_BYTES // 2, ""), (HEADER_BYTES + 1, BROKEN)])
def test_a_header_without_end_is_not_collected(length: int, fault: str) -> None:
    assert _read([b"--B\r\nA: " + b"x" * length + b"\r\n\r\nbody\r\n--B--"])[1] == fault


def test_a_boundary_of_any_octets_is_found() -> None:
    assert _read([_message([("a/b", b"1")], b"\xe9'()+_,./:=?")], "\xe9'()+_,./:=?") == ([("a/b", b"1")], "")


def test_a_boundary_that_no_message_may_have_is_refused_in_a_sentence() -> None:
    """RFC 2046 allows 70 characters."""
    assert _read([b"--" + b"x" * 300], "x" * 300) == ([], BROKEN)
