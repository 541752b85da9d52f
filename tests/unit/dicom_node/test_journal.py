"""The journal: durable before it is acknowledged, filed a moment later, and by whoever comes after a crash."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.arrivals import Arrival
from dicom_node.journal import Journal, JournalFull

SMALL = 64 * 1024


def _arrival(number: int, size: int = 1000) -> Arrival:
    return Arrival(
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


class _Files:
    """Takes what is filed, or refuses while told to."""

    def __init__(self) -> None:
        self.filed: list[Arrival] = []
        self.refusal: Exception | None = None
        self.refuses: Callable[[Arrival], bool] = lambda _: True

    def __call__(self, arrivals: Sequence[Arrival]) -> None:
        if self.refusal is not None and any(self.refuses(arrival) for arrival in arrivals):
            raise self.refusal
        self.filed += arrivals


def test_what_is_appended_is_filed_in_order(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path, files)
    arrivals = [_arrival(number) for number in range(100)]
    assert all(journal.append(arrival) for arrival in arrivals)
    assert journal.drain()
    assert files.filed == arrivals
    journal.close()
    assert list(tmp_path.glob("*.journal")) == []


def test_what_a_killed_listener_had_is_filed_by_the_next(tmp_path: Path) -> None:
    program = f"""
import sys, os, signal
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.unit.dicom_node.test_journal import _arrival
from dicom_node.journal import Journal

def refuse(arrivals):
    raise OSError(28, "no room")

journal = Journal(Path({str(tmp_path)!r}), refuse)
for number in range(50):
    journal.append(_arrival(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
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


def test_what_is_larger_than_the_journal_is_not_taken(tmp_path: Path) -> None:
    journal = Journal(tmp_path, _Files(), SMALL)
    assert not journal.append(_arrival(1, SMALL))
    journal.close()


def test_senders_at_once_lose_nothing(tmp_path: Path) -> None:
    files = _Files()
    journal = Journal(tmp_path, files, SMALL)
    arrivals = [_arrival(number, 3000) for number in range(300)]
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(journal.append, arrivals))
    assert journal.drain()
    assert sorted(one.sop_instance_uid for one in files.filed) == sorted(one.sop_instance_uid for one in arrivals)
    journal.close()


def test_what_is_filed_does_not_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that is cleaned away later must not rise from a journal after a crash."""
    monkeypatch.setattr("dicom_node.journal.ADOPT_S", 0.05)
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


def test_a_journal_that_was_never_finished_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "old.new", tmp_path / "young.new"
    for path in (old, young):
        path.write_bytes(bytes(100))
    os.utime(old, (0, 0))
    Journal(tmp_path, _Files()).close()
    assert (old.exists(), young.exists()) == (False, True)
