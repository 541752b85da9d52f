"""From probabilities to labels: what is left out, what counts as what surrounds it, and that it is said."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.sequences import Role
from conversion.volume import Grid
from inference.both_sides import BothSides
from inference.brain_region import BrainFound
from inference.labelling import LabelRules
from inference.labelling import label_study as label_tensors
from inference.manifest import ModelManifest, read_manifest
from inference.regions import Label, Region
from inference.study_tensors import StudyTensors
from inference.trust import decided_flags
from tests.support.detector_model import write_detector
from tests.support.leaning_brain import BRAIN_SHAPE, leaning_brain

GRID = Grid(shape=(20, 60, 60), affine=np.eye(4), frame_of_reference_uid="1.2.3")


@pytest.fixture
def manifest(tmp_path: Path) -> ModelManifest:
    return read_manifest(str(write_detector(tmp_path)))[1]


def label_study(
    probabilities: Mapping[Region, NDArray[np.float32]], manifest: ModelManifest, grid: Grid, brain: BrainFound | None
) -> tuple[NDArray[np.uint8], tuple[Decision, ...]]:
    tensors = {region: torch.from_numpy(values) for region, values in probabilities.items()}
    labels, decisions = label_tensors(tensors, LabelRules(manifest=manifest, grid=grid, brain=brain))
    return labels.numpy(), decisions


def _brain(away_mm: NDArray[np.floating], *, stripped: bool = False) -> BrainFound:
    return BrainFound(away_mm=torch.tensor(away_mm, dtype=torch.float32), stripped=stripped, agreement=None)


@pytest.mark.parametrize(("least_ml", "subjects"), [((0.0, 0.0), []), ((0.1, 0.1), ["TC", "ET"]), ((0.1, 0.0), ["TC"])])
def test_specks_of_the_core_count_as_what_surrounds_them(
    tmp_path: Path, least_ml: tuple[float, float], subjects: list[str]
) -> None:
    """One speck of enhancement in edema, one in the core; each is 0.02 ml, the true one 0.5 ml."""
    limits = dict(zip(("minimum_core_ml", "minimum_enhancing_ml"), least_ml, strict=True))
    manifest = read_manifest(str(write_detector(tmp_path, **limits)))[1]
    wt, tc, et = (np.zeros(GRID.shape, np.float32) for _ in range(3))
    wt[2:18, 5:55, 5:55] = 1.0
    tc[4:16, 10:40, 10:40] = 1.0
    et[5:15, 15:20, 15:25] = 1.0
    et[8, 30:34, 30:35] = 1.0
    tc[8, 48:52, 45:50] = et[8, 48:52, 45:50] = 1.0
    labels, decisions = label_study({Region.WT: wt, Region.TC: tc, Region.ET: et}, manifest, GRID, None)
    assert [decision.subject for decision in decisions] == subjects
    in_edema, in_core = labels[8, 50, 47], labels[8, 32, 32]
    assert in_edema == (Label.ED if least_ml[0] else Label.ET)
    assert in_core == (Label.NCR if least_ml[1] else Label.ET)
    assert (labels == Label.ET).sum() >= 500
    assert np.array_equal(labels > 0, wt > 0)


def test_what_lies_outside_the_brain_is_left_out_and_that_is_said(manifest: ModelManifest) -> None:
    wt = np.zeros(GRID.shape, np.float32)
    wt[5:15, 20:40, 20:40] = 1.0
    inside = np.zeros(GRID.shape, bool)
    inside[:, :, 30:] = True
    brain = _brain(np.where(inside, -9.0, 9.0))
    labels, decisions = label_study({Region.WT: wt}, manifest, GRID, brain)
    assert np.array_equal(labels > 0, (wt > 0) & inside)
    assert [(decision.code, decision.subject) for decision in decisions] == [("outside_brain", "WT")]
    assert decisions[0].reason.startswith("2.0 ml")
    assert label_study({Region.WT: wt * inside}, manifest, GRID, brain)[1] == ()
    assert np.array_equal(label_study({Region.WT: wt}, manifest, GRID, None)[0] > 0, wt > 0)


def test_what_lies_along_the_edge_of_the_brain_alone_is_left_out(manifest: ModelManifest) -> None:
    """A shell of 3 mm is meninges; a tumour that grows from the edge inwards stays whole, its part at the edge too."""
    away = np.broadcast_to(20.0 - np.arange(60), GRID.shape)  # the brain begins at column 20
    wt = np.zeros(GRID.shape, np.float32)
    wt[5:15, 5:15, 18:23] = 1.0
    wt[5:15, 30:40, 18:40] = 1.0
    labels, decisions = label_study({Region.WT: wt}, manifest, GRID, _brain(away))
    assert not labels[:, :20].any()
    assert np.array_equal(labels[:, 25:] > 0, wt[:, 25:] > 0)
    (decision,) = decisions
    assert (decision.code, decision.subject) == ("brain_edge", "WT")
    assert decision.reason.startswith("0.5 ml along the edge of the brain")
    assert label_study({Region.WT: wt}, manifest, GRID, _brain(away, stripped=True))[1] == ()


def test_what_fills_a_thick_slice_under_the_vertex_is_no_edge(manifest: ModelManifest) -> None:
    """Its middle lies 3 mm deep, its lower face 6; what runs down along the side of the brain stays an edge."""
    grid = Grid(shape=(8, 60, 60), affine=np.diag([6.0, 1.0, 1.0, 1.0]), frame_of_reference_uid="1.2.3")
    from_top = -3.0 - 6.0 * np.arange(8)[:, None, None]  # the top of the brain is that of the first slice
    from_side = 20.0 - np.arange(60)[None, None, :]  # and its side lies at column 20
    away = np.maximum(*np.broadcast_arrays(from_top, from_side, np.zeros(grid.shape))[:2])
    wt = np.zeros(grid.shape, np.float32)
    wt[0, 5:30, 30:55] = wt[2:6, 40:55, 18:23] = 1.0
    labels, decisions = label_study({Region.WT: wt}, manifest, grid, _brain(away))
    assert np.array_equal(labels[0] > 0, wt[0] > 0)
    assert not labels[1:].any()
    assert [decision.code for decision in decisions] == ["brain_edge"]


def _ball(middle: tuple[int, int, int], radius: int) -> NDArray[np.bool_]:
    away = sum((axis - place) ** 2 for axis, place in zip(np.ogrid[:20, :60, :60], middle, strict=True))
    return np.asarray(away <= radius**2)


@pytest.mark.parametrize(
    ("radius", "peak", "core", "kept"),
    [
        (6, 0.7, False, False),
        (6, 0.8, False, True),
        (6, 0.7, True, True),
        (9, 0.7, False, False),
        (11, 0.7, False, True),
    ],
    ids=["faint", "with a peak", "with a core", "of 3 ml", "of more than 5 ml"],
)
def test_a_small_spot_needs_a_peak(tmp_path: Path, radius: int, peak: float, core: bool, kept: bool) -> None:  # noqa: FBT001
    manifest = read_manifest(str(write_detector(tmp_path, minimum_peak=0.75)))[1]
    spot = _ball((10, 30, 30), radius)
    wt = np.where(spot, 0.6, 0).astype(np.float32)
    wt[10, 30, 30] = peak
    tc = np.where(_ball((10, 30, 30), 2) & core, 0.9, 0).astype(np.float32)
    found = {Region.WT: wt, Region.TC: tc, Region.ET: np.zeros_like(wt)}
    labels, decisions = label_study(found, manifest, GRID, None)
    assert np.array_equal(labels > 0, spot & kept)
    assert [decision.code for decision in decisions] == ([] if kept else ["faint"])
    without = read_manifest(str(write_detector(tmp_path / "other")))[1]
    assert (label_study(found, without, GRID, None)[0] > 0).any(), "a model that states no peak wants none"


@pytest.mark.parametrize("most_ml", [30.0, 0.0])
def test_disease_of_both_sides_is_left_out_where_the_model_says_so(tmp_path: Path, most_ml: float) -> None:
    manifest = read_manifest(str(write_detector(tmp_path, both_sides_ml=most_ml)))[1]
    image, left = leaning_brain(16.0)
    both = torch.tensor(left | leaning_brain(-16.0)[1])
    axes = np.eye(4)
    axes[:3, :3] = np.eye(3)[::-1]
    grid = Grid(shape=BRAIN_SHAPE, affine=axes, frame_of_reference_uid="1.2.3")
    head = {Role.FLAIR: torch.tensor(image, dtype=torch.float32)}
    sides = BothSides(StudyTensors(reference=Role.FLAIR, grid=grid, volumes=head), None, both.float())
    rules = LabelRules(manifest=manifest, grid=grid, sides=sides)
    labels, decisions = label_tensors({Region.WT: both.float()}, rules)
    assert bool(labels.any()) is (most_ml == 0)
    assert [decision.code for decision in decisions] == (["both_sides"] if most_ml else [])
    (flag,) = decided_flags(decisions) or (None,)
    assert (flag is None) is (most_ml == 0)
    if flag is not None:
        assert flag.sentence.startswith(f"{int(both.sum()) / 1000:.1f} ml were left out as white matter disease: check")
        assert not flag.closes
