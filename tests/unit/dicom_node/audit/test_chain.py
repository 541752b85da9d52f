"""The chain of the audit trail: whatever is done to it, the check says what and where; nothing recorded is lost."""

import base64
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dicom_node.audit.codes import EventType, Outcome
from dicom_node.audit.events import Actor
from dicom_node.audit.files import FOLDER, TrailFiles, trail_files
from dicom_node.audit.head import audit_key, known_head, note_head
from dicom_node.audit.reading import Choice, messages
from dicom_node.audit.record import FIRST, make_record, read_record
from dicom_node.audit.trail import AuditTrail
from dicom_node.audit.verification import Break, Note, Verdict, verify
from dicom_node.database.engine import Database, open_database
from tests.support.audit_schema import recorded

ROOT = Path(__file__).parents[4]


@pytest.fixture
def database(books: Database) -> Database:
    """Hold each on SQLite and on PostgreSQL: the head of the trail is there."""
    return books


@pytest.fixture
def trail(database: Database, folder: Path) -> AuditTrail:
    return AuditTrail(folder, "GLIONODE", database)


def _log_in(trail: AuditTrail, *names: str) -> None:
    for name in names:
        assert trail.record(trail.report.authentication(Actor(name=name), EventType.LOGIN, Outcome.SUCCESS))


def _verify(database: Database, folder: Path, begins: int = 1) -> Verdict:
    return verify(folder, audit_key(database), known_head(database), begins)


def _places(verdict: Verdict) -> list[tuple[Break | Note, int]]:
    return [(one.kind, one.line) for one in verdict.findings]


def _file(folder: Path) -> Path:
    (file,) = trail_files(folder)
    return file


def test_what_is_recorded_is_whole_and_private(trail: AuditTrail, database: Database, folder: Path) -> None:
    old = os.umask(0)
    try:
        _log_in(trail, "anna", "bert", "cleo")
    finally:
        os.umask(old)
    assert _verify(database, folder) == Verdict(records=3, files=1, first=1, last=3, findings=())
    assert [one.users[0] for one in recorded(folder, database, "authentication")] == ["anna", "bert", "cleo"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder / FOLDER).iterdir()} == {0o600}
    assert stat.S_IMODE((folder / FOLDER).stat().st_mode) == 0o700


def _changed(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b"cleo", b"carl"), *lines[3:]]


def _removed(lines: list[bytes]) -> list[bytes]:
    return [*lines[:1], *lines[3:]]


def _first_removed(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _repeated(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[1], *lines[3:]]


def _cut(lines: list[bytes]) -> list[bytes]:
    return lines[:3]


def _inserted(lines: list[bytes]) -> list[bytes]:
    second = read_record(lines[1])
    assert second is not None
    forged = make_record(b"a guess", 3, second.code, second.xml)
    return [*lines[:2], forged.line, *lines[2:]]


def _garbage(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], b"what is this\n", *lines[2:]]


def _replaced(lines: list[bytes]) -> list[bytes]:
    """Make the chain anew from the second record on, as whoever has no key would do it."""
    made, previous = list[bytes](), FIRST
    for line in lines:
        known = read_record(line)
        assert known is not None
        one = make_record(b"", known.sequence, previous, known.xml)
        made.append(one.line)
        previous = one.code
    return made


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (_changed, [(Break.CHANGED, 3)]),
        (_removed, [(Break.REMOVED, 2)]),
        (_first_removed, [(Break.REMOVED, 1)]),
        (_swapped, [(Break.REMOVED, 2), (Break.MOVED, 3)]),
        (_repeated, [(Break.MOVED, 4)]),
        (_cut, [(Break.CUT, 0)]),
        (_inserted, [(Break.FORGED, 3)]),
        (_garbage, [(Break.UNREADABLE, 3)]),
        (_replaced, [(Break.FORGED, 1), (Break.FORGED, 2), (Break.FORGED, 3), (Break.FORGED, 4), (Break.CUT, 0)]),
        (lambda _lines: [], [(Break.CUT, 0)]),
    ],
    ids=[
        "changed",
        "removed",
        "first removed",
        "swapped",
        "repeated",
        "cut",
        "inserted",
        "garbage",
        "replaced",
        "gone",
    ],
)
def test_what_was_done_to_the_trail_is_said_with_its_place(
    trail: AuditTrail,
    database: Database,
    folder: Path,
    tamper: Callable[[list[bytes]], list[bytes]],
    found: list[tuple[Break, int]],
) -> None:
    _log_in(trail, "anna", "bert", "cleo", "dora")
    file = _file(folder)
    file.write_bytes(b"".join(tamper(file.read_bytes().splitlines(keepends=True))))
    verdict = _verify(database, folder)
    assert _places(verdict) == found
    assert not verdict.is_whole


