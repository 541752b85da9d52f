"""Files of strangers: plain, of limited size, never through a link, and refused by their last name alone."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.errors import InferenceReason, UnusableModel
from inference.foreign.incoming import LARGEST_FILE, read_json, read_regular, refused, why_not


def _reason(read: Callable[[Path], object], path: Path) -> str:
    """Return why a file is not read, without its name; nothing of its folder is told."""
    with pytest.raises(UnusableModel) as caught:
        read(path)
    assert caught.value.reason is InferenceReason.MODEL_UNKNOWN
    name, _, reason = str(caught.value).partition(": ")
    assert name == path.name
    assert str(path.parent) not in str(caught.value)
    return reason


def test_the_refusal_names_the_last_part_of_the_path() -> None:
    error = refused(Path("/home/somebody/secret/model.onnx"), "too odd")
    assert str(error) == "model.onnx: too odd"
    assert error.reason is InferenceReason.MODEL_UNKNOWN


def test_a_plain_file_is_read_up_to_the_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(10)))
    assert read_regular(path) == read_regular(path, 10) == bytes(range(10))
    assert _reason(lambda one: read_regular(one, 9), path) == "10 bytes; 9 at most"
    path.write_bytes(b"")
    assert read_regular(path, 0) == b""


def test_a_file_larger_than_any_network_is_measured_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)
    assert LARGEST_FILE == 2**31
    assert _reason(read_regular, path) == f"{2**31 + 1} bytes; {2**31} at most"


@pytest.mark.parametrize("target", ["file", "folder", "nothing", "itself"])
def test_a_link_is_refused_wherever_it_leads(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "folder").mkdir()
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    link = tmp_path / "link.onnx"
    link.symlink_to(tmp_path / target)
    assert _reason(read_regular, link) == "a symbolic link; a model may contain plain files only"
    assert _reason(read_json, link) == "a symbolic link; a model may contain plain files only"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert _reason(read_regular, tmp_path / "folder") == "not a plain file"
    assert _reason(read_regular, tmp_path / "pipe") == "not a plain file"
    for missing in ("absent", "file\0name", "a" * 300):
        assert _reason(read_regular, tmp_path / missing) == "cannot be read"


def test_a_json_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {"name": "Zürich", "deep": [{"x": 1.5}, None]}
    for encoding in ("utf-8", "utf-16"):
        path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
        assert read_json(path) == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a JSON document"),
        (b"{", "not a JSON document"),
        (b"{'a': 1}", "not a JSON document"),
        (b'{"a": "\xff"}', "not a JSON document"),
        (b"[" * 100_000, "not a JSON document"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not a JSON document"),
        (b"[]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}" + b" " * (2**20 - 1), "1048577 bytes; 1048576 at most"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert _reason(read_json, tmp_path / "a.json") == reason


@pytest.mark.parametrize(
    ("name", "pickle"),
    [
        *((f"model.{kind}", True) for kind in ("pt", "pth", "ts", "bin", "ckpt", "pkl", "pickle", "joblib")),
        *((f"weights.{kind}", True) for kind in ("npy", "npz", "zip", "tar", "PT", "Pkl")),
        ("model.safetensors.pt", True),
        *((name, False) for name in ("run.py", "library.so", "model", ".pt", "pt", "model.pt.txt", "model.tgz")),
    ],
)
def test_a_kind_that_may_hold_a_pickle_is_told_apart(name: str, *, pickle: bool) -> None:
    reason = why_not(Path(name))
    assert ("can run any program when it is opened; give safetensors, ONNX" in reason) is pickle
    assert (reason == "this kind of file is not allowed in a model folder") is not pickle
