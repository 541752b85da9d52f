"""A picture shows the same anatomy the same way, however its slices are stored."""

import numpy as np
import pytest

from conversion.alignment import AlignedVolumes
from conversion.volume import ImageVolume
from inference.evaluation.picture import take_picture
from inference.regions import Region
from tests.unit.inference.evaluation.scene import annotated, ball


@pytest.mark.parametrize(
    ("axes", "flips"),
    [((0, 1, 2), (True, False, True)), ((1, 2, 0), (False, True, False)), ((2, 0, 1), (True, True, True))],
)
def test_the_way_of_storage_does_not_show(axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> None:
    case = annotated("a", moved=5)
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    grid = case.volumes.grid.permuted(axes, flips)
    volumes = {
        role: ImageVolume(grid=grid, voxels=volume.voxels.transpose(axes)[steps])
        for role, volume in case.volumes.volumes.items()
    }
    other = AlignedVolumes(reference=case.volumes.reference, volumes=volumes, registrations={}, decisions=())
    drawn = {region: mask.transpose(axes)[steps] for region, mask in case.regions.items()}
    confidence = np.where(ball(5.0, 9), 0.75, 0.25).astype(np.float16)
    expected = take_picture(case.volumes, case.regions, {}, confidence)
    found = take_picture(other, drawn, {}, confidence.transpose(axes)[steps])
    assert (found.slice_number, found.pixel_aspect) == (expected.slice_number, pytest.approx(expected.pixel_aspect))
    for sequence in ("FLAIR", "T1CE"):
        assert np.array_equal(found.grey[sequence], expected.grey[sequence])
    assert np.array_equal(found.reference[Region.ET], expected.reference[Region.ET])
    assert found.confidence is not None
    assert expected.confidence is not None
    assert np.array_equal(found.confidence, expected.confidence)
    assert len(np.unique(np.argwhere(found.confidence > 0.5).mean(axis=0))) == 2


def test_without_tumour_the_middle_is_shown() -> None:
    case = annotated("a", scale=0)
    found = take_picture(case.volumes, case.regions, case.regions, None)
    assert found.slice_number == 14 // 2 + 1
    assert found.confidence is None


def test_what_was_only_predicted_is_shown_too() -> None:
    case = annotated("a", scale=0)
    predicted = np.zeros(case.volumes.grid.shape, bool)
    predicted[3, 10:14, 10:14] = True
    assert take_picture(case.volumes, case.regions, {Region.WT: predicted}, None).slice_number == 4
