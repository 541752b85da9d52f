"""A file that arrives in pieces: its header ends where the data set begins, however it was cut and written."""

import errno
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dicom_node.reception import incoming, incoming_file
from dicom_node.reception.incoming_file import IncomingFile
from dicom_node.reception.spool import Spool
from tests.support.small_study import make_small_study, uid_of

PIECE_BYTES, GATHERED_BYTES = 1024, 2500
NO_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"


@pytest.fixture(scope="module")
def content() -> bytes:
    """Return a file of some 5 kB."""
    image = make_small_study("incoming file", roles=["FLAIR"])[0]
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a small file be too large for memory, and come in several pieces."""
    monkeypatch.setattr(incoming_file, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(incoming, "GATHERED_BYTES", GATHERED_BYTES)


def _no_spool(_header: bytes) -> Spool:
    pytest.fail("nothing is too large here")


def _pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


def _end_of_header(content: bytes) -> int:
    """Return where the data set begins, by the group length (PS3.10 7.1)."""
    assert content[132:140] == NO_GROUP_LENGTH
    return 144 + int.from_bytes(content[140:144], "little")


@pytest.mark.parametrize("size", [97, 131, 4096, 2**20])
def test_a_file_is_the_same_however_it_is_cut(content: bytes, size: int) -> None:
    file = IncomingFile(_no_spool)
    for piece in _pieces(content, size):
        file.take(piece)
    meta, data_set = file.whole()
    end = _end_of_header(content)
    assert (meta.header, data_set.content) == (content[:end], content[end:])
    assert (meta.transfer_syntax_uid, meta.sop_class_uid) == (ExplicitVRLittleEndian, MRImageStorage)
    assert meta.sop_instance_uid == uid_of("incoming file", "FLAIR", "0")


@pytest.mark.parametrize("length", [b"\x00\x00\x00\x00", b"\x08\x00\x00\x00", b"\xff\xff\x00\x00", None])
def test_a_group_length_that_is_wrong_or_missing_moves_nothing(content: bytes, length: bytes | None) -> None:
    end = _end_of_header(content)
    first = b"" if length is None else content[132:140] + length
    written = content[:132] + first + content[144:]
    file = IncomingFile(_no_spool)
    file.take(written)
    meta, data_set = file.whole()
    assert data_set.content == content[end:]
    assert meta.header + data_set.content == written


def test_a_file_without_a_data_set_is_a_header_alone(content: bytes) -> None:
    header = content[: _end_of_header(content)]
    file = IncomingFile(_no_spool)
    file.take(header)
    meta, data_set = file.whole()
    assert (meta.header, data_set.content, data_set.spool) == (header, b"", None)


@pytest.mark.usefixtures("small_limits")
def test_a_data_set_that_is_too_large_for_memory_lies_in_a_file_behind_its_header(
    content: bytes, tmp_path: Path
) -> None:
    file = IncomingFile(lambda header: Spool(tmp_path, header))
    for piece in _pieces(content, 300):
        file.take(piece)
    meta, data_set = file.whole()
    assert data_set.spool is not None
    assert data_set.spool.path.read_bytes() == content
    assert data_set.spool.data_set_at == len(meta.header) == _end_of_header(content)
    assert data_set.content == b""
    for _ in range(2):
        file.discard()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_limits")
def test_a_disk_that_is_full_is_told_with_the_piece_that_met_it_and_leaves_nothing(
    content: bytes, tmp_path: Path
) -> None:
    file = IncomingFile(lambda header: Spool(tmp_path, header, lambda: "no room for another study"))
    first, second, third, *_ = _pieces(content, PIECE_BYTES)
    file.take(first)
    file.take(second)
    with pytest.raises(OSError, match="no room for another study") as caught:
        file.take(third)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="no room"):
        file.whole()


def _without(content: bytes, element: bytes) -> bytes:
    """Cut an element of the file meta information with a short VR out of a file."""
    at = content.index(element)
    return content[:at] + content[at + 8 + int.from_bytes(content[at + 6 : at + 8], "little") :]


@pytest.mark.parametrize("element", [b"\x02\x00\x10\x00UI", b"\x02\x00\x03\x00UI"])
def test_a_header_that_lacks_its_transfer_syntax_or_instance_is_unreadable(content: bytes, element: bytes) -> None:
    file = IncomingFile(_no_spool)
    file.take(_without(content, element))
    with pytest.raises(InvalidDicomError, match="the file meta information cannot be read"):
        file.whole()


def test_a_header_without_a_sop_class_is_read(content: bytes) -> None:
    file = IncomingFile(_no_spool)
    file.take(_without(content, b"\x02\x00\x02\x00UI"))
    assert file.whole()[0].sop_class_uid == ""


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("written", [b"", b"DICM", b"x" * 131, b"\x89PNG" + bytes(50_000), bytes(128) + b"dicm"])
def test_what_is_no_dicom_file_is_told_at_its_end_and_written_nowhere(written: bytes) -> None:
    file = IncomingFile(_no_spool)
    for piece in _pieces(written, 1000):
        file.take(piece)
    with pytest.raises(InvalidDicomError, match="not a DICOM file"):
        file.whole()
    file.discard()
