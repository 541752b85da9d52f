"""The SEG: a known mask of any orientation is found again, in the patient, by readers that share no code with us."""

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset

from inference.regions import Region
from tests.support.dicom_series import axis_aligned, uid_of
from tests.support.hand_made_run import MODEL, PROVENANCE, Run, make_run
from tests.support.seg_reading import VALUES, seg_labels, seg_points
from tests.support.strategies import affines, slice_orders
from viewer_integration.identifiers import tracking_uid
from viewer_integration.segmentation_object import segment_labels

Labels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def _tumour(values: tuple[int, ...] = (1, 2, 3)) -> Labels:
    """Return a lopsided body of the values, one inside the other, that touches no border."""
    labels = np.zeros((6, 9, 11), np.uint8)
    labels[1:5, 2:7, 3:9] = values[-1]
    labels[2:4, 3:6, 4:7] = values[0]
    labels[3, 4, 5:7] = values[len(values) // 2]
    return labels


def _seg(run: Run) -> Dataset:
    (seg,) = [each for each in run.encode().objects if each.kind == "SEG"]
    return pydicom.dcmread(io.BytesIO(seg.content))


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Labels, Matrix, list[int]]:
    shape = draw(st.tuples(*[st.integers(3, 6)] * 3))
    values = draw(st.sampled_from([(0, 1, 2, 3), (0, 5), (0, 2), (0, 1, 3)]))
    labels = np.random.default_rng(draw(st.integers(0, 10**6))).choice(values, shape).astype(np.uint8)
    labels[1, 1, 2] = values[-1]
    return labels, draw(affines()), draw(slice_orders(shape[0]))


@given(_cases())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_mask_of_any_orientation_and_slice_order_is_found_again_in_the_patient(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Labels, Matrix, list[int]]
) -> None:
    labels, affine, order = case
    run = make_run(tmp_path_factory.mktemp("run"), labels, affine, order)
    ds = _seg(run)
    assert np.array_equal(seg_labels(ds, affine, labels.shape), labels)
    points = np.concatenate(list(seg_points(ds).values()))
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    voxel_ml = float(np.prod([float(v) for v in measures.PixelSpacing])) * float(measures.SpacingBetweenSlices) / 1000
    true_ml = np.count_nonzero(labels) * abs(np.linalg.det(affine[:3, :3])) / 1000
    true_centre = (affine @ [*np.argwhere(labels).mean(axis=0), 1.0])[:3]
    assert len(points) * voxel_ml == pytest.approx(true_ml, rel=0.01)
    assert np.linalg.norm(points.mean(axis=0) - true_centre) < 0.5
    finding = run.findings.of(Region.WT)
    assert finding.volume_ml == pytest.approx(true_ml, rel=0.01)
    assert finding.centroid_mm is not None
    assert np.linalg.norm(np.array(finding.centroid_mm) - true_centre) < 0.5


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_highdicom_reads_the_same_voxels_at_the_same_places(tmp_path: Path, plane: str) -> None:
    labels, affine = _tumour(), axis_aligned(plane)
    run = make_run(tmp_path, labels, affine, [3, 0, 5, 1, 4, 2])
    seg = hd.seg.Segmentation.from_dataset(_seg(run))
    volume = seg.get_volume(combine_segments=True)
    names = {item.segment_number: item.segment_label for item in map(seg.get_segment_description, seg.segment_numbers)}
    seg._db_con.close()  # highdicom's index in memory, which nothing else closes
    into = np.linalg.inv(affine)
    found = np.zeros(labels.shape, np.uint8)
    for index in np.argwhere(volume.array > 0):
        place = np.round(into @ volume.affine @ [*index, 1])[:3].astype(int)
        found[tuple(place)] = VALUES[names[int(volume.array[tuple(index)])]]
    assert np.array_equal(found, labels)


def test_segments_are_named_typed_and_coloured(tmp_path: Path) -> None:
    ds = _seg(make_run(tmp_path, _tumour(), axis_aligned("axial")))
    assert ds.SegmentationType == "BINARY"
    assert [item.SegmentLabel for item in ds.SegmentSequence] == ["Necrotic core", "Edema", "Enhancing tumor"]
    assert [item.SegmentNumber for item in ds.SegmentSequence] == [1, 2, 3]
    types = [item.SegmentedPropertyTypeCodeSequence[0] for item in ds.SegmentSequence]
    assert [(code.CodeValue, code.CodingSchemeDesignator) for code in types] == [
        ("6574001", "SCT"),
        ("79654002", "SCT"),
        ("C113842", "NCIt"),
    ]
    for item, rgb in zip(ds.SegmentSequence, ((220, 50, 47), (60, 180, 75), (255, 215, 0)), strict=True):
        assert item.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert item.AnatomicRegionSequence[0].CodeMeaning == "Brain"
        assert _shown_colour(item.RecommendedDisplayCIELabValue) == pytest.approx(rgb, abs=1)


