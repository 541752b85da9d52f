"""The journal: durable before it is acknowledged, filed a moment later, and by whoever comes after a crash."""

import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.incoming import GATHERED_BYTES
from dicom_node.reception.journal import ADOPT_S, SEGMENT_BYTES, Journal, JournalFull
from dicom_node.reception.journal_segment import Record, Segment, encode
from tests.support.system_calls import under_strace

SMALL = 64 * 1024


def _arrival(number: int, size: int = 1000) -> ArrivedInstance:
    return ArrivedInstance(
        sop_instance_uid=f"1.2.{number}",
        study_uid="1.2",
        series_uid="1.3",
        sop_class_uid="1.4",
        transfer_syntax_uid="1.5",
        patient_key="p",
        sha256=f"{number:064x}",
        calling_ae="A",
        association_id="a",
        received_at=datetime(2026, 1, 5, 8, tzinfo=UTC),
        content=number.to_bytes(4, "big") * (size // 4),
    )


def _in_place(number: int) -> ArrivedInstance:
    return replace(_arrival(number), content=b"")


class _Files:
    """Takes what is filed, or refuses while told to."""

    def __init__(self) -> None:
        self.filed: list[ArrivedInstance] = []
        self.refusal: Exception | None = None
        self.refuses: Callable[[ArrivedInstance], bool] = lambda _: True

    def __call__(self, arrivals: Sequence[ArrivedInstance]) -> None:
        if self.refusal is not None and any(self.refuses(arrival) for arrival in arrivals):
            raise self.refusal
        self.filed += arrivals


def test_what_is_appended_is_filed_in_order(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path, files)
    arrivals = [_arrival(number) for number in range(100)]
    for arrival in arrivals:
        journal.append(arrival)
    assert journal.drain()
    assert files.filed == arrivals
    journal.close()
    assert list(tmp_path.glob("*.journal")) == []


def test_one_alone_is_filed_at_once(tmp_path: Path) -> None:
    """Nobody waits for it, and nothing comes behind it that would wake the thread that files."""
    files = _Files()
    journal = Journal(tmp_path, files)
    for number in range(2):
        begun = time.monotonic()
        journal.append(_arrival(number))
        _wait_until(lambda so_many=number + 1: len(files.filed) == so_many)
        assert time.monotonic() - begun < ADOPT_S / 2
    journal.close()


def _leave(folder: Path, numbers: range) -> None:
    """Leave a journal behind as a listener that is killed does."""
    program = f"""
import sys, os, signal
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.unit.dicom_node.test_journal import _arrival
from dicom_node.reception.journal import Journal

def refuse(arrivals):
    raise OSError(28, "no room")

journal = Journal(Path({str(folder)!r}), refuse)
for number in {numbers!r}:
    journal.append(_arrival(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr


def test_what_a_killed_listener_had_is_filed_by_the_next(tmp_path: Path) -> None:
    _leave(tmp_path, range(50))
    files = _Files()
    journal = Journal(tmp_path, files)
    assert files.filed == [_arrival(number) for number in range(50)]
    journal.close()


def test_a_journal_that_somebody_has_is_left_alone(tmp_path: Path) -> None:
    first, second = _Files(), _Files()
    first.refusal = OSError(28, "no room")
    holder = Journal(tmp_path, first)
    holder.append(_arrival(1))
    other = Journal(tmp_path, second)
    assert second.filed == []
    first.refusal = None
    assert holder.drain()
    holder.close()
    other.close()


def test_what_cannot_be_filed_waits_and_is_not_lost(tmp_path: Path) -> None:
    files = _Files()
    files.refusal = OSError(28, "no room")
    journal = Journal(tmp_path, files)
    journal.append(_arrival(1))
    assert not journal.drain(0.2)
    files.refusal = None
    assert journal.drain()
    assert files.filed == [_arrival(1)]
    journal.close()


def test_one_that_can_never_be_filed_is_set_aside_and_holds_up_nothing(tmp_path: Path) -> None:
    files = _Files()
    files.refusal, files.refuses = ValueError("never"), lambda arrival: arrival.sop_instance_uid == "1.2.1"
    journal = Journal(tmp_path, files)
    for number in range(3):
        journal.append(_arrival(number))
    assert journal.drain()
    assert files.filed == [_arrival(0), _arrival(2)]
    (aside,) = (tmp_path / "set_aside").iterdir()
    assert aside.read_bytes() == _arrival(1).content
    journal.close()


def test_a_full_journal_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    files = _Files()
    files.refusal = OSError(28, "no room")
    journal = Journal(tmp_path, files, SMALL, patience_s=0.1)
    taken = 0
    with pytest.raises(JournalFull, match="nothing could be filed"):  # noqa: PT012 - how many go in is what is counted
        while taken < 1000:
            journal.append(_arrival(taken, 4000))
            taken += 1
    assert 20 < taken < 40
    files.refusal = None
    assert journal.drain()
    journal.append(_arrival(taken, 4000))
    assert journal.drain()
    assert files.filed == [_arrival(number, 4000) for number in range(taken + 1)]
    journal.close()


def test_segments_are_written_anew_many_times(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path, files, SMALL)
    arrivals = [_arrival(number, 5000) for number in range(200)]
    for arrival in arrivals:
        journal.append(arrival)
    assert journal.drain()
    assert files.filed == arrivals
    journal.close()


def test_what_is_gathered_in_memory_fits_into_the_journal() -> None:
    assert encode(_arrival(1, GATHERED_BYTES)).size + 1000 < SEGMENT_BYTES


def test_what_lies_at_its_place_keeps_its_turn_without_its_content(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path / "journal", files, SMALL)
    arrivals = [_arrival(1), _in_place(2), _arrival(3)]
    for arrival in arrivals:
        journal.append(arrival)
    assert journal.drain()
    assert files.filed == arrivals
    journal.close()


def test_what_lies_at_its_place_and_can_never_be_filed_is_taken_away_from_there(tmp_path: Path) -> None:
    files = _Files()
    files.refusal, files.refuses = ValueError("never"), lambda arrival: arrival.is_in_place
    place = tmp_path / _in_place(1).path
    place.parent.mkdir(parents=True)
    place.write_bytes(b"a large file")
    journal = Journal(tmp_path / "journal", files)
    for arrival in (_in_place(1), _arrival(2)):
        journal.append(arrival)
    assert journal.drain()
    assert files.filed == [_arrival(2)]
    (aside,) = (tmp_path / "journal" / "set_aside").iterdir()
    assert (aside.read_bytes(), place.exists()) == (b"a large file", False)
    journal.close()


def test_the_older_segment_is_void_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the newer void alone, an older version would come last from what a crash leaves."""
    order: list[int] = []
    begin = Segment.begin
    monkeypatch.setattr(Segment, "begin", lambda self, order: began(self) or begin(self, order))

    def began(segment: Segment) -> None:
        if not segment.is_empty:
            order.append(segment.order)

    files = _Files()
    files.refusal = OSError(28, "no room")
    journal = Journal(tmp_path, files, SMALL, patience_s=0.1)
    with pytest.raises(JournalFull):  # noqa: PT012 - it is filled, whatever goes in
        for number in range(1000):
            journal.append(_arrival(number, 4000))
    assert [journal._segments.index(journal._active)] == [1]
    journal._segments.reverse()
    order.clear()
    files.refusal = None
    assert journal.drain()
    journal._empty()
    assert order == [1, 2]
    journal.close()


def test_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path, files, SMALL)
    arrivals = [_arrival(number, 3000) for number in range(300)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(journal.append, arrivals))
    assert journal.drain()
    assert sorted(one.sop_instance_uid for one in files.filed) == sorted(one.sop_instance_uid for one in arrivals)
    journal.close()


