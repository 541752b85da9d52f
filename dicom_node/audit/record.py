"""One line of the trail: a message with its number, its hash, and a code that depends on all lines before it."""

import hashlib
import hmac
import json
from dataclasses import dataclass

__all__ = ["FIRST", "Record", "Torn", "make_record", "read_record"]

FIRST = "0" * 64
"""What the first record names as its predecessor."""


@dataclass(frozen=True, kw_only=True)
class Torn:
    """Bytes between two records that are no record: a process was killed, or the machine lost power, in a line."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "Torn | None":
        """Describe bytes between two records; None where there are none."""
        bare = content.strip(b"\n")
        return cls(size=len(bare), sha256=hashlib.sha256(bare).hexdigest()) if bare else None


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record.

    Attributes
    ----------
    sequence
        Counted from 1 over all files.
    previous
        `code` of the record before.
    code
        HMAC-SHA256 over number, predecessor, hash of the message and torn bytes.
    """

    sequence: int
    previous: str
    xml: str
    xml_sha256: str
    torn: Torn | None
    code: str

    @property
    def line(self) -> bytes:
        """Return it as a line of the file."""
        content: dict[str, object] = {"sequence": self.sequence, "previous": self.previous}
        if self.torn is not None:
            content["torn"] = {"size": self.torn.size, "sha256": self.torn.sha256}
        content |= {"xml": self.xml, "xml_sha256": self.xml_sha256, "code": self.code}
        return json.dumps(content, ensure_ascii=True).encode("ascii") + b"\n"

    def is_whole(self) -> bool:
        """Return whether the message is the one whose hash the record states."""
        return hashlib.sha256(self.xml.encode()).hexdigest() == self.xml_sha256

    def is_genuine(self, key: bytes) -> bool:
        """Return whether number, predecessor and hash are those that were recorded."""
        return hmac.compare_digest(self.code, _code(key, self.sequence, self.previous, self.xml_sha256, self.torn))


def make_record(key: bytes, sequence: int, previous: str, xml: str, torn: Torn | None = None) -> Record:
    """Return the record that follows another one."""
    xml_sha256 = hashlib.sha256(xml.encode()).hexdigest()
    code = _code(key, sequence, previous, xml_sha256, torn)
    return Record(sequence=sequence, previous=previous, xml=xml, xml_sha256=xml_sha256, torn=torn, code=code)


def read_record(line: bytes) -> Record | None:
    """Read a line; None where it is no record."""
    try:
        content = json.loads(line)
        torn = content.get("torn")
        return Record(
            sequence=int(content["sequence"]),
            previous=str(content["previous"]),
            xml=str(content["xml"]),
            xml_sha256=str(content["xml_sha256"]),
            torn=None if torn is None else Torn(size=int(torn["size"]), sha256=str(torn["sha256"])),
            code=str(content["code"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _code(key: bytes, sequence: int, previous: str, xml_sha256: str, torn: Torn | None) -> str:
    parts = [str(sequence), previous, xml_sha256, f"{torn.size} {torn.sha256}" if torn else ""]
    return hmac.new(key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()
