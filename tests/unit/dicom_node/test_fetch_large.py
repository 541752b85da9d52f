"""Studies of large objects, fetched by WADO-RS and C-GET: written while they come, whole at their place or nowhere."""

import hashlib
import itertools
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, MRImageStorage

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed
from dicom_node.reception import spool
from dicom_node.reception.incoming import GATHERED_BYTES
from dicom_node.retrieval import stored_data_sets, wado
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings, read_settings
from dicom_node.storage import disk_space as disk
from tests.support.small_study import make_small_study
from tests.support.strange_scp import StrangeScp, running_strange_scp
from tests.support.web_source import BOUNDARY, WebSource, file_of, multipart, serving_web

MIB = 2**20
MEMORY_MIB = 64.0
LARGE = GATHERED_BYTES + 4 * MIB
PIECE = MIB

_PEAK = "int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1]) / 1024"

FETCH = f"""
import sys
from dicom_node.database.engine import open_database
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.peers.peer import Peer
from dicom_node.settings import read_settings
folder, study, root, port = sys.argv[1:]
settings = read_settings(environment={{"GLIONODE_NODE_FOLDER": folder}})
where = {{"dicomweb_url": root}} if root else {{"host": "127.0.0.1", "port": int(port)}}
peer = Peer(name="Source", ae_title="SOURCE", is_source=True, **where)
fetcher = Fetcher(settings, open_database(settings.database_url), peer)
before = {_PEAK}
(done,) = fetcher.fetch(study)
print(done.instances, {_PEAK} - before)
"""
"""A process of its own, whose highest water mark the kernel keeps."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def web() -> Iterator[WebSource]:
    with serving_web() as running:
        yield running


@pytest.fixture
def scp() -> Iterator[StrangeScp]:
    with running_strange_scp() as running:
        yield running


@pytest.fixture
def image() -> Dataset:
    return make_small_study("wanted", roles=["FLAIR"])[0]


def _fetched_apart(folder: Path, study_uid: str, root: str = "", port: int = 0) -> tuple[int, float]:
    """Fetch in another process; return how many came, and how many MiB it grew by."""
    command = [sys.executable, "-c", FETCH, str(folder), study_uid, root, str(port)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    instances, grown = ran.stdout.split()[-2:]
    return int(instances), float(grown)


def _pieces(image: Dataset, size: int) -> tuple[bytes, Iterator[bytes]]:
    """Return a file up to its pixel data of so many zeros, and these piece by piece."""
    del image.PixelData
    begin = file_of(image) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
    return begin, (bytes(min(PIECE, size - at)) for at in range(0, size, PIECE))


def _message(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Return a multipart message of one part."""
    yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    yield from parts
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def _rows(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow).order_by(InstanceRow.id)))


def _under_way(settings: Settings) -> list[Path]:
    return list((settings.node.folder / "inbox").rglob(".*"))


def _fetcher(settings: Settings, database: Database, web: WebSource) -> Fetcher:
    peer = Peer(name="Web", ae_title="WEB", dicomweb_url=web.root, is_source=True)
    return Fetcher(settings, database, peer)


def _getter(settings: Settings, database: Database, scp: StrangeScp) -> Fetcher:
    peer = Peer(name="Strange", ae_title="STRANGE", host="127.0.0.1", port=scp.port, is_source=True)
    return Fetcher(settings, database, peer)


def test_memory_does_not_grow_with_a_response_of_many_parts(web: WebSource, tmp_path: Path, image: Dataset) -> None:
    def parts() -> Iterator[bytes]:
        image.DataSetTrailingPadding = bytes(2 * MIB)
        for number in range(100):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            yield file_of(image)

    web.answers(image.StudyInstanceUID, multipart(parts()))
    instances, grown = _fetched_apart(tmp_path, image.StudyInstanceUID, web.root)
    assert instances == 100
    assert grown < MEMORY_MIB


