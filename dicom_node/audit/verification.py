"""Checks the audit trail: whether a record was changed, removed, inserted or moved, and exactly where."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.audit.files import trail_files
from dicom_node.audit.record import FIRST, Record, Torn, read_record

__all__ = ["Break", "Finding", "Note", "Verdict", "verify"]


class Break(enum.StrEnum):
    """What is wrong at a place of the trail."""

    CHANGED = "changed"  # the record is not what was recorded
    FORGED = "forged"  # number, predecessor or code do not belong together: made or altered without the key
    REMOVED = "removed"  # records are missing before this one
    MOVED = "moved"  # a record stands in another place than it was written to, or twice
    UNREADABLE = "unreadable"  # something that is no record, and that no record notes
    CUT = "cut"  # the trail ends before the last record that the database knows
    REPLACED = "replaced"  # the last record that the database knows is another one


class Note(enum.StrEnum):
    """What is unusual but explained."""

    TORN = "torn"  # a process was ended while it wrote; the next record notes it
    TORN_END = "torn_end"  # the same at the end of the trail, where nothing was recorded since
    ARCHIVED = "archived"  # the trail begins later, as was stated


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place of the trail.

    Attributes
    ----------
    line
        Counted from 1 in its file; 0 where the place is the end of the trail.
    """

    kind: Break | Note
    file: str
    line: int
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found."""

    records: int
    files: int
    first: int
    last: int
    findings: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, as far as can be known."""
        return not any(isinstance(one.kind, Break) for one in self.findings)


@dataclass(frozen=True, kw_only=True)
class _Line:
    file: str
    number: int
    content: bytes
    record: Record | None


def verify(folder: Path, key: bytes, head: tuple[int, str], begins: int = 1) -> Verdict:
    """Check every record of a node's trail.

    Parameters
    ----------
    head
        Number and code of the last record that the database knows.
    begins
        Number of the first record that must be there; those before were archived.
    """
    files = trail_files(folder)
    checker = _Checker(key, head, begins)
    pending: list[_Line] = []
    for line in _lines(files):
        if line.record is None:
            pending.append(line)
            continue
        checker.take(line.record, line, pending)
        pending = []
    checker.finish(pending, files[-1].name if files else "")
    return Verdict(
        records=checker.records,
        files=len(files),
        first=checker.first,
        last=checker.last,
        findings=tuple(checker.findings),
    )


def _lines(files: Sequence[Path]) -> Iterator[_Line]:
    """Yield the lines; one that the next record notes as torn counts as no record, even if it only lacks its end."""
    before: _Line | None = None
    for path in files:
        with path.open("rb") as file:
            for number, content in enumerate(file, start=1):
                record = read_record(content) if content.endswith(b"\n") else None
                line = _Line(file=path.name, number=number, content=content, record=record)
                if before is not None:
                    yield _torn(before) if record is not None and _notes(record, before) else before
                before = line
    if before is not None:
        yield before


def _notes(record: Record, line: _Line) -> bool:
    return record.torn is not None and Torn.of(line.content) == record.torn


def _torn(line: _Line) -> _Line:
    return _Line(file=line.file, number=line.number, content=line.content, record=None)


class _Checker:
    """Follows the chain from record to record."""

    def __init__(self, key: bytes, head: tuple[int, str], begins: int) -> None:
        self.findings: list[Finding] = []
        self.records = self.first = self.last = 0
        self._key, self._head, self._begins = key, head, begins
        self._code = FIRST
        self._seen: set[int] = set()
        self._head_found = head[0] == 0

    def take(self, record: Record, line: _Line, pending: Sequence[_Line]) -> None:
        """Check one record, and what stands before it."""
        self._check_torn(record, line, pending)
        number = record.sequence
        self.records += 1
        if not record.is_genuine(self._key):  # the chain goes on behind it, as if it were not there
            sentence = f"record {number} does not belong here: it was made or altered without the node's key"
            self._find(Break.FORGED, line, sentence)
            return
        if not record.is_whole():
            self._find(Break.CHANGED, line, f"record {number}: its message was changed after it was recorded")
        self._check_place(record, line)
        if (number, record.code) == self._head:
            self._head_found = True
        self.first = self.first or number
        if number >= self.last:
            self.last, self._code = number, record.code
        self._seen.add(number)

    def finish(self, pending: Sequence[_Line], file: str) -> None:
        """Check the end of the trail."""
        number, _ = self._head
        if self.last < number:
            missing = f"record {self.last + 1}" + (f" to {number}" if number > self.last + 1 else "")
            sentence = f"the trail ends with record {self.last}, but {missing} was recorded: cut off at the end"
            self.findings.append(Finding(kind=Break.CUT, file=file, line=0, sentence=sentence))
        elif not self._head_found and number >= self._begins:
            sentence = f"record {number} is not the one that the database knows"
            self.findings.append(Finding(kind=Break.REPLACED, file=file, line=0, sentence=sentence))
        for line in pending:
            at_end = not line.content.endswith(b"\n")
            sentence = "the last line is torn: a process was ended while it wrote, and nothing was recorded since"
            if at_end:
                self._find(Note.TORN_END, line, sentence)
            else:
                self._find(Break.UNREADABLE, line, "this line is no record, and no record notes it as torn")

    def _check_torn(self, record: Record, line: _Line, pending: Sequence[_Line]) -> None:
        found = Torn.of(b"".join(one.content for one in pending))
        if found == record.torn:
            for one in pending:
                if one.content.strip():
                    number = record.sequence
                    sentence = f"a process was ended while it wrote this line; record {number} notes it"
                    self._find(Note.TORN, one, sentence)
        elif found is None:
            sentence = f"record {record.sequence} notes a torn line before it, which was removed"
            self._find(Break.REMOVED, line, sentence)
        else:
            for one in pending:
                self._find(Break.UNREADABLE, one, "this line is no record, and no record notes it as torn")

    def _check_place(self, record: Record, line: _Line) -> None:
        number, wanted = record.sequence, self.last + 1
        if not self.first:
            self._check_beginning(record, line)
        elif number in self._seen or number < wanted:
            what = "stands here a second time" if number in self._seen else "stands behind a later one"
            self._find(Break.MOVED, line, f"record {number} {what}")
        elif number > wanted:
            missing = f"record {wanted}" if number == wanted + 1 else f"records {wanted} to {number - 1}"
            self._find(Break.REMOVED, line, f"{missing} is missing before record {number}")
        elif record.previous != self._code:
            sentence = f"record {number} does not follow record {number - 1} as it stands here: one of them is inserted"
            self._find(Break.FORGED, line, sentence)

    def _check_beginning(self, record: Record, line: _Line) -> None:
        number = record.sequence
        if number > self._begins:
            last = number - 1
            missing = f"record {self._begins}" if last == self._begins else f"records {self._begins} to {last}"
            self._find(Break.REMOVED, line, f"{missing} is missing at the beginning")
        elif number > 1:
            self._find(Note.ARCHIVED, line, f"the trail begins with record {number}, as was stated")
        elif record.previous != FIRST:
            self._find(Break.FORGED, line, "record 1 names a predecessor")

    def _find(self, kind: Break | Note, line: _Line, sentence: str) -> None:
        self.findings.append(Finding(kind=kind, file=line.file, line=line.number, sentence=sentence))
