"""Several trainings as one model: their networks under their folds, and what does not go together."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.autoencoder import HeadAutoencoder
from inference.errors import InferenceReason, UnusableModel
from inference.manifest import read_manifest
from inference.model_bundle import load_model
from inference.novelty import GRID_SHAPE, NoveltyScale
from inference.preprocessing import CHANNELS
from inference.shipped_brain import SHIPPED
from inference.training.combination import Imprint, combine
from inference.training.model_folder import write_autoencoder, write_model
from inference.training.plan import RECONSTRUCT, TrainingPlan
from inference.unet import TumourUNet

PLANS = {
    "slices": TrainingPlan(network={"dimensions": 2, "context": 1, "filters": [4, 6, 8]}, crop=(1, 32, 32)),
    "volume": TrainingPlan(network={"dimensions": 3, "filters": [4, 6, 8]}, crop=(8, 8, 8)),
}


def _run(folder: Path, kind: str = "slices", *, fold: int = 0, split: str = "s", **more: Any) -> Path:  # noqa: ANN401
    torch.manual_seed(fold)
    plan = PLANS[kind]
    facts = {
        "fold": fold, "folds": 3, "split_sha256": split * 64, "plan_sha256": plan.sha256, "cases": {"lgg": 4},
        "steps": 1, "seed": 1, "hours": 0.1, "held_out_mean_dice": {}, "n4": False, "fold_also_chose": "",
    }  # fmt: skip
    write_model(folder / "model", TumourUNet(**plan.network), plan, facts, **more)
    (folder / "report.json").write_text(json.dumps(facts))
    return folder


def _autoencoder(folder: Path) -> Path:
    plan = TrainingPlan(task=RECONSTRUCT, network={"filters": [4, 8], "narrow": 4}, crop=GRID_SHAPE)
    scale = NoveltyScale(whole=(0.4, 0.3, 0.2, 0.1), channels=dict.fromkeys(CHANNELS, (0.3, 0.2, 0.1)))
    network = plan.build()
    assert isinstance(network, HeadAutoencoder)
    write_autoencoder(folder / "autoencoder", network, plan, scale, [0.5, 0.8, 1.0])
    return folder


def test_networks_keep_their_fold_and_their_weights(tmp_path: Path) -> None:
    runs = [_run(tmp_path / f"r{fold}", fold=fold, regions=("WT",)) for fold in (1, 0)]
    runs.append(_run(tmp_path / "v", "volume", fold=2, split="v"))
    out = combine(runs, tmp_path / "out", Imprint(name="ours", version="3"), autoencoder=_autoencoder(tmp_path / "a"))
    model = load_model(str(out), "cpu", threads=1)
    assert (model.manifest.name, model.manifest.version) == ("ours", "3")
    named = [(one.manifest.name, one.manifest.fold, one.manifest.regions) for one in model.networks]
    assert named == [("slices-1", 1, ("WT",)), ("slices-0", 0, ("WT",)), ("volume-2", 2, ("WT", "TC", "ET"))]
    for run, network in zip(runs, model.networks, strict=True):
        (single,) = load_model(str(run / "model"), "cpu", threads=1).networks
        pairs = zip(single.module.state_dict().values(), network.module.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
    assert model.manifest.brain == read_manifest(SHIPPED)[1].brain
    assert model.brain.manifest is model.manifest.brain
    told = model.manifest.autoencoder
    assert told is not None
    assert (told.flag, told.gate) == (pytest.approx(0.996, abs=1e-3), 1.5)
    assert model.autoencoder is not None
    card = (out / "MODEL_CARD.md").read_text()
    assert "not a medical device" in card
    assert "| slices-1 | slices | WT | 1 | 4 lgg | 1 | 0.1 | one CPU core |" in card
    assert "if the brains found in two sequences agree with a Dice below" in card
    assert "novelty of the study is 0.996 or more, and withheld at 1.5 or more" in card
    assert "Trained on 4 cases of lgg; " in card
    assert set(model.manifest.metrics["trainings"]) == {"slices-1", "slices-0", "volume-2"}


def test_networks_for_slices_get_their_share_on_volumes(tmp_path: Path) -> None:
    runs = [_run(tmp_path / "s", regions=("WT",)), _run(tmp_path / "v", "volume", split="v")]
    out = combine(runs, tmp_path / "out", Imprint(name="ours", version="3", slices_on_volumes=0.4))
    model = load_model(str(out), "cpu", threads=1)
    assert [one.manifest.share_on_volumes for one in model.networks] == [0.4, 0.0]
    assert [one.manifest.name for one in model.for_input("volume").networks] == ["volume-0", "slices-0"]
    assert [one.manifest.name for one in model.for_input("slices").networks] == ["slices-0"]
    assert "slices; 40% of the prediction for volumes" in (out / "MODEL_CARD.md").read_text()


def test_a_changed_byte_of_the_autoencoder_stops_the_model(tmp_path: Path) -> None:
    out = combine(
        [_run(tmp_path / "r")], tmp_path / "out", Imprint(name="ours", version="1"), autoencoder=_autoencoder(tmp_path)
    )
    weights = out / "autoencoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UnusableModel, match="differ from the SHA-256") as caught:
        load_model(str(out), "cpu", threads=1)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ({"fold": 1, "split": "t"}, "with different splits"),
        ({"fold": 0}, "held out the same fold"),
        ({"fold": 1, "regions": ("WT",)}, "different regions or voxel sizes"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, second: dict[str, Any], sentence: str) -> None:
    runs = [_run(tmp_path / "one"), _run(tmp_path / "two", **second)]
    with pytest.raises(UnusableModel, match=sentence):
        combine(runs, tmp_path / "out", Imprint(name="ours", version="1"))
    assert not (tmp_path / "out").exists()


def test_an_unfinished_training_is_named(tmp_path: Path) -> None:
    run = _run(tmp_path / "one")
    (run / "report.json").unlink()
    with pytest.raises(UnusableModel, match=r"one: no report\.json of a finished training"):
        combine([run], tmp_path / "out", Imprint(name="ours", version="1"))
    with pytest.raises(UnusableModel, match="no autoencoder of a finished training"):
        combine(
            [_run(tmp_path / "two")], tmp_path / "out", Imprint(name="ours", version="1"), autoencoder=tmp_path / "one"
        )
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        combine([_run(tmp_path / "one")], tmp_path / "out", Imprint(name="ours", version="1"))
    assert read_manifest(str(tmp_path / "one" / "model"))[1].networks[0].fold == 0


def test_what_a_person_says_of_the_cases_and_the_terms_goes_with_the_weights(tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("CC BY-NC-SA 4.0")
    imprint = Imprint(name="ours", version="1", trained_on="cases of ours (2024)", licence=terms)
    out = combine([_run(tmp_path / "one")], tmp_path / "out", imprint)
    assert (out / "LICENSE-WEIGHTS").read_text() == "CC BY-NC-SA 4.0"
    assert load_model(str(out), "cpu", threads=1).manifest.training_data == "cases of ours (2024)"
    card = (out / "MODEL_CARD.md").read_text()
    assert "**Non-commercial research only, not a medical device.** Trained on cases of ours (2024);" in card