def test_the_chain_holds_over_many_files_and_none_can_be_taken_away(
    trail: AuditTrail, database: Database, folder: Path
) -> None:
    trail._files = TrailFiles(folder, file_bytes=2000)
    _log_in(trail, *(f"person {number}" for number in range(12)))
    files = trail_files(folder)
    assert len(files) > 3
    assert _verify(database, folder).findings == ()
    assert [one.sequence for one in messages(folder, Choice())] == list(range(1, 13))
    content = files[1].read_bytes()
    files[1].unlink()
    (found,) = _verify(database, folder).findings
    assert (found.kind, found.file, found.line) == (Break.REMOVED, files[2].name, 1)
    files[1].write_bytes(content)
    files[0].unlink()
    assert _places(_verify(database, folder)) == [(Break.REMOVED, 1)]
    begins = read_record(content.splitlines()[0])
    assert begins is not None
    archived = _verify(database, folder, begins.sequence)
    assert (archived.is_whole, _places(archived)) == (True, [(Note.ARCHIVED, 1)])


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_line_is_noted_and_stays(trail: AuditTrail, database: Database, folder: Path, cut: int) -> None:
    """As after kill -9 or a power cut: the line had not been acknowledged."""
    _log_in(trail, "anna")
    file, key = _file(folder), audit_key(database)
    last = read_record(file.read_bytes())
    assert last is not None
    line = make_record(key, 2, last.code, "<AuditMessage>of a process that was killed</AuditMessage>" * 9).line
    with file.open("ab") as opened:
        opened.write(line[:-cut])
    assert _places(_verify(database, folder)) == [(Note.TORN_END, 2)]
    _log_in(AuditTrail(folder, "GLIONODE", database), "bert")
    verdict = _verify(database, folder)
    assert (verdict.is_whole, verdict.last, _places(verdict)) == (True, 3, [(Note.TORN, 2)])
    assert line[:-cut] in file.read_bytes()
    (alert,) = recorded(folder, database, "alert")
    assert alert.types == ("Audit Recording Stopped",)
    kept = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([kept[0], *kept[2:]]))  # whoever removes the torn line is noticed
    assert _places(_verify(database, folder)) == [(Break.REMOVED, 2)]


_WRITER = """
import sys
from pathlib import Path
from dicom_node.audit.codes import EventType, Outcome
from dicom_node.audit.events import Actor
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import open_database
folder, url, name, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
trail = AuditTrail(folder, "GLIONODE", open_database(url))
for number in range(count):
    assert trail.record(trail.report.authentication(Actor(name=f"{name}-{number}"), EventType.LOGIN, Outcome.SUCCESS))
    print(number, flush=True)
"""


def _writer(folder: Path, database: Database, name: str, count: int) -> "subprocess.Popen[str]":
    url = database.engine.url.render_as_string(hide_password=False)
    command: Sequence[str | Path] = [sys.executable, "-c", _WRITER, folder, url, name, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_several_processes_write_one_chain(database: Database, folder: Path) -> None:
    writers = [_writer(folder, database, name, 25) for name in ("a", "b", "c")]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    names = [one.users[0] for one in recorded(folder, database)]
    assert sorted(names) == sorted(f"{name}-{number}" for name in "abc" for number in range(25))


def test_what_a_killed_process_was_told_is_recorded(database: Database, folder: Path) -> None:
    acknowledged = []
    for name in ("a", "b", "c"):
        writer = _writer(folder, database, name, 100_000)
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(10)]
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=60)
        acknowledged += [f"{name}-{number}" for number in (*told, *rest.split())]
    _log_in(AuditTrail(folder, "GLIONODE", database), "last")
    assert {*acknowledged, "last"} <= {one.users[0] for one in recorded(folder, database)}


