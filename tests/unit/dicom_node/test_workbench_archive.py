"""Archives of strangers: what is inside comes out within limits and under the node's own names, or nothing does."""

import gzip
import shutil
import stat
import struct
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from dicom_node.workbench.archive import UnpackLimits, is_archive, unpack, unpack_gzip
from dicom_node.workbench.unusable_upload import UnusableUpload

_LIMITS = UnpackLimits(files=5, total_bytes=1 << 20, edge=600)
_BOMB = bytes(50_000_000)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return the folder to unpack to, which is not there yet."""
    return tmp_path / "work" / "out"


def _zip(
    path: Path, entries: Sequence[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of two entries of one name
        with zipfile.ZipFile(path, "w", method) as content:
            for entry, data in entries:
                content.writestr(entry, data)
    return path


def _written(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_files_come_out_with_their_content_and_their_names(tmp_path: Path, out: Path) -> None:
    path = _zip(tmp_path / "a", [("head/", b""), ("head/t1/FLAIR.nii.gz", b"one"), ("two.dcm", b"two"), ("3", b"")])
    found = unpack(path, out, _LIMITS)
    assert [str(name) for _, name in found] == ["head/t1/FLAIR.nii.gz", "two.dcm", "3"]
    assert [file.read_bytes() for file, _ in found] == [b"one", b"two", b""]


def test_of_a_name_in_the_archive_only_a_known_suffix_reaches_the_disk(tmp_path: Path, out: Path) -> None:
    names = ["Doe^Jane/T1.NII.GZ", "Doe.PnG", "Doe.exe", "Doe\\flair.nii", "Doe"]
    found = unpack(_zip(tmp_path / "a", [(name, b"x") for name in names]), out, _LIMITS)
    assert [file.name for file, _ in found] == ["00000.nii.gz", "00001.png", "00002", "00003.nii", "00004"]
    assert sorted(out.rglob("*")) == [file for file, _ in found]
    assert found[3][1] == PurePosixPath("Doe/flair.nii")


def test_two_entries_of_one_name_are_both_kept(tmp_path: Path, out: Path) -> None:
    found = unpack(_zip(tmp_path / "a", [("a.nii", b"first"), ("a.nii", b"second")]), out, _LIMITS)
    assert [file.read_bytes() for file, _ in found] == [b"first", b"second"]


def test_what_a_system_adds_is_left_out_and_not_counted(tmp_path: Path, out: Path) -> None:
    clutter = [("__MACOSX/._a.nii", b"x"), ("b/.DS_Store", b"x"), ("b\\Thumbs.db", b"x"), ("b\\", b"")]
    found = unpack(
        _zip(tmp_path / "a", [*clutter, ("a.nii", b"a")]), out, UnpackLimits(files=1, total_bytes=1, edge=600)
    )
    assert [str(name) for _, name in found] == ["a.nii"]
    assert _written(out) == 1


@pytest.mark.parametrize(
    "name",
    ["../a", "b/../../a", "/etc/a", "\\etc\\a", "..\\a", "b\\..\\..\\a", "C:\\a", "C:a", "//host/share/a", ".", ""],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, out: Path, name: str) -> None:
    path = _zip(tmp_path / "a", [(zipfile.ZipInfo("?" * len(name)), b"x")])
    path.write_bytes(path.read_bytes().replace(b"?" * len(name), name.encode()) if name else path.read_bytes())
    with pytest.raises(UnusableUpload, match="leads out of its folder"):
        unpack(path, out, _LIMITS)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_link_is_refused(tmp_path: Path, out: Path) -> None:
    link = zipfile.ZipInfo("a.nii")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UnusableUpload, match="contains a link"):
        unpack(_zip(tmp_path / "a", [(link, b"/etc/passwd")]), out, _LIMITS)
    assert list(out.iterdir()) == []


def test_an_encrypted_archive_is_refused_with_what_would_work(tmp_path: Path, out: Path) -> None:
    path = _zip(tmp_path / "a", [("a.nii", b"x")], zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(UnusableUpload, match="encrypted; send it without a password"):
        unpack(path, out, _LIMITS)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_without_bound_in_memory_is_refused(tmp_path: Path, out: Path, method: int) -> None:
    with pytest.raises(UnusableUpload, match="send a plain ZIP archive"):
        unpack(_zip(tmp_path / "a", [("a.nii", b"x")], method), out, _LIMITS)


def test_as_many_files_as_allowed_are_unpacked_and_one_more_is_refused(tmp_path: Path, out: Path) -> None:
    assert len(unpack(_zip(tmp_path / "a", [(f"{k}", b"x") for k in range(5)]), out, _LIMITS)) == 5
    more = _zip(tmp_path / "b", [(f"{k}", b"x") for k in range(6)])
    with pytest.raises(UnusableUpload, match="has 6 files; at most 5 are allowed"):
        unpack(more, tmp_path / "more", _LIMITS)
    assert _written(tmp_path / "more") == 0


def test_the_bytes_of_all_files_together_are_limited(tmp_path: Path, out: Path) -> None:
    half = bytes(1 << 19)
    assert len(unpack(_zip(tmp_path / "a", [("1", half), ("2", half)]), out, _LIMITS)) == 2
    with pytest.raises(UnusableUpload, match=r"workbench\.unpacked_mib"):
        unpack(_zip(tmp_path / "b", [("1", half), ("2", half), ("3", b"x")]), tmp_path / "more", _LIMITS)


def test_a_bomb_is_broken_off(tmp_path: Path, out: Path) -> None:
    path = _zip(tmp_path / "a", [("a.nii", _BOMB)])
    assert path.stat().st_size < 100_000
    with pytest.raises(UnusableUpload, match="more data than is allowed"):
        unpack(path, out, _LIMITS)
    assert 0 < _written(out) <= _LIMITS.total_bytes + (1 << 20)


def test_a_bomb_whose_header_states_less_is_damaged(tmp_path: Path, out: Path) -> None:
    path = _zip(tmp_path / "a", [("a.nii", _BOMB)])
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", len(_BOMB)), struct.pack("<I", 100)))
    with pytest.raises(UnusableUpload, match="damaged"):
        unpack(path, out, _LIMITS)
    assert _written(out) <= 100


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_byte_ends_in_nothing_worse_than_a_refusal(tmp_path: Path, method: int) -> None:
    content = _zip(tmp_path / "a", [("a/bü.nii", bytes(range(40)) * 3), ("c", b"x" * 50)], method).read_bytes()
    refused = 0
    for place in range(len(content)):
        for flipped in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flipped
            (tmp_path / "b").write_bytes(damaged)
            try:
                unpack(tmp_path / "b", tmp_path / "out", _LIMITS)
            except UnusableUpload:
                refused += 1
            shutil.rmtree(tmp_path / "out")
    assert refused > len(content)  # more than every other of them; times and attributes do not matter


def test_an_archive_that_broke_off_is_refused(tmp_path: Path, out: Path) -> None:
    path = _zip(tmp_path / "a", [("a.nii", b"x" * 100)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnusableUpload, match="damaged"):
        unpack(path, out, _LIMITS)


def test_an_error_of_the_disk_is_not_the_archives_fault(tmp_path: Path, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "00000").touch()
    with pytest.raises(FileExistsError):
        unpack(_zip(tmp_path / "a", [("a", b"x")]), out, _LIMITS)


def test_an_archive_is_known_by_its_content(tmp_path: Path) -> None:
    assert is_archive(_zip(tmp_path / "study.dcm", [("a", b"x")]))
    assert is_archive(_zip(tmp_path / "empty", []))
    (tmp_path / "false.zip").write_bytes(b"PK is not enough")
    assert not is_archive(tmp_path / "false.zip")
    (tmp_path / "nothing.zip").touch()
    assert not is_archive(tmp_path / "nothing.zip")


def test_a_file_of_gzip_is_unpacked_as_far_as_allowed(tmp_path: Path) -> None:
    packed = tmp_path / "a"
    packed.write_bytes(gzip.compress(b"abc"))
    assert unpack_gzip(packed, tmp_path / "b", 3, "t1.nii.gz") == 3
    assert (tmp_path / "b").read_bytes() == b"abc"
    packed.write_bytes(gzip.compress(_BOMB))
    with pytest.raises(UnusableUpload, match="more data than is allowed"):
        unpack_gzip(packed, tmp_path / "c", 1 << 20, "t1.nii.gz")
    assert (tmp_path / "c").stat().st_size <= 1 << 20


@pytest.mark.parametrize("cut", [5, 20, -9, -1])
def test_a_file_of_gzip_that_broke_off_is_refused_by_its_name(tmp_path: Path, cut: int) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(bytes(range(256)))[:cut])
    with pytest.raises(UnusableUpload, match=r"^t1.nii.gz: the file is damaged or was broken off"):
        unpack_gzip(tmp_path / "a", tmp_path / "b", 1 << 20, "t1.nii.gz")


def test_a_file_of_gzip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"abc"))
    content[-8] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnusableUpload, match="damaged"):
        unpack_gzip(tmp_path / "a", tmp_path / "b", 1 << 20, "t1.nii.gz")
