"""All figures of one region: in millimetres and millilitres where the voxel size is known, and nothing made up."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.figures import OVERLAP, Measure, compare, overlap_values
from inference.evaluation.overlap import Counts
from tests.unit.inference.evaluation.made_figures import calibration

SPACING_MM = np.array([5.0, 0.5, 2.0])
IN_MM = (Measure.HD95, Measure.SURFACE_DICE, Measure.LESION_HD95, Measure.VOLUME, Measure.REFERENCE)
Mask = NDArray[np.bool_]


def _box(slices: slice, rows: slice, columns: slice) -> Mask:
    mask = np.zeros((12, 20, 16), bool)
    mask[slices, rows, columns] = True
    return mask


DRAWN = _box(slice(2, 5), slice(4, 14), slice(3, 8))
"""150 voxels of 5 mm3: 0.75 ml."""

DEEPER = _box(slice(2, 6), slice(4, 14), slice(3, 8))
"""One slice of 50 voxels and 5 mm more."""

NOTHING = np.zeros_like(DRAWN)


def test_overlap_needs_counts_alone() -> None:
    found = overlap_values(Counts(true_positive=6, false_positive=2, false_negative=4, true_negative=88))
    assert list(found) == list(OVERLAP)
    assert list(found.values()) == pytest.approx([12 / 18, 6 / 12, 6 / 8, 6 / 10, 88 / 90, 12 / 18, 94 / 100])


def test_a_region_has_every_figure_with_the_size_of_its_voxels() -> None:
    found = compare(DEEPER, DRAWN, SPACING_MM)
    assert list(found.values) == list(Measure)
    assert found.values[Measure.REFERENCE] == pytest.approx(0.75)
    assert found.values[Measure.VOLUME] == pytest.approx(1.0)
    assert found.values[Measure.DICE] == pytest.approx(300 / 350)
    assert found.values[Measure.HD95] == pytest.approx(5.0)
    assert found.values[Measure.LESION_DICE] == pytest.approx(300 / 350)
    assert found.values[Measure.LESION_HD95] == pytest.approx(5.0)
    assert (found.lesions.found, found.lesions.missed, found.lesions.false) == (1, 0, 0)
    assert (found.counts.predicted, found.counts.reference) == (200, 150)
    assert found.delineated
    assert found.calibration is None


def test_distances_follow_the_axis_of_their_spacing() -> None:
    for axis, step in enumerate(SPACING_MM):
        moved = np.roll(DRAWN, 2, axis=axis)
        assert compare(moved, DRAWN, SPACING_MM).values[Measure.HD95] == pytest.approx(2 * step)


def test_surfaces_within_a_millimetre_agree() -> None:
    assert compare(np.roll(DRAWN, 2, axis=1), DRAWN, SPACING_MM).values[Measure.SURFACE_DICE] == 1.0
    moved = compare(np.roll(DRAWN, 3, axis=1), DRAWN, SPACING_MM).values[Measure.SURFACE_DICE]
    assert moved is not None
    assert 0 < moved < 1


def test_without_a_voxel_size_nothing_is_in_millimetres() -> None:
    found = compare(DEEPER, DRAWN, None)
    assert {measure for measure, value in found.values.items() if value is None} == set(IN_MM)
    assert list(found.values) == list(Measure)
    known = compare(DEEPER, DRAWN, SPACING_MM)
    for measure in OVERLAP:
        assert found.values[measure] == known.values[measure]


def test_without_a_voxel_size_small_lesions_are_those_of_fifty_voxels() -> None:
    small = _box(slice(2, 3), slice(4, 14), slice(3, 8))
    assert compare(NOTHING, small, None).lesions.missed == 0
    assert compare(NOTHING, small, None).values[Measure.LESION_DICE] == 1.0
    assert compare(NOTHING, small, SPACING_MM).lesions.missed == 1
    assert compare(NOTHING, small, SPACING_MM).values[Measure.LESION_DICE] == 0.0


@pytest.mark.parametrize(
    ("predicted", "reference", "dice", "away_mm", "volumes_ml"),
    [
        (NOTHING, NOTHING, 1.0, 0.0, (0.0, 0.0)),
        (NOTHING, DRAWN, 0.0, 374.0, (0.0, 0.75)),
        (DRAWN, NOTHING, 0.0, 374.0, (0.75, 0.0)),
    ],
)
def test_empty_regions_have_figures_too(
    predicted: Mask, reference: Mask, dice: float, away_mm: float, volumes_ml: tuple[float, float]
) -> None:
    values = compare(predicted, reference, SPACING_MM).values
    assert values[Measure.DICE] == values[Measure.LESION_DICE] == values[Measure.SURFACE_DICE] == dice
    assert values[Measure.HD95] == values[Measure.LESION_HD95] == away_mm
    assert (values[Measure.VOLUME], values[Measure.REFERENCE]) == pytest.approx(volumes_ml)


def test_masks_of_two_shapes_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"masks of shapes \(12, 20, 16\) and \(11, 20, 16\) cannot be compared"):
        compare(DRAWN, DRAWN[1:], SPACING_MM)


def test_calibration_goes_with_the_figures_and_values_cannot_be_changed() -> None:
    told = calibration((3, 1, 0.2, 0))
    found = compare(DRAWN, DRAWN, SPACING_MM, told)
    assert found.calibration is told
    with pytest.raises(TypeError):
        found.values[Measure.DICE] = 1.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("interval_ml", "holds"),
    [((0.75, 2.0), True), ((0.1, 0.75), True), ((0.0, 0.74), False), ((0.76, 9.0), False), (None, None)],
)
def test_an_interval_holds_the_experts_volume_at_its_ends_too(
    interval_ml: tuple[float, float] | None, *, holds: bool | None
) -> None:
    found = compare(DEEPER, DRAWN, SPACING_MM)
    assert replace(found, interval_ml=interval_ml).interval_holds is holds
    assert replace(compare(DEEPER, DRAWN, None), interval_ml=interval_ml).interval_holds is None
