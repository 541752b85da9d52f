"""The registry: found by name and version, taken in whole or not at all, and stopped by one changed byte."""

import hashlib
import json
import os
import pickle
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save

from inference.autoencoder import HeadAutoencoder
from inference.errors import InferenceReason, UnusableModel
from inference.foreign.addition import add_model
from inference.integrity import CHECKSUMS, write_checksums
from inference.manifest import MODELS_FOLDER, AutoencoderManifest, read_manifest, write_manifest
from inference.model_bundle import load_model
from inference.preprocessing import CHANNELS
from inference.registry import Registry, _natural
from tests.support.detector_model import NETWORK, write_detector
from tests.support.hostile_pickle import Bomb

SHIPPED = sorted(path.parent.name for path in MODELS_FOLDER.glob("*/manifest.json"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "node")


def _left(registry: Registry) -> list[str]:
    """Return everything below the node's own models."""
    return sorted(str(path.relative_to(registry.own)) for path in registry.own.rglob("*"))


def _refused(registry: Registry, source: Path) -> str:
    """Return why a model is not taken in; nothing of it may stay."""
    before = _left(registry) if registry.own.exists() else []
    with pytest.raises(UnusableModel) as caught:
        add_model(registry, source)
    assert _left(registry) == before
    assert str(source.parent) not in str(caught.value)
    return str(caught.value)


def _rewrite(folder: Path, content: bytes) -> None:
    """Replace the weights, with a manifest that calls them right."""
    (folder / "weights.safetensors").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model"]["networks"][0]["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_new_node_has_the_shipped_models(registry: Registry) -> None:
    listing = registry.listing()
    assert [model.name for model in listing.models] == SHIPPED
    assert all(model.shipped for model in listing.models)
    assert listing.unusable == ()


def test_an_added_model_is_a_copy_with_the_same_identity(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    (source / "MODEL_CARD.md").write_text("# A detector\n")
    (source / "LICENSE-WEIGHTS").write_text("CC0\n")
    added = add_model(registry, source)
    assert added.folder == tmp_path / "node" / "models" / "detector" / "1.2.3"
    assert not added.shipped
    assert added.sha256 == hashlib.sha256((source / "manifest.json").read_bytes()).hexdigest()
    assert {path.name for path in added.folder.iterdir()} == {path.name for path in source.iterdir()} | {CHECKSUMS}
    assert registry.find("detector") == registry.find("detector", "1.2.3") == added
    registry.verify(added)
    assert [path.name for path in registry.own.iterdir()] == ["detector"]


def test_the_newest_version_is_found_by_name_alone(tmp_path: Path, registry: Registry) -> None:
    for version in ("0.9", "0.10", "0.10-rc1"):
        add_model(registry, write_detector(tmp_path / version, version=version))
    assert registry.find("detector").version == "0.10"
    assert [model.version for model in registry.listing().models if not model.shipped] == ["0.9", "0.10-rc1", "0.10"]
    assert registry.find("detector", "0.9").version == "0.9"


def test_a_version_with_digits_of_other_scripts_is_put_in_order_too() -> None:
    """Python takes a superscript for a digit, and for no number."""
    versions = ["2", "1.\N{SUPERSCRIPT TWO}", "1.\N{ARABIC-INDIC DIGIT ONE}", "1.10", "1.9"]
    assert sorted(versions, key=_natural) == [
        "1.\N{SUPERSCRIPT TWO}",
        "1.\N{ARABIC-INDIC DIGIT ONE}",
        "1.9",
        "1.10",
        "2",
    ]


def test_a_setting_never_changes_its_meaning_by_an_addition(tmp_path: Path, registry: Registry) -> None:
    add_model(registry, write_detector(tmp_path / "ours", name=SHIPPED[0], version="9.9"))
    assert registry.resolve(SHIPPED[0]).shipped
    assert registry.resolve(f"{SHIPPED[0]}/9.9").version == "9.9"
    add_model(registry, write_detector(tmp_path / "1"))
    assert registry.resolve("detector").version == "1.2.3"
    add_model(registry, write_detector(tmp_path / "2", version="2"))
    with pytest.raises(UnusableModel, match=r"several versions of detector; name one of detector/1\.2\.3, detector/2"):
        registry.resolve("detector")
    assert registry.resolve("detector/2").version == "2"
    assert registry.resolve(str(tmp_path / "1")).folder == tmp_path / "1"


@pytest.mark.parametrize("name", ["none", "../x", "detector/../../x", "/etc", "", "a\0b"])
def test_a_model_that_is_not_here_is_told_with_those_that_are(tmp_path: Path, registry: Registry, name: str) -> None:
    add_model(registry, write_detector(tmp_path / "source"))
    for find in (registry.find, registry.resolve):
        with pytest.raises(UnusableModel, match=rf"shipped models: .*{SHIPPED[0]}.*: detector 1\.2\.3") as caught:
            find(name)
        assert caught.value.reason is InferenceReason.MODEL_MISSING


def test_the_same_version_is_not_taken_in_twice(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    added = add_model(registry, source)
    assert "detector 1.2.3 exists already" in _refused(registry, source)
    registry.verify(added)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("manifest.json", b"CC0", b"CC1"),
        ("weights.safetensors", b"input_block", b"input_blocK"),
        ("MODEL_CARD.md", b"detector", b"defector"),
        (CHECKSUMS, b"  manifest.json", b"  manifesT.json"),
    ],
)
def test_a_changed_byte_of_any_file_stops_the_model(
    tmp_path: Path, registry: Registry, file: str, old: bytes, new: bytes
) -> None:
    source = write_detector(tmp_path / "source")
    (source / "MODEL_CARD.md").write_text("# A detector\n")
    path = add_model(registry, source).folder / file
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(UnusableModel) as caught:
        registry.verify(registry.find("detector"))
    assert caught.value.reason is InferenceReason.MODEL_CHANGED
    with pytest.raises(UnusableModel) as caught:
        load_model(str(path.parent), "cpu", threads=1)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("manifest.json", InferenceReason.MODEL_MISSING),
        ("weights.safetensors", InferenceReason.MODEL_MISSING),
        ("MODEL_CARD.md", InferenceReason.MODEL_CHANGED),
        (CHECKSUMS, InferenceReason.MODEL_CHANGED),
    ],
)
def test_a_missing_file_stops_the_model(tmp_path: Path, registry: Registry, file: str, reason: InferenceReason) -> None:
    source = write_detector(tmp_path / "source")
    (source / "MODEL_CARD.md").write_text("# A detector\n")
    (add_model(registry, source).folder / file).unlink()
    with pytest.raises(UnusableModel) as caught:
        registry.verify(registry.find("detector"))
    assert caught.value.reason is reason


