"""Contrasts: like sequences as often as said, otherwise like none; the two halves of a brain alike."""

from dataclasses import replace

import numpy as np
import pytest

from inference.training.heads.anatomy import (
    AIR,
    BONE,
    BRAIN_TISSUES,
    CAVITY,
    ENHANCING,
    FLUID,
    HIGHEST_LABEL,
    OEDEMA,
    OUTSIDE,
    VENTRICLES,
    WHITE_MATTER,
    WHITE_MATTER_LESION,
    Tissue,
)
from inference.training.heads.contrasts import (
    BONE_UP_TO,
    BRIGHTEST,
    LABEL_SPREAD,
    SEQUENCES,
    STRANGE_SPREAD,
    ContrastChances,
    DrawnContrast,
    drawn_contrast,
    painted,
)
from tests.support.small_label_map import small_map

USUAL = ContrastChances()
GREY, WHITE = 3, WHITE_MATTER[0]


def _many(chances: ContrastChances, count: int = 60) -> list[DrawnContrast]:
    return [drawn_contrast(np.random.default_rng(seed), chances) for seed in range(count)]


def test_every_sequence_says_how_bright_each_tissue_and_lesion_is() -> None:
    keys = {key for values in SEQUENCES.values() for key in values}
    assert keys >= {*Tissue, OEDEMA, ENHANCING, CAVITY, WHITE_MATTER_LESION}
    assert all(set(values) == keys for values in SEQUENCES.values())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_contrasts_are_finite_and_in_range(share: float) -> None:
    for contrast in _many(replace(USUAL, like_a_sequence=share)):
        assert contrast.mean.shape == contrast.deviation.shape == (HIGHEST_LABEL + 1,)
        assert np.isfinite(contrast.mean).all()
        assert contrast.mean.min() >= 0
        assert contrast.mean.max() <= BRIGHTEST
        assert contrast.deviation.min() >= 0


def test_like_a_sequence_bone_is_dark_and_fluid_or_white_matter_brightest() -> None:
    for contrast in _many(replace(USUAL, like_a_sequence=1.0)):
        mean = contrast.mean
        fluid, white, grey = mean[VENTRICLES[0]], mean[WHITE], mean[GREY]
        assert mean[list(BONE)].max() <= BONE_UP_TO
        assert fluid > max(white, grey) or fluid < min(white, grey), "fluid is brightest or darkest of the three"
    lesion = [contrast.mean[OEDEMA] - contrast.mean[WHITE] for contrast in _many(replace(USUAL, like_a_sequence=1.0))]
    assert min(lesion) < -0.1, "dark on T1"
    assert max(lesion) > 0.3, "bright on T2 and FLAIR"


def test_like_none_the_order_of_brightness_is_any() -> None:
    mean = np.array([contrast.mean for contrast in _many(replace(USUAL, like_a_sequence=0.0))])
    middle = mean[:, WHITE] - mean[:, GREY]
    assert (np.abs(middle) > 0.6).any()
    assert mean[:, BONE[0]].max() > 0.9
    assert np.array_equal(np.sign([middle.min(), middle.max()]), [-1, 1])


@pytest.mark.parametrize(("share", "spread"), [(1.0, LABEL_SPREAD), (0.0, STRANGE_SPREAD)])
def test_left_and_right_look_alike(share: float, spread: float) -> None:
    for contrast in _many(replace(USUAL, like_a_sequence=share, one_fluid=0.0, one_fluid_strange=0.0)):
        for labels in BRAIN_TISSUES.values():
            assert np.ptp(contrast.mean[list(labels)]) < 7 * spread


@pytest.mark.parametrize(("like", "name"), [(1.0, "one_fluid"), (0.0, "one_fluid_strange")])
def test_fluid_around_the_brain_looks_like_that_within_where_that_is_said(like: float, name: str) -> None:
    def apart(share: float) -> float:
        """Return the mean difference over images: half as large where it is drawn from the ventricles' own."""
        many = _many(replace(USUAL, like_a_sequence=like, **{name: share}), 200)
        return float(np.std([contrast.mean[FLUID] - contrast.mean[VENTRICLES[0]] for contrast in many]))

    assert apart(1.0) == pytest.approx(LABEL_SPREAD, rel=0.2)
    assert apart(0.0) > 1.2 * apart(1.0)


def test_outside_is_dimmed_and_air_silent_as_often_as_said() -> None:
    plain, dimmed = (_many(replace(USUAL, dimmed_outside=share)) for share in (0.0, 1.0))
    outside = slice(*OUTSIDE)
    assert np.mean([c.mean[outside].mean() for c in dimmed]) < 0.6 * np.mean([c.mean[outside].mean() for c in plain])
    silent, loud = (_many(replace(USUAL, silent_air=share)) for share in (1.0, 0.0))
    assert all(contrast.mean[AIR] == contrast.deviation[AIR] == 0 for contrast in silent)
    assert all(0 < contrast.mean[AIR] < 0.1 for contrast in loud)


def test_an_image_has_the_means_of_its_labels_and_is_nowhere_negative() -> None:
    labels = small_map().labels
    contrast = DrawnContrast(
        mean=np.linspace(0.05, 1, HIGHEST_LABEL + 1, dtype=np.float32),
        deviation=np.full(HIGHEST_LABEL + 1, 0.05, np.float32),
    )
    image = painted(np.random.default_rng(1), labels, contrast)
    assert image.dtype == np.float32
    assert image.shape == labels.shape
    assert image.min() >= 0
    for label in (2, 41, 42):
        assert image[labels == label].mean() == pytest.approx(contrast.mean[label], abs=0.03)
        assert 0.005 < image[labels == label].std() < 0.15


def test_without_deviation_brain_and_air_are_flat_and_the_soft_tissue_is_not() -> None:
    labels = small_map().labels
    contrast = DrawnContrast(
        mean=np.full(HIGHEST_LABEL + 1, 0.5, np.float32), deviation=np.zeros(HIGHEST_LABEL + 1, np.float32)
    )
    image = painted(np.random.default_rng(3), labels, contrast)
    outside = (labels >= OUTSIDE[0]) & (labels < OUTSIDE[1])
    assert np.ptp(image[~outside]) == 0
    assert image[outside].std() > 0
