"""Where the brain is: found in a head of any sequence and plane, left as it is without one, checked by a second."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes, labels_on, resample
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.phantom.anatomy import Tissue
from dicom_node.phantom.head_grid import HEAD_ORIGIN_MM, HEAD_SHAPE
from inference.brain_network import BrainNetwork
from inference.brain_region import LEAST_BRAIN_ML, MARGIN_MM, BrainFound, find_brain, shows_enough
from inference.model_bundle import load_brain
from inference.study_tensors import StudyTensors
from inference.trust import brain_flags
from tests.support.dicom_series import axis_aligned
from tests.support.phantom_volumes import phantom_volume
from tests.support.phantoms import phantom_of, small_plan

CPU = torch.device("cpu")
SEQUENCES = ("T1", "T1CE", "T2", "FLAIR")


@pytest.fixture(scope="module")
def network() -> BrainNetwork:
    return load_brain(torch.device("cpu"))


def _find(network: BrainNetwork, volumes: Mapping[Role, ImageVolume]) -> BrainFound | None:
    reference = next(iter(volumes))
    aligned = AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=())
    return find_brain(network, StudyTensors.of(aligned, CPU))


def _true_brain(role: str, plane: str, grid: Grid) -> NDArray[np.bool_]:
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    affine[:3, 3] = HEAD_ORIGIN_MM
    whole = Grid(shape=HEAD_SHAPE, affine=affine, frame_of_reference_uid=grid.frame_of_reference_uid)
    tissue = phantom_of(small_plan(plane, roles=(role,), seed=7)).head.tissue
    inside = LabelVolume(grid=whole, labels=(tissue == Tissue.BRAIN).astype(np.uint8))
    return np.asarray(labels_on(inside, grid).labels, bool)


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("role", SEQUENCES)
def test_the_brain_of_a_whole_head_is_found(network: BrainNetwork, role: str, plane: str) -> None:
    head = phantom_volume(role, plane)
    found, truth = _find(network, {Role(role): head}), _true_brain(role, plane, head.grid)
    assert found is not None
    assert found.mask.shape == head.grid.shape
    assert not found.stripped
    assert found.agreement is None
    assert _dice(found.mask.numpy(), truth) > 0.88  # the phantom counts fluid at the skull base that experts leave out
    assert np.count_nonzero(found.possible.numpy() & truth) > 0.92 * np.count_nonzero(truth)
    assert not (found.mask & ~found.tight).any()
    assert not (found.tight & ~found.possible).any()


def test_distances_are_millimetres_from_the_surface_on_any_grid(network: BrainNetwork) -> None:
    head = phantom_volume("T1")
    fine = head.grid.resampled((2.0, 2.0, 2.0))
    found = _find(network, {Role.T1: resample(head, fine)})
    assert found is not None
    widened = np.count_nonzero(found.possible) ** (1 / 3) - np.count_nonzero(found.mask) ** (1 / 3)
    assert 0.6 * 2 * MARGIN_MM / 2.0 < widened * (4 * np.pi / 3) ** (-1 / 3) * 2 < 1.8 * 2 * MARGIN_MM / 2.0


def test_the_same_head_gives_the_same_brain(network: BrainNetwork) -> None:
    found = [_find(network, {Role.T2: phantom_volume("T2")}) for _ in range(2)]
    assert found[0] is not None
    assert found[1] is not None
    assert torch.equal(found[0].away_mm, found[1].away_mm)


def test_a_brain_without_its_head_is_left_as_it_is(network: BrainNetwork) -> None:
    head = phantom_volume("T1CE")
    truth = _true_brain("T1CE", "axial", head.grid)
    brain = ImageVolume(grid=head.grid, voxels=np.where(truth, head.voxels, 0).astype(np.float32))
    found = _find(network, {Role.T1CE: brain})
    assert found is not None
    assert found.stripped
    assert np.count_nonzero(found.tight.numpy() & truth) > 0.999 * np.count_nonzero(truth)


def test_a_second_sequence_that_lies_elsewhere_puts_the_brain_in_doubt(network: BrainNetwork) -> None:
    first, second = phantom_volume("T1CE"), phantom_volume("FLAIR")
    shifted = ImageVolume(grid=first.grid, voxels=np.roll(second.voxels, 15, axis=2))  # 30 mm
    good, askew = (_find(network, {Role.T1CE: first, Role.FLAIR: one}) for one in (second, shifted))
    assert good is not None
    assert askew is not None
    assert good.agreement is not None
    assert askew.agreement is not None
    assert good.agreement > network.manifest.agreement_flag > askew.agreement
    assert brain_flags(network.manifest, good) == ()
    (flag,) = brain_flags(network.manifest, askew)
    assert (flag.code, flag.closes) == ("brain_doubtful", False)


def test_a_second_sequence_of_a_smaller_field_of_view_is_compared_where_it_is(network: BrainNetwork) -> None:
    first, second = phantom_volume("T1CE"), phantom_volume("FLAIR")
    partial = second.voxels.copy()
    partial[: len(partial) // 3] = 0
    found = _find(network, {Role.T1CE: first, Role.FLAIR: ImageVolume(grid=first.grid, voxels=partial)})
    assert found is not None
    assert found.agreement is not None
    assert found.agreement > network.manifest.agreement_flag


def _made(voxels: NDArray[np.floating]) -> ImageVolume:
    affine = axis_aligned("axial", (3.0, 3.0, 3.0))
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    return ImageVolume(
        grid=Grid(shape=shape, affine=affine, frame_of_reference_uid="1.2.3"), voxels=voxels.astype(np.float32)
    )


def test_nothing_at_all_is_no_brain(network: BrainNetwork) -> None:
    assert _find(network, {Role.T1: _made(np.zeros((40, 60, 60)))}) is None


def test_a_piece_is_too_small_to_tell() -> None:
    piece = np.zeros((40, 60, 60))
    piece[15:25, 20:40, 20:40] = 100.0
    assert LEAST_BRAIN_ML > 108.0
    aligned = AlignedVolumes(reference=Role.T1, volumes={Role.T1: _made(piece)}, registrations={}, decisions=())
    assert not shows_enough(StudyTensors.of(aligned, CPU))