def test_a_head_that_is_behind_is_no_break(trail: AuditTrail, database: Database, folder: Path) -> None:
    """A process may be killed between the file and the database; a later number is never replaced by an earlier."""
    _log_in(trail, "anna", "bert")
    note_head(database, 1, "an earlier one")
    assert known_head(database)[0] == 2
    last = read_record(_file(folder).read_bytes().splitlines()[-1])
    assert last is not None
    with _file(folder).open("ab") as opened:
        opened.write(make_record(audit_key(database), 3, last.code, "<AuditMessage/>").line)
    assert _verify(database, folder).findings == ()


_FULL = """
import resource, sys
from pathlib import Path
from dicom_node.audit.codes import EventType, Outcome
from dicom_node.audit.events import Actor
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import open_database
folder, url = Path(sys.argv[1]), sys.argv[2]
trail = AuditTrail(folder, "GLIONODE", open_database(url))
say = lambda name: trail.record(trail.report.authentication(Actor(name=name), EventType.LOGIN, Outcome.SUCCESS))
assert say("before")
size = next(folder.glob("audit/trail-*")).stat().st_size
(unlimited, hard) = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))  # a write stops within the line
assert not say("first") and not say("second")
assert next(folder.glob("audit/trail-*")).stat().st_size == size
assert trail.refusal()
resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, hard))
assert not trail.refusal()
"""


def test_what_a_full_disk_does_not_take_is_recorded_once_there_is_space(folder: Path, tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'full.sqlite'}")
    url = database.engine.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", _FULL, folder, url], cwd=ROOT, check=True)
    found = recorded(folder, database)
    assert [one.types for one in found] == [
        ("Login",),
        ("Audit Recording Stopped",),
        ("Login",),
        ("Login",),
        ("Audit Recording Started",),
    ]
    assert [found[number].users[0] for number in (0, 2, 3)] == ["before", "first", "second"]
    assert _verify(database, folder).findings == ()


def test_a_trail_that_cannot_be_written_holds_messages_and_counts_those_it_loses(
    trail: AuditTrail, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.audit.trail.MOST_HELD", 3)
    folder.mkdir()
    (folder / FOLDER).write_text("in the way", "utf-8")
    for name in ("lost", "lost too", "anna", "bert", "cleo"):
        assert not trail.record(trail.report.authentication(Actor(name=name), EventType.LOGIN, Outcome.SUCCESS))
    assert trail.refusal() == "the audit trail cannot be written"
    (folder / FOLDER).unlink()
    _log_in(trail, "dora")
    found = recorded(folder, database)
    assert [one.users[0] for one in found if one.types == ("Login",)] == ["anna", "bert", "cleo", "dora"]
    assert _detail(found[-1].xml) == "4 messages were held in memory and recorded afterwards, 2 were lost"


def _detail(xml: str) -> str:
    (value,) = re.findall(r'type="Alert Description" value="([^"]+)"', xml)
    return base64.b64decode(value).decode()


def test_what_repeats_itself_is_recorded_once(trail: AuditTrail, database: Database, folder: Path) -> None:
    for name in ("anna", "anna", "bert"):
        message = trail.report.authentication(Actor(name=name), EventType.LOGIN, Outcome.SUCCESS)
        assert trail.record_once(name, message)
    assert [one.users[0] for one in recorded(folder, database)] == ["anna", "bert"]


def test_a_record_is_on_the_disk_before_it_is_acknowledged(
    trail: AuditTrail, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, os.fstat(descriptor).st_size))
        real(descriptor)

    _log_in(trail, "anna")
    monkeypatch.setattr("dicom_node.audit.files.os.fsync", watched)
    _log_in(trail, "bert")
    file = _file(folder)
    assert synced == [(file.name, file.stat().st_size)]


def test_a_process_waits_for_another_that_writes(
    trail: AuditTrail, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _log_in(trail, "anna")
    monkeypatch.setattr("dicom_node.audit.files.LOCK_S", 0.05)
    with (folder / FOLDER / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        message = trail.report.authentication(Actor(name="bert"), EventType.LOGIN, Outcome.SUCCESS)
        assert not trail.record(message)
        assert len(list(messages(folder, Choice()))) == 1
    _log_in(trail, "cleo")
    names = [one.users[0] for one in recorded(folder, database, "authentication")]
    assert names == ["anna", "bert", "cleo"]
