"""Files of arrays: NumPy reads them, memory maps show what was written, and no damage or half a file passes."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.cases.array_file import read_arrays, whole, write_arrays

IMAGES = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
ARRAYS: dict[str, NDArray[np.generic]] = {
    "images": IMAGES,
    "by column": np.asfortranarray(np.arange(12, dtype=np.int32).reshape(3, 4)),
    "mask": np.array([[True, False], [False, True]]),
    "last": np.array([7], np.uint8),
}
FACTS = {"case": "Zürich 1", "spacing_mm": [1.0, 2.5], "site": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_arrays(tmp_path / "deep" / "er" / "case.npz", ARRAYS, FACTS)
    return tmp_path / "deep" / "er" / "case.npz"


def test_what_was_written_is_read(path: Path) -> None:
    arrays, facts = read_arrays(path)
    assert facts == FACTS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)
    assert arrays["by column"].flags.f_contiguous


def test_numpy_reads_the_file_too(path: Path) -> None:
    with np.load(path) as peer:
        assert np.array_equal(peer["images"], IMAGES)
        assert np.array_equal(peer["by column"], ARRAYS["by column"])
    with zipfile.ZipFile(path) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_arrays_are_maps_of_the_file_that_nobody_changes(path: Path) -> None:
    arrays, _ = read_arrays(path)
    before = path.read_bytes()
    for array in arrays.values():
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    assert path.read_bytes() == before


def test_a_file_is_replaced_as_a_whole_and_open_maps_keep_what_they_show(path: Path) -> None:
    arrays, _ = read_arrays(path)
    write_arrays(path, {"images": IMAGES + 1}, {"case": "second"})
    assert np.array_equal(arrays["images"], IMAGES)
    again, facts = read_arrays(path)
    assert np.array_equal(again["images"], IMAGES + 1)
    assert (list(again), facts) == (["images"], {"case": "second"})
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_arrays(path, ARRAYS, {"case": object()})
    assert path.read_bytes() == before
    blocked = path.with_name("folder.npz")
    (blocked / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"folder\.npz"):
        write_arrays(blocked, ARRAYS, FACTS)
    assert sorted(path.parent.iterdir()) == [path, blocked]


@pytest.mark.parametrize("name", ["images", "mask", "last", "description"])
def test_one_flipped_bit_anywhere_is_seen(path: Path, name: str) -> None:
    assert whole(path)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        last = archive.read(info)[-1:]
    content = bytearray(path.read_bytes())
    start = (
        info.header_offset + 30 + int.from_bytes(content[info.header_offset + 26 : info.header_offset + 28], "little")
    )
    end = start + int.from_bytes(content[info.header_offset + 28 : info.header_offset + 30], "little") + info.file_size
    assert content[end - 1 : end] == last
    content[end - 1] ^= 1
    path.write_bytes(content)
    assert not whole(path)


@pytest.mark.parametrize("kept", [0, 1, 30, 300, -1])
def test_a_truncated_file_is_not_whole(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    assert not whole(path)
    with pytest.raises(ValueError, match=r"^not an array file$"):
        read_arrays(path)


def test_what_is_no_array_file_is_not_whole_and_not_read(tmp_path: Path) -> None:
    absent, text, foreign = tmp_path / "absent.npz", tmp_path / "text.npz", tmp_path / "foreign.npz"
    text.write_text("no archive")
    np.savez(foreign, images=IMAGES)
    assert [whole(one) for one in (absent, text, foreign, tmp_path)] == [False] * 4
    with pytest.raises(FileNotFoundError):
        read_arrays(absent)
    with pytest.raises(ValueError, match=r"^not an array file$"):
        read_arrays(text)
    with pytest.raises(KeyError, match="description"):
        read_arrays(foreign)


def test_an_array_of_a_later_format_is_refused_and_not_read_from_a_wrong_place(path: Path) -> None:
    later = io.BytesIO()
    np.lib.format.write_array(later, IMAGES, version=(2, 0))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("later.npy", later.getvalue())
    with np.load(path) as peer:
        assert np.array_equal(peer["later"], IMAGES)
    with pytest.raises(ValueError, match="an array in an unknown format version"):
        read_arrays(path)
