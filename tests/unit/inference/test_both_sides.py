"""What both halves of a brain show alike is no tumour; what grows in one half, in both across, or enhances is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.both_sides import BothSides
from inference.model_bundle import load_model
from inference.segmenter import Segmenter
from inference.study_tensors import StudyTensors
from tests.support.detector_model import write_detector
from tests.support.leaning_brain import BRAIN_SHAPE, leaning_brain, sides

AXES = np.eye(4)
AXES[:3, :3] = np.eye(3)[::-1]
GRID = Grid(shape=BRAIN_SHAPE, affine=AXES, frame_of_reference_uid="1.2.3")
LARGEST_ML = 30.0


def _ball(left_mm: float, radius_mm: float = 7.0, back_mm: float = 4.0) -> Tensor:
    """Return a ball so far to the left of the midplane; 1.4 ml."""
    left, along = sides()
    return torch.tensor((left - left_mm) ** 2 + along[0] ** 2 + (along[1] - back_mm) ** 2 < radius_mm**2)


def _sides(*shown: Tensor, faint: Tensor | None = None) -> BothSides:
    """Return what is known of a brain in which some places are probable, others faintly, and everything else is not."""
    head = torch.tensor(leaning_brain(-16.0)[0], dtype=torch.float32)
    study = StudyTensors(reference=Role.FLAIR, grid=GRID, volumes={Role.FLAIR: head})
    probability = torch.zeros(GRID.shape) if faint is None else 0.15 * faint.float()
    for place in shown:
        probability[place] = 0.6
    return BothSides(study, None, probability)


def test_what_both_halves_show_is_disease_of_the_white_matter() -> None:
    left, right = _ball(16), _ball(-16)
    assert torch.equal(_sides(left, right).disease(left | right, None, LARGEST_ML), left | right)


def test_what_one_half_shows_is_not() -> None:
    left = _ball(16)
    assert not _sides(left).disease(left, None, LARGEST_ML).any()


def test_a_counterpart_may_be_far_less_probable() -> None:
    left, right = _ball(16), _ball(-16)
    assert torch.equal(_sides(left, faint=right).disease(left, None, LARGEST_ML), left)


def test_a_counterpart_lies_within_some_millimetres_of_the_mirror_image() -> None:
    left = _ball(16, back_mm=-8)
    near, far = _ball(-16, back_mm=-14), _ball(-16, back_mm=16)
    assert _sides(left, near).disease(left | near, None, LARGEST_ML)[left].all()
    assert not _sides(left, far).disease(left | far, None, LARGEST_ML).any()


@pytest.mark.parametrize("largest_ml", [1.0, 0.0])
def test_what_is_larger_than_the_model_says_stays(largest_ml: float) -> None:
    left, right = _ball(16), _ball(-16)
    assert not _sides(left, right).disease(left | right, None, largest_ml).any()


def test_what_has_a_core_stays_and_is_nobodys_counterpart() -> None:
    left, right = _ball(16), _ball(-16)
    core = _ball(16, radius_mm=2)
    assert not _sides(left, right).disease(left | right, core, LARGEST_ML).any()


def test_what_grows_across_the_midline_stays() -> None:
    across = _ball(3, radius_mm=8)
    assert not _sides(across).disease(across, None, LARGEST_ML).any()


def test_a_tumour_stays_beside_disease_of_both_sides_and_a_speck_does_not() -> None:
    left, right = _ball(16, back_mm=-10), _ball(-16, back_mm=-10)
    tumour, speck = _ball(16, radius_mm=9, back_mm=16), _ball(-14, radius_mm=3, back_mm=18)
    everything = left | right | tumour
    assert torch.equal(_sides(left, right, tumour).disease(everything, None, LARGEST_ML), left | right)
    with_speck = _sides(left, right, speck).disease(left | right | speck, None, LARGEST_ML)
    assert torch.equal(with_speck, left | right | speck)
    assert not _sides(speck).disease(speck, None, LARGEST_ML).any(), "a speck alone is a finding"


def test_nothing_is_nothing() -> None:
    nothing = torch.zeros(GRID.shape, dtype=torch.bool)
    assert not _sides().disease(nothing, None, LARGEST_ML).any()


@pytest.mark.parametrize("both", [True, False])
def test_a_study_with_nothing_but_such_disease_ends_without_a_tumour_and_says_so(tmp_path: Path, both: bool) -> None:  # noqa: FBT001
    image = np.where(leaning_brain(-16.0)[0] > 0, 1.0, 0.0)
    image[:9] = image[50:] = 0.0  # where little of a slice is brain, the detector calls all of that bright
    lesions = (_ball(16) | _ball(-16)) if both else _ball(16)
    image[lesions.numpy()] = 6.0
    head = ImageVolume(grid=GRID, voxels=image.astype(np.float32))
    aligned = AlignedVolumes(reference=Role.FLAIR, volumes={Role.FLAIR: head}, registrations={}, decisions=())
    model = load_model(str(write_detector(tmp_path, both_sides_ml=LARGEST_ML)), "cpu", threads=1)
    found = Segmenter(model).segment(aligned)
    assert bool(found.label_volume.labels.any()) is not both
    assert ("both_sides" in [flag.code for flag in found.flags]) is both
    assert ("both_sides" in [decision.code for decision in found.decisions]) is both
    if both:
        assert set(found.quality.agreement.values()) == {1.0}, (
            "no prediction shows a tumour by the rules of all together"
        )
