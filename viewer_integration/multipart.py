"""Reads multipart messages (RFC 2046) piece by piece as they arrive; only the current piece is in memory.

python-multipart, which the web server also reads forms with, parses the grammar. It takes bytes as they arrive, finds
boundaries that cross pieces, and limits headers. This module adds what it lacks: it skips a preamble before the first
boundary, limits parts, and reports a message without its last boundary as cut short.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["MultipartError", "PartBegins", "PartEnds", "PartPiece", "boundary_of", "read_multipart"]

PREAMBLE_BYTES = 64 * 2**10
"""Limit of the preamble before the first boundary (RFC 2046 5.1.1); in practice a sentence for mail readers."""

HEADERS_OF_PART = 32
HEADER_BYTES = 8 * 2**10
"""A part of DICOMweb has two or three headers; the longest is a transfer syntax or an address."""


class MultipartError(Exception):
    """The answer is not a complete multipart message; the text is a predicate that gives the reason."""


@dataclass(frozen=True, kw_only=True)
class PartBegins:
    """The headers of a part are complete."""

    content_type: str


@dataclass(frozen=True, kw_only=True)
class PartPiece:
    """Some of a part's bytes."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class PartEnds:
    """A part is complete: the boundary after it has arrived."""


_Event = PartBegins | PartPiece | PartEnds


def boundary_of(content_type: str) -> str:
    """Return the boundary that a ``multipart/related`` content type names.

    Raises
    ------
    MultipartError
        For any other content type, or without a boundary.
    """
    kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if kind != b"multipart/related" or not boundary:
        raise MultipartError("is not multipart/related with a boundary")
    return boundary


def read_multipart(chunks: Iterable[bytes], boundary: str) -> Iterator[_Event]:
    """Yield the events of a message in their order.

    Raises
    ------
    MultipartError
        When it breaks the grammar or a limit, or ends before its last boundary. Events yielded before remain valid.
    """
    events = _Events()
    first = f"--{boundary}".encode("latin-1")
    try:
        parser = MultipartParser(
            boundary, events.callbacks(), max_header_count=HEADERS_OF_PART, max_header_size=HEADER_BYTES
        )
        for chunk in _without_preamble(chunks, first):
            parser.write(chunk)
            yield from events.take()
    except FormParserError as error:
        yield from events.take()
        raise MultipartError("breaks the rules of multipart messages") from error
    if not events.ended:
        raise MultipartError("ended before its last boundary")


def _without_preamble(chunks: Iterable[bytes], first: bytes) -> Iterator[bytes]:
    """Yield a message from its first boundary on."""
    waiting, begun = b"", False
    for chunk in chunks:
        if begun:
            yield chunk
            continue
        waiting += chunk
        at = 0 if waiting.startswith(first) else waiting.find(b"\r\n" + first)
        if at >= 0:
            begun = True
            yield waiting[at:].removeprefix(b"\r\n")
        elif len(waiting) > PREAMBLE_BYTES:
            raise MultipartError("does not begin with its boundary")


class _Events:
    """Collects the parser's calls as a list of events."""

    def __init__(self) -> None:
        self.ended = False
        self._events: list[_Event] = []
        self._name = self._value = b""
        self._content_type = ""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._more_value,
            "on_header_end": self._end_header,
            "on_headers_finished": lambda: self._events.append(PartBegins(content_type=self._content_type)),
            "on_part_data": lambda data, start, end: self._events.append(PartPiece(data=data[start:end])),
            "on_part_end": lambda: self._events.append(PartEnds()),
            "on_end": self._end,
        }

    def take(self) -> list[_Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def _begin(self) -> None:
        self._content_type, self._name, self._value = "", b"", b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _more_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.strip().lower() == b"content-type":
            self._content_type = self._value.decode("latin-1").strip().lower()
        self._name = self._value = b""

    def _end(self) -> None:
        self.ended = True