def test_nor_with_a_part_of_a_gibibyte(web: WebSource, tmp_path: Path, image: Dataset, settings: Settings) -> None:
    begin, zeros = _pieces(image, wado.LARGEST_PART_BYTES - 16 * 1024)
    data_set_at, digest = begin.index(b"\x08\x00\x05\x00CS"), hashlib.sha256()
    digest.update(begin[data_set_at:])

    def seen() -> Iterator[bytes]:
        for piece in zeros:
            digest.update(piece)
            yield piece

    web.answers(image.StudyInstanceUID, _message(itertools.chain([begin], seen())))
    instances, grown = _fetched_apart(tmp_path, image.StudyInstanceUID, web.root)
    assert (instances, _under_way(settings)) == (1, [])
    assert grown < MEMORY_MIB
    database = open_database(settings.database_url)
    (row,) = _rows(database)
    database.engine.dispose()
    assert row.sha256 == digest.hexdigest()
    with (tmp_path / row.path).open("rb") as file:
        file.seek(data_set_at)
        assert hashlib.file_digest(file, "sha256").hexdigest() == row.sha256


def test_nor_with_what_a_source_sends_by_c_get(
    scp: StrangeScp, tmp_path: Path, image: Dataset, settings: Settings
) -> None:
    image.PixelData = bytes(192 * MIB)
    scp.sends = lambda: [image]
    instances, grown = _fetched_apart(tmp_path, image.StudyInstanceUID, port=scp.port)
    assert (instances, _under_way(settings)) == (1, [])
    assert grown < MEMORY_MIB
    (path,) = (tmp_path / "inbox").rglob("*.dcm")
    ds = dcmread(path)
    assert (ds.SOPInstanceUID, len(ds.PixelData)) == (image.SOPInstanceUID, 192 * MIB)


