"""A data set on its way into a file: whole at its place, or nowhere; what dead processes left is removed."""

import errno
import hashlib
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dicom_node.reception.spool import Spool, remove_abandoned

WRITER = """
import sys
from pathlib import Path
from dicom_node.reception.spool import Spool

spool = Spool(Path(sys.argv[1]), b"head")
spool.write(memoryview(b"some"))
print("written", flush=True)
sys.stdin.read()
"""

GROWTH = """
import sys
from pathlib import Path
from dicom_node.reception.spool import Spool

def peak_kib():
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

spool, piece = Spool(Path(sys.argv[1]), b"head"), memoryview(bytes(2**20))
before = peak_kib()
for _ in range(300):
    spool.write(piece)
spool.place(Path(sys.argv[1]) / "study" / "whole.dcm")
print(peak_kib() - before)
"""


def test_what_came_lies_at_its_place_and_nothing_else(tmp_path: Path) -> None:
    spool, place = Spool(tmp_path / "inbox", b"head"), tmp_path / "inbox" / "1.2" / "1.3" / "one.dcm"
    for fragment in (b"some", b"", b"more"):
        spool.write(memoryview(fragment))
    assert (spool.sha256, spool.size) == (hashlib.sha256(b"somemore").hexdigest(), 8)
    spool.place(place)
    assert place.read_bytes()[spool.data_set_at :] == b"somemore"
    assert list((tmp_path / "inbox").glob(".*")) == []


def test_what_is_discarded_is_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, b"head")
    spool.discard()
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_finds_no_place_is_gone(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    spool = Spool(tmp_path / "inbox", b"head")
    with pytest.raises(OSError, match=r"taken"):
        spool.place(tmp_path / "taken" / "one.dcm")
    assert list((tmp_path / "inbox").iterdir()) == []


def test_what_cannot_be_written_says_so(tmp_path: Path) -> None:
    spool, limits = Spool(tmp_path, b"head"), resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as raised:  # noqa: PT011 - its number is looked at
            spool.write(memoryview(bytes(2000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert raised.value.errno == errno.EFBIG
    spool.discard()
    assert list(tmp_path.iterdir()) == []


def test_only_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    living = Spool(tmp_path, b"head")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        assert remove_abandoned(tmp_path) == 0
        writer.kill()
        writer.wait()
    assert remove_abandoned(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [living.path]
    living.discard()


def test_three_hundred_mebibytes_take_hardly_any_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", GROWTH, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 16 * 1024
    assert (tmp_path / "study" / "whole.dcm").stat().st_size == 300 * 2**20 + 4
