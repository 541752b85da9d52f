"""One number: a volume is voxels times voxel volume, and a centroid lies where the region lies in the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from conversion.volume import Grid, LabelVolume
from inference.measurements import Findings, measure
from inference.regions import Region
from inference.segmentation import ModelIdentity, Segmentation
from tests.support.dicom_series import axis_aligned
from tests.support.strategies import grids

ALL = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)


def _measure(grid: Grid, labels: NDArray[np.uint8], regions: tuple[Region, ...] = ALL) -> Findings:
    segmentation = Segmentation(
        label_volume=LabelVolume(grid=grid, labels=labels),
        regions=regions,
        probabilities={},
        model=ModelIdentity(name="m", version="1", sha256="0"),
        sequences=("FLAIR",),
        decisions=(),
    )
    return measure(segmentation)


def _coronal() -> Grid:
    affine = axis_aligned("coronal", (4.0, 2.0, 0.5), (-10.0, 20.0, 30.0))
    return Grid(shape=(6, 7, 8), affine=affine, frame_of_reference_uid="1.2.3")


def _cuboids() -> NDArray[np.uint8]:
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[1:3, 2:5, 4:8] = 2
    labels[1, 2, 4:7] = 1
    labels[2, 4, 7] = 3
    return labels


def test_volumes_are_voxels_times_voxel_volume() -> None:
    findings = _measure(_coronal(), _cuboids())
    voxels = {finding.region: finding.voxels for finding in findings.regions}
    assert voxels == {Region.NCR: 3, Region.ED: 20, Region.ET: 1, Region.WT: 24, Region.TC: 4}
    for finding in findings.regions:
        assert finding.volume_ml == pytest.approx(finding.voxels * 4.0 * 2.0 * 0.5 / 1000)


def test_a_centroid_is_in_patient_space() -> None:
    """Coronal: slices run to the back, rows to the feet, columns to the left."""
    findings = _measure(_coronal(), _cuboids())
    assert findings.of(Region.WT).centroid_mm == pytest.approx((-10 + 5.5 * 0.5, 20 + 1.5 * 4, 30 - 3 * 2))
    assert findings.of(Region.NCR).centroid_mm == pytest.approx((-10 + 5 * 0.5, 20 + 4, 30 - 2 * 2))
    assert findings.of(Region.ET).centroid_mm == pytest.approx((-10 + 7 * 0.5, 20 + 8, 30 - 4 * 2))


@given(grids())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_centroid_of_a_single_voxel_is_its_position(grid: Grid) -> None:
    index = tuple(n // 2 for n in grid.shape)
    labels = np.zeros(grid.shape, np.uint8)
    labels[index] = 3
    finding = _measure(grid, labels).of(Region.ET)
    assert finding.centroid_mm == pytest.approx((grid.affine @ [*index, 1])[:3], abs=1e-9)
    assert finding.volume_ml == pytest.approx(np.prod(grid.spacing_mm) / 1000)


def test_an_empty_region_has_no_volume_and_no_centroid() -> None:
    finding = _measure(_coronal(), np.zeros((6, 7, 8), np.uint8)).of(Region.TC)
    assert (finding.voxels, finding.volume_ml, finding.centroid_mm) == (0, 0.0, None)


def test_a_study_in_which_nothing_is_found_says_so() -> None:
    assert not _measure(_coronal(), _cuboids()).no_tumour
    found = _measure(_coronal(), np.zeros((6, 7, 8), np.uint8)).no_tumour
    assert found.startswith("No tumour found. How small a tumour")


def test_only_the_known_regions_are_measured_in_their_order() -> None:
    labels = np.where(_cuboids() > 0, 5, 0).astype(np.uint8)
    findings = _measure(_coronal(), labels, (Region.WT,))
    assert [finding.region for finding in findings.regions] == [Region.WT]
    assert findings.of(Region.WT).voxels == 24
    assert [finding.region for finding in _measure(_coronal(), labels).regions] == list(ALL)
