"""The network for the brain travels with each model, is hashed like its other parts, and serves models without one."""

import json
from pathlib import Path

import pytest
import torch

from inference.errors import InferenceReason, UnusableModel
from inference.integrity import verify_model
from inference.manifest import MODELS_FOLDER, read_manifest
from inference.model_bundle import load_brain, load_model
from inference.shipped_brain import SHIPPED, give_brain
from tests.support.detector_model import write_detector


def _changed(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["model"]["brain"] |= changes
    path.write_text(json.dumps(document))


def test_a_model_without_one_is_served_by_the_shipped_one(tmp_path: Path) -> None:
    model = load_model(str(write_detector(tmp_path)), "cpu", threads=1)
    assert model.manifest.brain is None
    assert model.brain.manifest == read_manifest(SHIPPED)[1].brain
    theirs, ours = model.brain.module.state_dict(), load_brain(torch.device("cpu")).module.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_it_is_given_once(tmp_path: Path) -> None:
    folder = write_detector(tmp_path)
    manifest = give_brain(folder)
    shipped = read_manifest(SHIPPED)[1].brain
    assert shipped is not None
    assert manifest.brain == shipped == read_manifest(str(folder))[1].brain
    assert (folder / shipped.weights).read_bytes() == (MODELS_FOLDER / SHIPPED / shipped.weights).read_bytes()
    before = (folder / "manifest.json").read_bytes()
    assert give_brain(folder) == manifest
    assert (folder / "manifest.json").read_bytes() == before
    verify_model(folder, manifest)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_one_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write_detector(tmp_path)
    manifest = give_brain(folder)
    assert manifest.brain is not None
    path = folder / manifest.brain.weights
    if damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    for use in (lambda: load_model(str(folder), "cpu"), lambda: verify_model(folder, manifest)):
        with pytest.raises(UnusableModel) as refused:
            use()
        expected = InferenceReason.MODEL_MISSING if damage == "missing" else InferenceReason.MODEL_CHANGED
        assert refused.value.reason is expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings": {"dimensions": 2, "filters": [4, 4, 4]}}, "network for the brain does not fit"),
        ({"threshold": 0}, "brain: threshold = 0"),
        ({"spacing_mm": 9}, "brain: spacing_mm = 9"),
        ({"agreement_flag": 2}, "brain: agreement_flag = 2"),
        ({"weights": "../brain.safetensors"}, "brain: weights"),
        ({"more": 1}, "unknown field more"),
        ({"weights": "weights.safetensors"}, "different for each network"),
    ],
)
def test_what_a_manifest_says_of_it_is_checked(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    folder = write_detector(tmp_path)
    give_brain(folder)
    _changed(folder, **changes)
    with pytest.raises(UnusableModel, match=sentence):
        load_model(str(folder), "cpu")
