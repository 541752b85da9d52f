"""Files and folders that are private, and complete or absent."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.storage.durable import make_folder, sync_folder, synced_together, write_durably, write_new


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    """Take nothing away from what is asked for: what is private is so by itself."""
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _open_below(folder: Path) -> list[str]:
    """Return what this process has open of a folder."""
    found = list[str]()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(folder))]


def test_folders_are_made_for_this_user_alone_and_those_there_are_left_as_they_are(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(0o755)
    make_folder(shared / "inbox" / "study")
    assert [_mode(path) for path in (shared, shared / "inbox", shared / "inbox" / "study")] == [0o755, 0o700, 0o700]
    (shared / "inbox" / "file").touch()
    make_folder(shared / "inbox")
    assert (shared / "inbox" / "file").exists()


def test_a_relative_folder_is_made_where_the_process_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder(Path("a", "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_folder_cannot_be_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        make_folder(tmp_path / "file" / "folder")
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


def test_a_file_is_copied_whole_from_another(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.write_bytes(content)
    write_durably(target, source)
    assert (source.read_bytes(), target.read_bytes()) == (content, content)
    write_durably(target, b"")
    assert target.read_bytes() == b""


def test_a_file_stays_as_it_was_where_its_new_content_cannot_be_read(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_durably(target, b"first")
    for absent in (tmp_path / "absent", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            write_durably(target, absent)
    assert (target.read_bytes(), list(tmp_path.iterdir()), _open_below(tmp_path)) == (b"first", [target], [])


def test_a_new_file_is_private_and_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "new"
    write_new(str(path), b"content")
    with pytest.raises(FileExistsError):
        write_new(str(path), b"other")
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(FileExistsError):
        write_new(str(tmp_path / "link"), b"other")
    assert (path.read_bytes(), _mode(path), (tmp_path / "absent").exists()) == (b"content", 0o600, False)
    assert _open_below(tmp_path) == []


def test_many_files_are_written_to_a_folder_that_is_made_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "inbox" / "study"
    with synced_together(folder):
        for number in range(3):
            write_new(str(folder / f"{number}"), b"x" * number)
        assert _open_below(tmp_path) == [str(folder)]
    assert sorted(path.stat().st_size for path in folder.iterdir()) == [0, 1, 2]
    assert (_mode(folder), _open_below(tmp_path)) == (0o700, [])


@pytest.mark.parametrize("below", ["", "study"])
def test_a_file_in_the_place_of_the_folder_is_told_from_an_obstacle_in_it(tmp_path: Path, below: str) -> None:
    (tmp_path / "inbox").write_bytes(b"in the way")
    with (
        pytest.raises(OSError, match="the folder to write to does not exist") as caught,
        synced_together(tmp_path / "inbox" / below),
    ):
        pytest.fail("nothing may be written")
    assert caught.value.errno == errno.EIO
    assert isinstance(caught.value.__cause__, OSError)


def test_what_a_block_raises_passes_unchanged_and_leaves_no_file_open(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, synced_together(tmp_path):
        (tmp_path / "absent").read_bytes()
    assert (caught.value.errno, _open_below(tmp_path)) == (errno.ENOENT, [])


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
    assert _open_below(tmp_path) == []