def test_what_is_filed_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that is cleaned away later must not rise from a journal after a crash."""
    monkeypatch.setattr("dicom_node.reception.journal.ADOPT_S", 0.05)
    files = _Files()
    journal = Journal(tmp_path, files)
    journal.append(_arrival(1))
    assert journal.drain()
    deadline = time.monotonic() + 10
    while any(not segment.is_empty for segment in journal._segments):
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    copies = [path.read_bytes() for path in tmp_path.glob("*.journal")]
    journal.close()
    for number, content in enumerate(copies):  # as a crash would have left them
        (tmp_path / f"{number}.journal").write_bytes(content)
    later = _Files()
    Journal(tmp_path, later).close()
    assert later.filed == []


def test_a_record_that_was_cut_off_ends_what_is_read(tmp_path: Path) -> None:
    files = _Files()
    files.refusal = OSError(28, "no room")
    journal = Journal(tmp_path, files)
    for number in range(3):
        journal.append(_arrival(number))
    (content,) = [path.read_bytes() for path in tmp_path.glob("*.journal") if b"1.2.2" in path.read_bytes()]
    files.refusal = None
    journal.drain()
    journal.close()
    place = content.index(_arrival(2).content)
    (tmp_path / "torn.journal").write_bytes(content[: place + 100] + bytes(len(content) - place - 100))
    later = _Files()
    Journal(tmp_path, later).close()
    assert later.filed == [replace(_arrival(number)) for number in range(2)]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_what_could_not_be_adopted_is_adopted_when_the_database_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.reception.journal.ADOPT_S", 0.05)
    files = _Files()
    files.refusal = sa.exc.OperationalError("INSERT", {}, Exception("the server closed the connection"))
    _leave(tmp_path, range(3))
    before = len(list(Path("/proc/self/fd").iterdir()))
    journal = Journal(tmp_path, files)
    threading.Event().wait(0.3)  # some rounds
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3  # its two files, and the one it may just look at
    files.refusal = None
    _wait_until(lambda: files.filed == [_arrival(number) for number in range(3)])
    _wait_until(lambda: len(list(tmp_path.glob("*.journal"))) == 2)
    journal.close()


def test_a_record_that_can_never_be_filed_does_not_stop_a_restart(tmp_path: Path) -> None:
    _leave(tmp_path, range(3))
    files = _Files()
    files.refusal, files.refuses = NotADirectoryError(20, "in the way"), lambda one: one.sop_instance_uid == "1.2.1"
    Journal(tmp_path, files).close()
    assert files.filed == [_arrival(0), _arrival(2)]
    (aside,) = (tmp_path / "set_aside").iterdir()
    assert aside.read_bytes() == _arrival(1).content
    assert list(tmp_path.glob("*.journal")) == []


def test_a_record_of_another_version_of_the_node_is_set_aside(tmp_path: Path) -> None:
    segment = Segment.made(tmp_path / "other.journal", SMALL)
    segment.begin(order=1)
    facts, content = b'{"received_at": "2026-01-05T08:00:00+00:00", "colour": "blue"}', _arrival(1).content
    segment.write(Record(facts, content, zlib.crc32(content, zlib.crc32(facts))))
    segment.write(encode(_arrival(2)))
    segment.close(remove=False)
    files = _Files()
    Journal(tmp_path, files).close()
    assert files.filed == [_arrival(2)]
    (aside,) = (tmp_path / "set_aside").iterdir()
    assert aside.read_bytes() == content


def test_what_cannot_be_set_aside_either_waits(tmp_path: Path) -> None:
    files = _Files()
    files.refusal, files.refuses = ValueError("never"), lambda one: one.sop_instance_uid == "1.2.1"
    (tmp_path / "set_aside").write_bytes(b"in the way")
    journal = Journal(tmp_path, files)
    for number in range(3):
        journal.append(_arrival(number))
    assert not journal.drain(0.3)
    (tmp_path / "set_aside").unlink()
    assert journal.drain()
    assert files.filed == [_arrival(0), _arrival(2)]
    journal.close()


def test_a_sender_that_waits_goes_on_where_another_one_went_on(tmp_path: Path) -> None:
    """Both wait for a segment; the first begins it, and the second must not wait until what that one wrote is filed."""
    files = _Files()
    files.refusal = OSError(28, "no room")
    journal = Journal(tmp_path, files, SMALL, patience_s=10.0)
    size = encode(_arrival(100, 4000)).size
    in_each = next(number for number in range(100) if not journal._active.takes((number + 1) * size))
    for number in range(2 * in_each):
        journal.append(_arrival(100 + number, 4000))
    with ThreadPoolExecutor(2) as pool:
        late = [pool.submit(journal.append, _arrival(500 + number, 4000)) for number in range(2)]
        _wait_until(lambda: len(journal._change._waiters) >= 2)  # type: ignore[attr-defined]
        # Room comes for the first segment's records only: the second one's, and what follows, stay where they are.
        files.refuses = lambda one: int(one.sop_instance_uid.rpartition(".")[2]) >= 100 + in_each
        for one in late:
            one.result(5.0)
    files.refusal = None
    assert journal.drain()
    journal.close()


@pytest.mark.strace
def test_nothing_counts_that_was_written_before_a_failed_sync(tmp_path: Path) -> None:
    """The kernel takes for written what it could not write, and says at the next sync that all is well."""
    program = f"""