def test_what_comes_by_c_get_is_kept_as_it_came(
    database: Database, settings: Settings, scp: StrangeScp, image: Dataset
) -> None:
    """Small and large ones over one association, in a file each that says what is in it."""
    image.PixelData = bytes(range(256)) * (LARGE // 256)
    small = make_small_study("wanted", roles=["FLAIR"])[1:]
    scp.sends = lambda: [small[0], image, *small[1:]]
    (done,) = _getter(settings, database, scp).fetch(image.StudyInstanceUID)
    assert (done.instances, done.failed, done.complete) == (10, 0, True)
    for row in _rows(database):
        ds = dcmread(settings.node.folder / row.path)
        assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID == row.sop_instance_uid
        assert (ds.file_meta.TransferSyntaxUID, ds.file_meta.MediaStorageSOPClassUID) == (
            ImplicitVRLittleEndian,
            MRImageStorage,
        )
        assert row.transfer_syntax_uid == ImplicitVRLittleEndian
        if row.sop_instance_uid == image.SOPInstanceUID:
            assert ds.PixelData == image.PixelData


@pytest.mark.parametrize("without", [0, 12])
def test_a_large_part_is_the_version_that_its_data_set_is(
    database: Database, settings: Settings, web: WebSource, image: Dataset, without: int
) -> None:
    """Its file meta information may lack the group length; the same data set is the same version."""
    begin, zeros = _pieces(image, LARGE)
    rest = begin[132 + without :] + b"".join(zeros)
    uid, fetcher = image.StudyInstanceUID, _fetcher(settings, database, web)
    for _ in range(2):
        web.answers(uid, _message([begin[:132], rest]))
        (done,) = fetcher.fetch(uid)
        assert (done.instances, done.failed) == (1, 0)
    (row,) = _rows(database)
    assert (settings.node.folder / row.path).read_bytes() == begin[:132] + rest
    data_set = begin[begin.index(b"\x08\x00\x05\x00CS") :] + bytes(LARGE)
    assert row.sha256 == hashlib.sha256(data_set).hexdigest()
    assert _under_way(settings) == []


def test_a_large_part_that_is_not_taken_leaves_nothing(
    database: Database, settings: Settings, web: WebSource, image: Dataset
) -> None:
    uid = image.StudyInstanceUID
    image.StudyInstanceUID = "1.2.3"
    begin, zeros = _pieces(image, LARGE)
    large = begin + b"".join(zeros)
    cut = itertools.chain(multipart([large, bytes(LARGE), large]), [large[:-1]])
    web.answers(uid, cut)
    with pytest.raises(QueryFailed, match=r"sent nothing of the study; 2 of another study; 1 unreadable \(part 2\)"):
        _fetcher(settings, database, web).fetch(uid)
    web.answers(uid, multipart([large], end=False))
    with pytest.raises(QueryFailed, match="ended before its last boundary"):
        _fetcher(settings, database, web).fetch(uid)
    assert (_rows(database), _under_way(settings)) == ([], [])


def _counted(pieces: Iterator[bytes], sent: list[int]) -> Iterator[bytes]:
    for piece in pieces:
        sent.append(len(piece))
        yield piece


def test_a_full_disk_is_noticed_while_a_part_comes(
    database: Database, tmp_path: Path, web: WebSource, image: Dataset
) -> None:
    """And not only when a gibibyte has come for nothing."""
    begin, zeros = _pieces(image, 512 * MIB)
    sent: list[int] = []
    web.answers(image.StudyInstanceUID, _message(itertools.chain([begin], _counted(zeros, sent))))
    full = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_LIMITS_FREE_DISK_GIB": "1e9"})
    with pytest.raises(QueryFailed, match=r"could not be written: .* GiB are free and limits\.free_disk_gib is"):
        _fetcher(full, database, web).fetch(image.StudyInstanceUID)
    assert sum(sent) < 64 * MIB
    assert (_rows(database), _under_way(full)) == ([], [])


@pytest.mark.parametrize("by", ["WADO-RS", "C-GET"])
def test_a_disk_that_fills_up_while_one_comes_is_noticed(  # noqa: PLR0917 - fixtures
    database: Database,
    settings: Settings,
    web: WebSource,
    scp: StrangeScp,
    image: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    monkeypatch.setattr(spool, "SYNC_BYTES", 2 * MIB)
    monkeypatch.setattr(disk, "LOOK_S", 0.0)
    sent: list[int] = []
    filled = _filling(monkeypatch)
    if by == "WADO-RS":
        begin, zeros = _pieces(image, 512 * MIB)
        web.answers(image.StudyInstanceUID, _message(itertools.chain([begin], _counted(zeros, sent))))
        fetcher = _fetcher(settings, database, web)
    else:
        image.PixelData = bytes(LARGE)
        scp.sends = lambda: [image]
        fetcher = _getter(settings, database, scp)
    with pytest.raises(QueryFailed, match=r"GiB are free and limits\.free_disk_gib is"):
        fetcher.fetch(image.StudyInstanceUID)
    assert filled
    assert sum(sent) < 64 * MIB
    assert (_rows(database), _under_way(settings)) == ([], [])


def _filling(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the disk have room when the file is made, and none from then on; return how often it had none."""
    looked: list[int] = []
    usage: Any = disk.shutil.disk_usage
    rooms = itertools.chain([usage("/")._replace(free=2**50)], itertools.repeat(usage("/")._replace(free=0)))

    def free(_folder: Path) -> object:
        room = next(rooms)
        if not room.free:
            looked.append(0)
        return room

    monkeypatch.setattr(disk.shutil, "disk_usage", free)
    return looked


def test_a_data_set_whose_request_names_no_instance_is_refused(
    database: Database, settings: Settings, scp: StrangeScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot become a file is not written to one; what comes behind it is taken."""
    images = make_small_study("wanted", roles=["FLAIR"])
    nameless = [True, *[False] * len(images)]
    read = stored_data_sets.read_command
    monkeypatch.setattr(
        stored_data_sets,
        "read_command",
        lambda encoded: replace(read(encoded), sop_instance_uid="" if nameless and nameless.pop(0) else "1.2"),
    )
    scp.sends = lambda: images
    (done,) = _getter(settings, database, scp).fetch(images[0].StudyInstanceUID)
    assert (done.instances, done.failed) == (len(images) - 1, 1)


def test_a_source_that_does_not_wait_for_answers_is_cut_off(
    database: Database, settings: Settings, scp: StrangeScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the first one that waits is one too many."""
    monkeypatch.setattr(stored_data_sets, "MOST_WAITING", 0)
    images = make_small_study("wanted", roles=["FLAIR"])
    scp.sends = lambda: images
    with pytest.raises(QueryFailed, match="gave no answer to the C-GET"):
        _getter(settings, database, scp).fetch(images[0].StudyInstanceUID)
    assert (_rows(database), _under_way(settings)) == ([], [])