def test_a_file_that_was_put_beside_the_others_stops_the_model(tmp_path: Path, registry: Registry) -> None:
    added = add_model(registry, write_detector(tmp_path / "source"))
    (added.folder / "more.py").write_text("")
    with pytest.raises(UnusableModel, match=r"more\.py was not there") as caught:
        registry.verify(added)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED


def test_a_folder_under_another_name_is_listed_as_unusable(tmp_path: Path, registry: Registry) -> None:
    added = add_model(registry, write_detector(tmp_path / "source"))
    added.folder.rename(added.folder.with_name("7"))
    ((folder, reason),) = registry.listing().unusable
    assert folder.name == "7"
    assert "contains the manifest of another model, detector 1.2.3" in reason


@pytest.mark.parametrize("kind", ["file", "folder", "broken"])
def test_links_are_not_followed(tmp_path: Path, registry: Registry, kind: str) -> None:
    source = write_detector(tmp_path / "source")
    secret = tmp_path / "secret"
    if kind == "file":
        secret.write_text("of somebody else")
    elif kind == "folder":
        secret.mkdir()
    (source / "MODEL_CARD.md").symlink_to(secret)
    assert "MODEL_CARD.md: a link, folder or device" in _refused(registry, source)


def test_a_manifest_that_is_a_link_is_not_followed(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    (source / "manifest.json").rename(tmp_path / "real.json")
    (source / "manifest.json").symlink_to(tmp_path / "real.json")
    assert "manifest.json: a symbolic link" in _refused(registry, source)


def test_a_pipe_does_not_hold_up_the_node(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    os.mkfifo(source / "README.md")
    assert "README.md: a link, folder or device" in _refused(registry, source)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.ckpt", "pytorch_model.bin", "x.npz"])
def test_a_pickle_is_refused_unopened(tmp_path: Path, registry: Registry, name: str) -> None:
    source, trace = write_detector(tmp_path / "source"), tmp_path / "trace"
    (source / name).write_bytes(pickle.dumps(Bomb(trace)))
    assert "can run any program" in _refused(registry, source)
    assert f"{name}: a pickle" in _refused(registry, source / name)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["run.py", "library.so", ".hidden", "install.sh", "weights.safetensors.exe"])
def test_files_without_a_place_in_a_model_are_refused(tmp_path: Path, registry: Registry, name: str) -> None:
    source = write_detector(tmp_path / "source")
    (source / name).write_bytes(b"")
    assert f"{name}: this kind of file is not allowed" in _refused(registry, source)


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, registry: Registry) -> None:
    for number, changes in enumerate(({"name": "../../x"}, {"version": "../x"}, {"weights": "../weights.safetensors"})):
        source = write_detector(tmp_path / str(number), **changes)
        assert f"{next(iter(changes))} = " in _refused(registry, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "node"]


