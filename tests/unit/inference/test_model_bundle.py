"""Models as folders: the shipped ones load, and a changed, incomplete or foreign one is refused with its reason."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from inference.errors import InferenceReason, UnusableModel
from inference.model_bundle import MODELS_FOLDER, load_model, read_manifest
from inference.preprocessing import CHANNELS
from tests.support.detector_model import write_detector

SHIPPED = sorted(path.parent.name for path in MODELS_FOLDER.glob("*/manifest.json"))


def _refusal(folder: Path | str) -> UnusableModel:
    with pytest.raises(UnusableModel) as caught:
        load_model(str(folder), "cpu", threads=1)
    return caught.value


def _replace_weights(folder: Path, content: bytes) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model"]["networks"][0]["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_loads_by_its_name_and_verifies(name: str) -> None:
    model = load_model(name, "cpu", threads=1)
    assert model.manifest.channels == CHANNELS
    assert set(model.manifest.one_of) == {"T1CE", "FLAIR"}
    assert model.manifest.core_needs == ("T1CE",)
    assert len(model.manifest.thresholds) == 3
    assert model.device == torch.device("cpu")
    assert not model.networks[0].module.training
    assert "Research use only" in model.manifest.intended_use


def test_shipped_weights_stay_below_64_mib_together() -> None:
    assert SHIPPED
    assert sum(path.stat().st_size for path in MODELS_FOLDER.rglob("*.safetensors")) <= 64 * 2**20


def test_the_identity_is_the_hash_of_the_manifest(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    identity = load_model(str(folder), "cpu", threads=1).identity
    assert (identity.name, identity.version) == ("detector", "1.2.3")
    assert identity.sha256 == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_loaded_weights_are_those_of_the_file(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    loaded = load_model(str(folder), "cpu", threads=1).networks[0].module.state_dict()
    for name, tensor in load_file(folder / "weights.safetensors").items():
        assert torch.equal(loaded[name], tensor)


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    halved = {name: tensor.half() for name, tensor in load_file(folder / "weights.safetensors").items()}
    save_file(halved, tmp_path / "half")
    _replace_weights(folder, (tmp_path / "half").read_bytes())
    assert {tensor.dtype for tensor in load_model(str(folder), "cpu", threads=1).networks[0].module.parameters()} == {
        torch.float32
    }


@pytest.mark.parametrize("position", [0, 5000, -1])
def test_one_changed_byte_of_the_weights_is_refused(tmp_path: Path, position: int) -> None:
    folder = shutil.copytree(MODELS_FOLDER / SHIPPED[0], tmp_path / "model")
    (folder / "SHA256SUMS").unlink()  # the manifest's own hash has to notice it too
    weights = folder / read_manifest(str(folder))[1].networks[-1].weights
    content = bytearray(weights.read_bytes())
    content[position] ^= 1
    weights.write_bytes(content)
    error = _refusal(folder)
    assert error.reason is InferenceReason.MODEL_CHANGED
    assert "SHA-256" in str(error)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    (folder / "weights.safetensors").unlink()
    error = _refusal(folder)
    assert error.reason is InferenceReason.MODEL_MISSING
    assert "weights.safetensors is missing" in str(error)


def test_an_unknown_model_is_refused_with_those_there_are(tmp_path: Path) -> None:
    error = _refusal(tmp_path / "nowhere")
    assert error.reason is InferenceReason.MODEL_MISSING
    assert ", ".join(SHIPPED) in str(error)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "swin"}, "unknown network architecture 'swin'"),
        ({"settings": {"in_channels": 4, "out_channels": 3, "filters": [4, 4, 4]}}, "does not fit"),
        ({"settings": {"in_channels": 4, "out_channels": 3, "filters": [3, 3, 3], "deep": True}}, "does not fit"),
    ],
    ids=["architecture", "other size", "unknown setting"],
)
def test_a_network_that_this_version_cannot_build_is_refused(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    error = _refusal(write_detector(tmp_path, **changes))
    assert error.reason is InferenceReason.MODEL_UNKNOWN
    assert sentence in str(error)


def test_weights_that_are_no_safetensors_are_refused_though_their_hash_is_right(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    _replace_weights(folder, b"\x80\x04 a pickle is never loaded")
    assert _refusal(folder).reason is InferenceReason.MODEL_UNKNOWN


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {}}', '{"model": {"name": "x"}}'])
def test_an_incomplete_manifest_is_refused(tmp_path: Path, content: str) -> None:
    folder = write_detector(tmp_path)
    (folder / "manifest.json").write_text(content)
    assert _refusal(folder).reason is InferenceReason.MODEL_UNKNOWN


def test_a_field_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    error = _refusal(write_detector(tmp_path, test_time_dropout=True))
    assert error.reason is InferenceReason.MODEL_UNKNOWN
    assert "test_time_dropout" in str(error)


def test_a_manifest_is_read_without_the_weights(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    (folder / "weights.safetensors").unlink()
    found, manifest, _ = read_manifest(str(folder))
    assert found == folder
    assert manifest.thresholds == (0.5, 0.5, 0.5)
    assert manifest.minimum_lesion_ml == 0.3
