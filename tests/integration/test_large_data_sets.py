"""A data set larger than memory is meant to hold: written while it comes, whole at its place or nowhere at all."""

import hashlib
import os
import re
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import InstanceRow, RefusalRow
from dicom_node.peers.registry import put_peer
from dicom_node.reception.incoming import GATHERED_BYTES
from dicom_node.settings import read_settings
from tests.support.listener_process import listening
from tests.support.node import SENDER
from tests.support.pacs import echo
from tests.support.raw_line import ABORT, COMMAND, CONTEXT, LAST, RawLine, command_of, data_of, raw_line
from tests.support.small_study import make_small_study, uid_of
from tests.support.waiting import wait_until

GIB = 2**30
LARGE = GATHERED_BYTES + 2**20
MEMORY_MIB = 64.0
"""What a data set of 2 GiB may take."""

PIECE = 2**20 - 6
DEADLINE_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": "0"}


@pytest.fixture
def database(environment: dict[str, str]) -> Iterator[Database]:
    opened = open_database(read_settings(environment=environment).database_url)
    put_peer(opened, SENDER)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def image() -> Dataset:
    return make_small_study("large", roles=["FLAIR"])[0]


def _header(image: Dataset, size: int) -> bytes:
    """Return a data set up to its pixel data of so many bytes."""
    del image.PixelData
    return data_of(image) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)


def _send(
    line: RawLine, image: Dataset, begin: bytes, zeros: int, *, message_id: int = 1, is_whole: bool = True
) -> str:
    """Send a data set that goes on with so many zeros, piece by piece; return its SHA-256."""
    digest = hashlib.sha256(begin)
    line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, message_id)), (CONTEXT, 0, begin)])
    while zeros:
        piece = bytes(min(PIECE, zeros))
        zeros -= len(piece)
        digest.update(piece)
        line.send_values([(CONTEXT, LAST if is_whole and not zeros else 0, piece)])
    return digest.hexdigest()


def _peak_mib(pid: int) -> float:
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))[0]) / 1024


def _under_way(environment: dict[str, str]) -> list[Path]:
    return list(Path(environment["GLIONODE_NODE_FOLDER"], "inbox").rglob(".*"))


def _rows(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow).order_by(InstanceRow.id)))


def _codes(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(RefusalRow.code)))


def test_two_gibibytes_take_hardly_any_memory(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset
) -> None:
    size = 2 * GIB
    with listening(tmp_path, environment) as (process, port), raw_line(port) as line:
        _send(line, image, data_of(image)[:-1], 1)  # what is loaded with the first image is no part of the large one's
        image.SOPInstanceUID = uid_of("larger")
        before, begin = _peak_mib(process.pid), _header(image, size)
        sent = _send(line, image, begin, size, message_id=2)
        assert [line.read_status(), line.read_status()] == [(1, 0x0000), (2, 0x0000)]
        assert _peak_mib(process.pid) - before < MEMORY_MIB
        line.release()
    _, large = _rows(database)
    place = Path(environment["GLIONODE_NODE_FOLDER"], large.path)
    ds = dcmread(place, stop_before_pixels=True)
    assert (large.sha256, ds.SOPInstanceUID) == (sent, image.SOPInstanceUID)
    with place.open("rb") as file:
        file.seek(-(len(begin) + size), os.SEEK_END)
        assert hashlib.file_digest(file, "sha256").hexdigest() == sent
    assert _under_way(environment) == []


@pytest.mark.parametrize("ending", ["abort", "hang up", "kill"])
def test_of_one_that_does_not_become_whole_nothing_is_left(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset, ending: str
) -> None:
    begin = _header(image, 2 * LARGE)
    with listening(tmp_path, environment) as (process, port):
        with raw_line(port) as line:
            _send(line, image, begin, LARGE, is_whole=False)
            wait_until(lambda: bool(_under_way(environment)))
            if ending == "abort":
                line.socket.sendall(struct.pack(">BBIHBB", ABORT, 0, 4, 0, 0, 0))
            elif ending == "kill":
                process.kill()
        if ending == "kill":
            process.wait(DEADLINE_S)
            assert len(_under_way(environment)) == 1
        else:
            wait_until(lambda: not _under_way(environment))
            assert echo(port)
    with listening(tmp_path, environment):
        assert _under_way(environment) == []
    assert _rows(database) == []


def test_one_that_finds_no_room_is_refused_and_the_next_one_taken(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset
) -> None:
    whole = data_of(image)
    with listening(tmp_path, environment) as (process, port), raw_line(port) as line:
        limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGE - 1000, limits[1]))
        _send(line, image, _header(image, LARGE), LARGE)
        assert line.read_status() == (1, 0xA700)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
        _send(line, image, whole[:-1], 1, message_id=2)
        assert line.read_status() == (2, 0x0000)
        line.release()
    assert _codes(database) == ["not_stored"]
    assert len(_rows(database)) == 1
    assert _under_way(environment) == []


def test_a_full_disk_is_noticed_before_a_large_one_fills_it(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset
) -> None:
    with (
        listening(tmp_path, environment | {"GLIONODE_LIMITS_FREE_DISK_GIB": "1e9"}) as (_, port),
        raw_line(port) as line,
    ):
        _send(line, image, _header(image, LARGE), LARGE, is_whole=False)
        assert _under_way(environment) == []
        line.send_values([(CONTEXT, LAST, bytes(2))])
        assert line.read_status() == (1, 0xA700)
    assert _codes(database) == ["disk_full"]


@pytest.mark.parametrize("tag", [(0x0008, 0x0018), (0x0010, 0x0020)], ids=["its own UID", "the patient ID"])
def test_a_header_without_end_is_refused_within_the_same_memory(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset, tag: tuple[int, int]
) -> None:
    """The element that says what the data set is claims to be nearly all of it."""
    size = GIB // 2
    group, element = tag
    begin = struct.pack("<HH2sH", 8, 0x16, b"UI", len(image.SOPClassUID) + 1) + image.SOPClassUID.encode() + b"\0"
    begin += struct.pack("<HH2sHI", group, element, b"UT", 0, size)
    with listening(tmp_path, environment) as (process, port), raw_line(port) as line:
        before = _peak_mib(process.pid)
        _send(line, image, begin, size)
        assert line.read_status() == (1, 0xC000)
        assert _peak_mib(process.pid) - before < MEMORY_MIB
    assert _codes(database) == ["invalid_uid"]
    assert (_rows(database), _under_way(environment)) == ([], [])


def test_a_large_version_stays_current_when_its_listener_is_killed(
    tmp_path: Path, environment: dict[str, str], database: Database, image: Dataset
) -> None:
    """The journal that is left holds the small version that came before it, filed though that is."""
    small = data_of(image)
    with listening(tmp_path, environment) as (process, port), raw_line(port) as line:
        _send(line, image, small[:-1], 1)
        large = _send(line, image, _header(image, LARGE), LARGE, message_id=2)
        assert [line.read_status(), line.read_status()] == [(1, 0x0000), (2, 0x0000)]
        wait_until(lambda: [row.current for row in _rows(database)] == [False, True])
        process.kill()
        process.wait(DEADLINE_S)
    with listening(tmp_path, environment):
        assert {row.sha256: row.current for row in _rows(database)} == {_sha256(small): False, large: True}
        assert "journal_adopted" in (tmp_path / "stderr.jsonl").read_text("utf-8")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