import os, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.unit.dicom_node.test_journal import _arrival
from dicom_node.reception.journal import Journal

def refuse(arrivals):
    raise OSError(28, "no room")

def append(*numbers):
    for number in numbers:
        try:
            journal.append(_arrival(number))
            said[number] = True
        except OSError:
            said[number] = False

journal, said = Journal(Path({str(tmp_path)!r}), refuse), {{}}
first, second = (threading.Thread(target=append, args=numbers) for numbers in ([0, 1], [2]))
first.start()
while journal._active.written < 2:
    time.sleep(0.001)
second.start()
first.join(), second.join()
append(3)
print(sorted(said.items()), flush=True)
os._exit(0)
"""
    fault = ["-e", "inject=fdatasync:error=EIO:delay_enter=1000000:when=2"]  # the second one of a thread
    command = under_strace(tmp_path / "trace", [sys.executable, "-c", program], *fault)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[(0, True), (1, False), (2, False), (3, True)]"
    files = _Files()
    Journal(tmp_path, files).close()
    assert (files.filed[0], files.filed[-1]) == (_arrival(0), _arrival(3))


def test_a_journal_that_was_never_finished_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "old.new", tmp_path / "young.new"
    for path in (old, young):
        path.write_bytes(bytes(100))
    os.utime(old, (0, 0))
    Journal(tmp_path, _Files()).close()
    assert (old.exists(), young.exists()) == (False, True)