def _shown_colour(encoded: list[int]) -> tuple[float, ...]:
    """Return sRGB 0 to 255 of a CIELab value as DICOM scales it (PS3.3 C.10.7.1.1), under D65 as viewers read it."""
    lightness, a, b = encoded[0] / 65535 * 100, encoded[1] / 65535 * 255 - 128, encoded[2] / 65535 * 255 - 128
    y = (lightness + 16) / 116
    xyz = [v**3 if v > 6 / 29 else 3 * (6 / 29) ** 2 * (v - 4 / 29) for v in (y + a / 500, y, y - b / 200)]
    to_rgb = np.array([[3.2405, -1.5371, -0.4985], [-0.9693, 1.8760, 0.0416], [0.0556, -0.2040, 1.0572]])
    linear = np.clip(to_rgb @ (np.array(xyz) * [0.95047, 1.0, 1.08883]), 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return tuple(float(v) for v in 255 * curved)


def test_the_numbers_that_networks_reckoned_in_are_stated_where_they_are_known(tmp_path: Path) -> None:
    run = make_run(tmp_path, _tumour(), axis_aligned("axial"))
    quality = replace(run.segmentation.quality, arithmetic="float32 on cpu")
    stated = _seg(replace(run, segmentation=replace(run.segmentation, quality=quality)))
    for ds, known in ((_seg(run), False), (stated, True)):
        (algorithm,) = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
        assert ("arithmetic=float32 on cpu" in algorithm.AlgorithmParameters) is known
        assert ("arithmetic" in algorithm.AlgorithmParameters) is known


def test_the_algorithm_is_identified(tmp_path: Path) -> None:
    ds = _seg(make_run(tmp_path, _tumour(), axis_aligned("axial")))
    for item in ds.SegmentSequence:
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        (algorithm,) = item.SegmentationAlgorithmIdentificationSequence
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)
        assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
        assert MODEL.sha256 in algorithm.AlgorithmParameters
        assert "T1 T1CE T2 FLAIR" in algorithm.AlgorithmParameters
        assert f"inputs_sha256={PROVENANCE.manifest_sha256}" in algorithm.AlgorithmParameters
        assert f"settings_sha256={PROVENANCE.settings_sha256}" in algorithm.AlgorithmParameters
    assert ds.ManufacturerModelName == MODEL.name
    assert ds.DeviceSerialNumber == "TESTS"
    assert ds.SoftwareVersions == "0.1.0"


def test_the_object_belongs_to_study_patient_and_frame_of_reference_of_its_source(tmp_path: Path) -> None:
    run = make_run(tmp_path, _tumour(), axis_aligned("axial"))
    ds = _seg(run)
    assert ds.StudyInstanceUID == uid_of("study")
    assert ds.FrameOfReferenceUID == uid_of("frame of reference")
    assert ds.SeriesInstanceUID != run.source.instances[0].SeriesInstanceUID
    assert (ds.Rows, ds.Columns) == (9, 11)
    assert (ds.PatientID, str(ds.PatientName)) == ("TEST-1", "Phantom^Synthetic")
    (source,) = ds.ReferencedSeriesSequence
    assert source.SeriesInstanceUID == uid_of("source")
    referenced = {item.ReferencedSOPInstanceUID for item in source.ReferencedInstanceSequence}
    assert referenced == {uid_of("source", "instance", str(k)) for k in range(6)}
    assert (ds.SeriesNumber, ds.Modality) == (7701, "SEG")
    assert "research use only" in ds.SeriesDescription.lower()
    assert ds.ContentDescription == "Research use only. Not a medical device."


def test_each_frame_references_the_slice_it_lies_on(tmp_path: Path) -> None:
    run = make_run(tmp_path, _tumour(), axis_aligned("coronal"), [5, 3, 1, 0, 2, 4])
    positions = {str(ds.SOPInstanceUID): [float(v) for v in ds.ImagePositionPatient] for ds in run.source.instances}
    for item in _seg(run).PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = [float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient]
        assert at == pytest.approx(positions[str(reference)])


@pytest.mark.parametrize("values", [(1, 2, 3), (5,), (2,)])
def test_every_frame_names_its_segment_itself(tmp_path: Path, values: tuple[int, ...]) -> None:
    ds = _seg(make_run(tmp_path, _tumour(values), axis_aligned("axial")))
    assert "SegmentIdentificationSequence" not in ds.SharedFunctionalGroupsSequence[0]
    numbers = {
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber for item in ds.PerFrameFunctionalGroupsSequence
    }
    assert numbers == set(range(1, len(values) + 1))


def test_only_labels_that_occur_become_segments(tmp_path: Path) -> None:
    run = make_run(tmp_path, _tumour((3, 2)), axis_aligned("axial"))
    assert [int(label) for label in segment_labels(run.segmentation)] == [2, 3]
    assert [item.SegmentLabel for item in _seg(run).SegmentSequence] == ["Edema", "Enhancing tumor"]


def test_a_whole_tumour_has_a_segment_of_its_own(tmp_path: Path) -> None:
    ds = _seg(make_run(tmp_path, _tumour((5,)), axis_aligned("axial")))
    (segment,) = ds.SegmentSequence
    assert segment.SegmentLabel == "Whole tumor"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert segment.TrackingUID == tracking_uid(uid_of("study"), "WT")


def test_times_come_from_the_study_and_not_from_the_clock(tmp_path: Path) -> None:
    ds = _seg(make_run(tmp_path, _tumour(), axis_aligned("axial")))
    assert (ds.ContentDate, ds.InstanceCreationDate) == ("20240305", "20240305")
    assert ds.ContentTime.startswith("142536")
    assert ds.InstanceCreationTime == "142536"
    for item in ds.get("ContributingEquipmentSequence", []):
        assert item.ContributionDateTime.startswith(PROVENANCE.ready_at.strftime("%Y%m%d%H%M%S"))


@pytest.mark.dcmtk
@pytest.mark.parametrize("values", [(1, 2, 3), (5,)])
def test_dciodvfy_finds_no_error(tmp_path: Path, values: tuple[int, ...]) -> None:
    (tmp_path / "seg.dcm").write_bytes(
        make_run(tmp_path / "source", _tumour(values), axis_aligned("sagittal")).encode().objects[0].content
    )
    report = subprocess.run(
        ["dciodvfy", "-new", str(tmp_path / "seg.dcm")], capture_output=True, text=True, check=False
    )
    assert "Error" not in report.stdout + report.stderr
    assert "Segmentation" in report.stdout + report.stderr
