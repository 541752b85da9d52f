"""What a person outlined is read by its labels, put where it belongs in space, and compared voxel by voxel."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conversion.alignment import AlignedVolumes
from conversion.errors import ConversionError
from conversion.nifti import read_nifti, write_nifti
from conversion.registration.quality import Registration
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.workbench.comparison import COMPARISON, TRUTH, Compared, compare_with
from dicom_node.workbench.ground_truth import GroundTruth, TruthFile, place, read_ground_truth
from inference.regions import Label, Region
from inference.segmentation import ModelIdentity, Segmentation
from tests.support.annotated_study import annotated_study
from tests.support.foreign_seg import ForeignSegment, foreign_seg

pytestmark = pytest.mark.torch

SHAPE = (6, 20, 24)
AXIAL = np.array([[0, 0, 2.0, -20], [0, 2.0, 0, -10], [4.0, 0, 0, 5], [0, 0, 0, 1]])
GRID = Grid(shape=SHAPE, affine=AXIAL, frame_of_reference_uid="NIfTI")


def _labels(**boxes: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
    """Return labels, each drawn as a box; later ones lie over earlier ones."""
    labels = np.zeros(SHAPE, np.uint8)
    for name, box in boxes.items():
        labels[box] = int(name.removeprefix("label"))
    return labels


OUTER = (slice(1, 5), slice(4, 14), slice(5, 17))
CORE = (slice(2, 4), slice(6, 12), slice(8, 14))
RIM = (slice(2, 4), slice(6, 8), slice(8, 14))


def _file(folder: Path, labels: NDArray[np.generic], grid: Grid = GRID) -> TruthFile:
    write_nifti(ImageVolume(grid=grid, voxels=labels.astype(np.float32)), folder / "truth.nii.gz")
    return TruthFile(path=folder / "truth.nii.gz", name="mine.nii.gz")


def _aligned(grid: Grid = GRID, registrations: Mapping[Role, Registration] | None = None) -> AlignedVolumes:
    volume = ImageVolume(grid=grid, voxels=np.ones(grid.shape, np.float32))
    return AlignedVolumes(
        reference=Role.T1CE,
        volumes=MappingProxyType({Role.T1CE: volume}),
        registrations=registrations or {},
        decisions=(),
    )


@pytest.mark.parametrize("enhancing", [3, 4])
def test_the_labels_of_brats_are_known(tmp_path: Path, enhancing: int) -> None:
    labels = _labels(label2=OUTER, label1=CORE, **{f"label{enhancing}": RIM})
    truth = read_ground_truth(_file(tmp_path, labels))
    assert set(truth.regions) == {Region.WT, Region.TC, Region.ET}
    assert np.array_equal(truth.regions[Region.WT], labels > 0)
    assert np.array_equal(truth.regions[Region.TC], np.isin(labels, (1, enhancing)))
    assert np.array_equal(truth.regions[Region.ET], labels == enhancing)


@pytest.mark.parametrize("value", [1, 2, 4, 5, 255])
def test_one_value_is_the_whole_tumour(tmp_path: Path, value: int) -> None:
    truth = read_ground_truth(_file(tmp_path, _labels(**{f"label{value}": CORE})))
    assert set(truth.regions) == {Region.WT}
    assert truth.regions[Region.WT].sum() == 2 * 6 * 6


def test_an_empty_map_states_that_there_is_no_tumour(tmp_path: Path) -> None:
    truth = read_ground_truth(_file(tmp_path, _labels()))
    assert set(truth.regions) == {Region.WT}
    assert not truth.regions[Region.WT].any()


@pytest.mark.parametrize(
    ("values", "said"), [((1, 7), "labels (1, 7) are not known"), ((3, 4), "labels (3, 4) are not known")]
)
def test_other_labels_are_refused_with_those_that_work(tmp_path: Path, values: Sequence[int], said: str) -> None:
    labels = _labels(**{f"label{values[0]}": OUTER}) + _labels(**{f"label{values[1] - values[0]}": CORE})
    with pytest.raises(ConversionError) as refused:
        read_ground_truth(_file(tmp_path, labels))
    assert said in str(refused.value)
    assert "Use 1 for necrotic core, 2 for edema and 3 or 4 for enhancing tumour" in str(refused.value)


def test_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="has values between labels"):
        read_ground_truth(_file(tmp_path, 0.4 * _labels(label1=CORE)))


@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.jpg"])
def test_an_image_mask_is_black_and_white(tmp_path: Path, name: str) -> None:
    drawn = np.zeros((64, 80), np.uint8)
    drawn[20:40, 30:60] = 255
    Image.fromarray(drawn).save(tmp_path / name)
    truth = read_ground_truth(TruthFile(path=tmp_path / name, name=name))
    assert truth.grid is None
    assert np.array_equal(truth.regions[Region.WT], drawn[np.newaxis] > 0)


def test_an_image_mask_of_another_size_is_refused() -> None:
    truth = GroundTruth(name="m.png", grid=None, regions={Region.WT: np.ones((1, 9, 8), bool)})
    slice_grid = Grid(shape=(1, 9, 9), affine=AXIAL, frame_of_reference_uid="picture")
    with pytest.raises(ConversionError, match="has 8 x 9 pixels, the images 9 x 9; a mask of the same size is needed"):
        place(truth, _aligned(slice_grid), {})


def test_what_lies_on_the_grid_of_the_result_is_taken_as_it_is(tmp_path: Path) -> None:
    truth = read_ground_truth(_file(tmp_path, _labels(label1=CORE)))
    placed, note = place(truth, _aligned(), {})
    assert np.array_equal(placed[Region.WT], truth.regions[Region.WT])
    assert note == ""


def test_what_lies_on_another_grid_is_put_at_its_place_in_space(tmp_path: Path) -> None:
    """The same outline with its slices in the other order and half as thick comes out at the same voxels."""
    labels = _labels(label1=CORE)
    other = AXIAL.copy()
    other[2, 0], other[2, 3] = -2.0, 5 + 4.0 * (SHAPE[0] - 1) + 1.0
    fine = Grid(shape=(12, *SHAPE[1:]), affine=other, frame_of_reference_uid="NIfTI")
    truth = read_ground_truth(_file(tmp_path, np.repeat(labels[::-1], 2, axis=0), fine))
    placed, note = place(truth, _aligned(), {})
    assert np.array_equal(placed[Region.WT], labels > 0)
    assert note.startswith("It was drawn on another grid")


def test_what_was_drawn_on_a_sequence_moves_as_the_sequence_did(tmp_path: Path) -> None:
    """The FLAIR lies 6 mm to the left of the T1 after contrast; an outline on it is moved back by them."""
    labels = _labels(label1=CORE)
    own = AXIAL.copy()
    own[0, 3] += 6.0
    flair = Grid(shape=(*SHAPE[:2], SHAPE[2] - 1), affine=own, frame_of_reference_uid="NIfTI")
    matrix = np.eye(4)
    matrix[0, 3] = 6.0  # from the reference to the moving sequence
    moved = Registration(
        matrix=matrix,
        metric_before=-0.2,
        metric_after=-0.5,
        move_mm=6.0,
        rotation_deg=0.0,
        overlap=1.0,
        sharpness=0.5,
        inverse_consistency_mm=0.1,
        shared_frame=True,
        attempts=1,
    )
    truth = read_ground_truth(_file(tmp_path, labels[:, :, :-1], flair))
    placed, _ = place(truth, _aligned(registrations={Role.FLAIR: moved}), {Role.FLAIR: flair})
    assert np.array_equal(placed[Region.WT], labels > 0)


def test_what_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    far = AXIAL.copy()
    far[:3, 3] += 500.0
    truth = read_ground_truth(_file(tmp_path, _labels(label1=CORE), replace(GRID, affine=far)))
    with pytest.raises(ConversionError, match="lies outside of the images"):
        place(truth, _aligned(), {})


def test_a_segmentation_is_read_by_its_segments(tmp_path: Path) -> None:
    _, seg = annotated_study("truth", "P1")
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    truth = read_ground_truth(TruthFile(path=tmp_path / "seg.dcm", name="seg.dcm"))
    assert set(truth.regions) == {Region.WT}
    assert truth.regions[Region.WT].sum() == 4 * 10 * 12
    with pytest.raises(ConversionError, match="another frame of reference"):
        place(truth, _aligned(replace(GRID, frame_of_reference_uid="1.2.3")), {})


def test_a_segmentation_of_something_else_is_refused(tmp_path: Path) -> None:
    images, _ = annotated_study("other", "P1")
    mask = np.ones((2, 8, 8), bool)
    seg = foreign_seg(images, [ForeignSegment(label="Liver", mask=mask)], np.eye(4)[[2, 1, 0, 3]])
    seg.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    with pytest.raises(ConversionError, match="none of its segments \\('Liver'\\) is known as a part of a tumour"):
        read_ground_truth(TruthFile(path=tmp_path / "seg.dcm", name="seg.dcm"))


def _segmentation(labels: NDArray[np.uint8], regions: Sequence[Region]) -> Segmentation:
    return Segmentation(
        label_volume=LabelVolume(grid=GRID, labels=labels),
        probabilities={},
        regions=tuple(regions),
        model=ModelIdentity(name="m", version="1", sha256="0"),
        sequences=("T1CE",),
        decisions=(),
    )


def _compared(folder: Path, truth: TruthFile, segmentation: Segmentation) -> dict[str, Any]:
    result = Compared(aligned=_aligned(), segmentation=segmentation, grids={})
    written = compare_with(truth, result, folder)
    assert all(path.is_file() for path in written)
    document: dict[str, Any] = json.loads((folder / COMPARISON).read_text())
    return document


def test_the_figures_are_those_of_the_counted_voxels(tmp_path: Path) -> None:
    labels = _labels(label2=OUTER, label1=CORE, label3=RIM)
    shifted = np.roll(labels, 1, axis=2)
    every = (Region.WT, Region.TC, Region.ET, Region.NCR, Region.ED)
    document = _compared(tmp_path, _file(tmp_path, labels), _segmentation(shifted, every))
    for region, count, width in (("WT", 4 * 10 * 12, 12), ("TC", 2 * 6 * 6, 6), ("ET", 2 * 2 * 6, 6)):
        figures = document["regions"][region]
        share = (width - 1) / width
        assert figures["dice"] == figures["precision"] == figures["recall"] == pytest.approx(share, abs=1e-4)
        assert figures["iou"] == pytest.approx((width - 1) / (width + 1), abs=1e-4)
        assert figures["hd95_mm"] == pytest.approx(2.0)
        assert figures["voxels"] == figures["reference_voxels"] == count
        assert figures["volume_ml"] == figures["reference_ml"] == pytest.approx(count * 0.016)
    lines = [line.split() for line in document["report"].splitlines()]
    assert [line[0] for line in lines if line] == [
        *("precision", "background", "NCR", "ED", "ET", "accuracy", "macro", "weighted")
    ]
    kept = read_nifti(tmp_path / TRUTH)
    assert np.array_equal(kept.voxels, labels)
    assert kept.grid.equals(GRID)


def test_a_whole_tumour_is_compared_with_a_whole_tumour_alone(tmp_path: Path) -> None:
    found = _segmentation(_labels(label5=OUTER), (Region.WT,))
    document = _compared(tmp_path, _file(tmp_path, _labels(label2=OUTER, label1=CORE, label3=RIM)), found)
    assert list(document["regions"]) == ["WT"]
    assert document["regions"]["WT"]["dice"] == 1.0
    assert document["not_delineated"] == ["TC", "ET"]
    assert "whole tumour" in document["report"]
    assert set(np.unique(read_nifti(tmp_path / TRUTH).voxels)) == {0, Label.NCR, Label.ED, Label.ET}


def test_a_ground_truth_that_cannot_be_used_costs_no_result(tmp_path: Path) -> None:
    truth = _file(tmp_path, _labels(label1=OUTER) + _labels(label6=CORE))
    document = _compared(tmp_path, truth, _segmentation(_labels(label5=OUTER), (Region.WT,)))
    assert document["problem"].startswith("mine.nii.gz: its labels (1, 7) are not known.")
    assert "regions" not in document
    assert not (tmp_path / TRUTH).exists()
