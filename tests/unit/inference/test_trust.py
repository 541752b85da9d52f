"""What the model itself finds doubtful, by the limits of its manifest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from conversion.volume import Grid
from inference.brain_region import BrainFound
from inference.manifest import AutoencoderManifest, ModelManifest, read_manifest
from inference.prediction import Prediction
from inference.regions import Label, Region
from inference.segmentation import Quality
from inference.trust import agreements, model_flags, volume_intervals
from inference.uncertainty import volume_interval
from tests.support.detector_model import write_detector

TOLD = AutoencoderManifest(
    settings={},
    weights="a.safetensors",
    weights_sha256="0" * 64,
    whole=(1.0, 1.0, 1.0, 1.0),
    channels={name: [1.0, 1.0, 1.0] for name in ("T1", "T1CE", "T2", "FLAIR")},
    flag=1.2,
    gate=2.0,
)


@pytest.fixture
def manifest(tmp_path: Path) -> ModelManifest:
    plain = read_manifest(str(write_detector(tmp_path, agreement_flag=0.8, agreement_gate=0.4)))[1]
    return replace(plain, autoencoder=TOLD)


def _quality(agreement: float = 0.9, novelty: float | None = 0.5, looks: int = 6) -> Quality:
    return Quality(looks=looks, agreement={Region.WT: agreement}, novelty=novelty)


@pytest.mark.parametrize(
    ("quality", "missed", "expected"),
    [
        (_quality(), False, []),
        (_quality(novelty=None), False, [("out_of_distribution", True)]),
        (_quality(novelty=float("nan")), False, [("out_of_distribution", True)]),
        (_quality(novelty=1.2), False, [("out_of_distribution", False)]),
        (_quality(novelty=2.0), False, [("out_of_distribution", True)]),
        (_quality(novelty=9.0), True, [("not_a_brain", True)]),
        (_quality(agreement=0.79), False, [("low_agreement", False)]),
        (_quality(agreement=0.39), False, [("low_agreement", True)]),
        (_quality(agreement=0.39, looks=1), False, []),
        (_quality(agreement=0.5, novelty=1.5), False, [("out_of_distribution", False), ("low_agreement", False)]),
    ],
)
def test_each_limit_has_its_flag(
    manifest: ModelManifest,
    quality: Quality,
    missed: bool,  # noqa: FBT001 - a column of the table
    expected: list[tuple[str, bool]],
) -> None:
    flags = model_flags(manifest.autoencoder, manifest.networks[0], quality, brain_missed=missed)
    assert [(flag.code, flag.closes) for flag in flags] == expected


def test_a_model_without_an_autoencoder_judges_no_novelty_but_misses_no_missing_brain(manifest: ModelManifest) -> None:
    network, unknown = manifest.networks[0], _quality(novelty=None)
    assert model_flags(None, network, unknown, brain_missed=False) == ()
    (flag,) = model_flags(None, network, unknown, brain_missed=True)
    assert (flag.code, flag.closes) == ("not_a_brain", True)


@pytest.mark.parametrize(("single_ml", "share"), [([0.0, 0.9, 0.0, 0.02], 1.0), ([0.0, 1.0, 5.0, 0.0], 0.5)])
def test_predictions_agree_on_nothing_below_a_millilitre(single_ml: list[float], share: float) -> None:
    nothing = torch.zeros(3, 2, 2, 2)
    seen = Prediction(probabilities=nothing, spread=nothing, agreement=(0.1, 0.2, 0.3), predictions_made=4)
    regions = (Region.WT, Region.ET)
    assert agreements(seen, regions, single_ml) == {Region.WT: share, Region.ET: share}
    assert agreements(seen, regions) == {Region.WT: 0.1, Region.ET: 0.3}


def test_who_sees_a_tumour_where_all_together_see_none_is_told(manifest: ModelManifest) -> None:
    network = manifest.networks[0]
    (flag,) = model_flags(manifest.autoencoder, network, _quality(0.5), brain_missed=False, nothing_found=True)
    assert (flag.code, flag.closes) == ("low_agreement", False)
    assert flag.sentence == ("no tumour was found, but 50% of the model's 6 predictions show one: check the images")
    assert model_flags(manifest.autoencoder, network, _quality(1.0), brain_missed=False, nothing_found=True) == ()


def test_intervals_count_doubt_inside_the_brain_alone(manifest: ModelManifest) -> None:
    grid = Grid(shape=(4, 10, 10), affine=np.diag([5.0, 5.0, 5.0, 1.0]), frame_of_reference_uid="1.2.3")
    told = replace(manifest.networks[0], interval_factors={"WT": [-1.0, 1.0]})
    labels = torch.zeros(grid.shape, dtype=torch.uint8)
    labels[:2] = Label.ED
    probabilities = {Region.WT: torch.where(labels > 0, 0.9, 0.1), Region.TC: labels * 0.0}
    inside = torch.zeros(grid.shape, dtype=torch.bool)
    inside[:2] = True
    volume = 200 * 0.125
    away = torch.where(inside, -9.0, 9.0)
    brain, bare = (BrainFound(away_mm=away, stripped=stripped, agreement=None) for stripped in (False, True))
    for known, doubt in ((None, 400 * 0.1 * 0.125), (bare, 400 * 0.1 * 0.125), (brain, 200 * 0.1 * 0.125)):
        found = volume_intervals(told, labels, probabilities, grid, known, 0.9)
        assert found == {Region.WT: pytest.approx(volume_interval(volume, doubt, 0.9, (-1.0, 1.0)))}