def _header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4,
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 100) + b"{",
        _header(b'{"x": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'),
        _header(b'{"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}') + b"\0" * 4,
        _header(b'{"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}') + b"\0" * 4,
        b"\x80\x04 a pickle with the right hash and the wrong name",
    ],
    ids=["empty", "short", "header of an exabyte", "truncated header", "huge tensor", "negative", "type", "pickle"],
)
def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path, registry: Registry, content: bytes) -> None:
    source = write_detector(tmp_path / "source")
    _rewrite(source, content)
    assert "does not fit this version" in _refused(registry, source)


def test_truncated_weights_are_refused(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    content = (source / "weights.safetensors").read_bytes()
    (source / "weights.safetensors").write_bytes(content[:-4])
    assert "SHA-256" in _refused(registry, source)
    _rewrite(source, content[:-4])
    assert "does not fit this version" in _refused(registry, source)


def test_a_file_of_terabytes_is_not_read(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    with (source / "weights.safetensors").open("wb") as file:
        file.truncate(2**41)
    assert f"{2**41} bytes" in _refused(registry, source)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": ["T1", "T1CE"], "one_of": ["T1CE"]}, "cannot be run"),
        ({"architecture": "builtins.exec"}, "unknown network architecture"),
        ({"settings": NETWORK | {"in_channels": 10**9}}, "does not fit"),
        ({"settings": NETWORK | {"dimensions": 3, "filters": [4096] * 6}}, "more than a node can hold"),
        ({"settings": NETWORK | {"out_channels": 2}}, "does not fit"),
        ({"architecture": "monai.SegResNet", "settings": {"arguments": {"act": "$x"}, "axes": "LPS"}}, "expressions"),
        ({"architecture": "onnx", "settings": {}}, "does not fit"),
    ],
    ids=["channels", "architecture", "huge", "deep", "outputs", "expression", "not ONNX"],
)
def test_a_network_that_cannot_answer_is_refused(
    tmp_path: Path, registry: Registry, changes: dict[str, Any], says: str
) -> None:
    assert says in _refused(registry, write_detector(tmp_path / "source", **changes))


def test_a_shipped_model_needs_its_list_of_hashes(tmp_path: Path) -> None:
    write_detector(tmp_path / "shipped" / "detector")
    registry = Registry(tmp_path / "node", shipped=tmp_path / "shipped")
    with pytest.raises(UnusableModel, match="SHA256SUMS is missing") as caught:
        registry.verify(registry.find("detector"))
    assert caught.value.reason is InferenceReason.MODEL_CHANGED
    write_checksums(tmp_path / "shipped" / "detector")
    registry.verify(registry.find("detector"))


@pytest.mark.parametrize("model", sorted(path.parent for path in MODELS_FOLDER.glob("*/manifest.json")))
def test_every_shipped_model_is_whole_and_a_changed_limit_would_stop_it(tmp_path: Path, model: Path) -> None:
    registry = Registry(tmp_path)
    registry.verify(registry.find(model.name))
    copy = tmp_path / "shipped" / model.name
    shutil.copytree(model, copy)
    write_manifest(copy, replace(read_manifest(str(copy))[1], minimum_share=0.9))
    changed = Registry(tmp_path, shipped=copy.parent)
    with pytest.raises(UnusableModel, match=r"manifest\.json differs from its SHA-256"):
        changed.verify(changed.find(model.name))


def test_an_autoencoder_that_cannot_answer_is_refused(tmp_path: Path, registry: Registry) -> None:
    source = write_detector(tmp_path / "source")
    network = HeadAutoencoder(filters=[4, 8], narrow=4)
    for weights in network.parameters():
        weights.data.fill_(float("nan"))
    content = save({name: tensor.clone() for name, tensor in network.state_dict().items()})
    (source / "autoencoder.safetensors").write_bytes(content)
    told = AutoencoderManifest(
        settings={"filters": [4, 8], "narrow": 4},
        weights="autoencoder.safetensors",
        weights_sha256=hashlib.sha256(content).hexdigest(),
        whole=(1.0, 1.0, 1.0, 1.0),
        channels={name: [1.0, 1.0, 1.0] for name in CHANNELS},
        flag=1.0,
        gate=2.0,
    )
    write_manifest(source, replace(read_manifest(str(source))[1], autoencoder=told))
    assert "its autoencoder returns a value that is not a finite number" in _refused(registry, source)


def test_what_is_no_model_is_refused(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    many = write_detector(tmp_path / "many")
    for number in range(40):
        (many / f"{number}.md").touch()
    assert "there is no such file or folder" in _refused(registry, tmp_path / "absent")
    assert "neither manifest.json" in _refused(registry, tmp_path / "empty")
    assert "not allowed in a model folder" in _refused(registry, tmp_path / "notes.txt")
    assert "42 files; 32 at most" in _refused(registry, many)
