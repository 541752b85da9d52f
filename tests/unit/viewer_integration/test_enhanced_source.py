"""Results on enhanced multi-frame references: each frame of the SEG names the source frame that it lies on."""

import io
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage

from conversion.reading import dicom_files, read_series, read_study
from conversion.volume import LabelVolume
from tests.support.dicom_series import axis_aligned, uid_of
from tests.support.enhanced_series import enhanced_instance
from tests.support.hand_made_run import Run, make_run, run_of_files, run_of_labels
from tests.support.seg_reading import seg_labels
from tests.support.strategies import affines
from viewer_integration.errors import ProofFailed
from viewer_integration.result import _prove_references

SLICES = 6
SEQUENCES = ("SourceImageSequence", "ReferencedInstanceSequence")
LAYOUTS: dict[str, tuple[list[int], ...]] = {
    "one instance": ([0, 1, 2, 3, 4, 5],),
    "frames in another order": ([4, 1, 5, 0, 3, 2],),
    "two instances": ([0, 1, 2], [3, 4, 5]),
    "two instances, interleaved": ([5, 1, 3], [0, 4, 2]),
    "an instance for each slice": ([2], [0], [1], [5], [4], [3]),
}


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros((SLICES, 9, 11), np.uint8)
    labels[1:5, 2:7, 3:9] = 2
    labels[2:4, 3:6, 4:7] = 1
    labels[3, 4, 5:7] = 3
    return labels


def _write(folder: Path, instances: Sequence[Dataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for ds in instances:
        ds.save_as(folder / f"{ds.InstanceNumber}.dcm", enforce_file_format=True)
    return dicom_files(folder)


def _run(folder: Path, layout: str, affine: NDArray[np.float64], *, spread: bool = False) -> Run:
    """Return a run over frames whose pixels are the labels, distributed over instances."""
    pixels = _labels().astype(np.uint16) * 100
    instances = [
        enhanced_instance(pixels, affine, order=order, number=number, spread=spread)
        for number, order in enumerate(LAYOUTS[layout], start=1)
    ]
    return run_of_files(_write(folder, instances))


def _echo_run(folder: Path, affine: NDArray[np.float64]) -> Run:
    """Return a run over the second of two echoes whose frames alternate in one instance."""
    labels = _labels().astype(np.uint16)
    pixels = np.stack([np.full_like(labels, 700), labels * 100])
    order = [image for k in (3, 0, 5, 1, 4, 2) for image in (k, SLICES + k)]
    instance = enhanced_instance(pixels, affine, order=order, echo_times_ms=(20.0, 90.0))
    return run_of_files(_write(folder, [instance]), part="echo 90 ms")


def _objects(run: Run) -> tuple[Dataset, Dataset]:
    seg, report = (pydicom.dcmread(io.BytesIO(each.content)) for each in run.encode().objects)
    return seg, report


def _named_positions(run: Run, seg: Dataset) -> list[tuple[list[float], list[float]]]:
    """Return for each frame of a SEG its position, and that of the source frame that it names."""
    instances = {str(ds.SOPInstanceUID): ds for ds in run.source.instances}
    pairs = []
    for item in seg.PerFrameFunctionalGroupsSequence:
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPClassUID == EnhancedMRImageStorage
        instance = instances[str(reference.ReferencedSOPInstanceUID)]
        source = instance.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
        pairs.append(
            (
                [float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient],
                [float(v) for v in source.PlanePositionSequence[0].ImagePositionPatient],
            )
        )
    return pairs


def _check(run: Run, affine: NDArray[np.float64]) -> Dataset:
    """Hold a run's SEG against the labels and against the frames that it names; return it."""
    seg, _ = _objects(run)
    assert np.array_equal(seg_labels(seg, affine, _labels().shape), _labels())
    assert all(at == named for at, named in _named_positions(run, seg))
    return seg


def _organisation(seg: Dataset) -> list[object]:
    pointers = [int(item.DimensionIndexPointer) for item in seg.DimensionIndexSequence]
    values = [list(item.FrameContentSequence[0].DimensionIndexValues) for item in seg.PerFrameFunctionalGroupsSequence]
    return [pointers, values, seg.get("DimensionOrganizationType")]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spread", [False, True])
def test_a_frame_of_the_seg_names_the_frame_it_lies_on(tmp_path: Path, layout: str, *, spread: bool) -> None:
    affine = axis_aligned("sagittal")
    seg = _check(_run(tmp_path, layout, affine, spread=spread), affine)
    assert seg.FrameOfReferenceUID == uid_of("frame of reference")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == uid_of("enhanced")


@given(affines(), st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_in_any_orientation_the_patient_has_the_labels_where_they_were_drawn(
    tmp_path_factory: pytest.TempPathFactory, affine: NDArray[np.float64], layout: str
) -> None:
    _check(_run(tmp_path_factory.mktemp("run"), layout, affine), affine)


def test_only_the_frames_of_the_volume_are_named(tmp_path: Path) -> None:
    affine = axis_aligned("coronal")
    run = _echo_run(tmp_path, affine)
    seg = _check(run, affine)
    (source,) = seg.SourceImageSequence
    frames = run.source.instances[0].PerFrameFunctionalGroupsSequence
    assert sorted(source.ReferencedFrameNumber) == [2, 4, 6, 8, 10, 12]
    assert {frames[n - 1].MREchoSequence[0].EffectiveEchoTime for n in source.ReferencedFrameNumber} == {90.0}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_instance_is_named_once(tmp_path: Path, layout: str) -> None:
    run = _run(tmp_path, layout, axis_aligned("axial"))
    seg, report = _objects(run)
    expected = {str(ds.SOPInstanceUID) for ds in run.source.instances}
    (series,) = seg.ReferencedSeriesSequence
    for sequence in (series.ReferencedInstanceSequence, seg.SourceImageSequence):
        assert len(sequence) == len(expected) == len(LAYOUTS[layout])
        assert {str(item.ReferencedSOPInstanceUID) for item in sequence} == expected
        assert {str(item.ReferencedSOPClassUID) for item in sequence} == {EnhancedMRImageStorage}
    evidence = [
        str(item.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert sorted(evidence) == sorted([*expected, str(seg.SOPInstanceUID)])


def test_frames_are_organised_as_with_classic_images(tmp_path: Path) -> None:
    affine = axis_aligned("axial")
    classic, _ = _objects(make_run(tmp_path / "classic", _labels(), affine))
    enhanced, _ = _objects(_run(tmp_path / "enhanced", "frames in another order", affine))
    assert _organisation(enhanced) == _organisation(classic)
    assert enhanced.PixelData == classic.PixelData
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        assert enhanced.SharedFunctionalGroupsSequence[0][keyword] == classic.SharedFunctionalGroupsSequence[0][keyword]


def test_a_repeat_is_the_same_to_the_byte_and_another_echo_is_another_object(tmp_path: Path) -> None:
    affine = axis_aligned("axial")
    run, again = (_run(tmp_path / name, "two instances", affine) for name in ("first", "second"))
    assert [each.content for each in run.encode().objects] == [each.content for each in again.encode().objects]
    pixels = np.stack([_labels(), _labels()]).astype(np.uint16) * 100
    paths = _write(tmp_path / "echoes", [enhanced_instance(pixels, affine, echo_times_ms=(20.0, 90.0))])
    first, second = (run_of_files(paths, part).encode().objects[0] for part in ("echo 20 ms", "echo 90 ms"))
    assert first.sop_instance_uid != second.sop_instance_uid


@pytest.mark.parametrize("wrong", ["ReferencedFrameNumber", "ReferencedSOPInstanceUID"])
def test_the_proof_refuses_a_frame_that_names_another(tmp_path: Path, wrong: str) -> None:
    run = _run(tmp_path, "two instances, interleaved", axis_aligned("axial"))
    seg, _ = _objects(run)
    grid = run.segmentation.label_volume.grid
    _prove_references(run.encode().objects[0].content, run.source, grid)
    first, *others = (
        item.DerivationImageSequence[0].SourceImageSequence[0] for item in seg.PerFrameFunctionalGroupsSequence
    )
    first[wrong] = next(other[wrong] for other in others if other[wrong] != first[wrong])
    buffer = io.BytesIO()
    seg.save_as(buffer)
    with pytest.raises(ProofFailed, match="references another image"):
        _prove_references(buffer.getvalue(), run.source, grid)


def test_nothing_found_is_reported_on_enhanced_images_too(tmp_path: Path) -> None:
    run = _run(tmp_path, "one instance", axis_aligned("axial"))
    (series,) = read_study(dicom_files(tmp_path)).series
    empty = LabelVolume(grid=run.segmentation.label_volume.grid, labels=np.zeros_like(_labels()))
    (report,) = run_of_labels(series, empty).encode().objects
    assert report.kind == "SR"


def test_a_source_without_slice_thickness_says_the_distance_of_its_slices(tmp_path: Path) -> None:
    instance = enhanced_instance(_labels().astype(np.uint16) * 100, axis_aligned("axial"))
    del instance.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    run = run_of_files(_write(tmp_path, [instance]))
    results = run.encode()
    assert [decision.code for decision in results.decisions] == ["thickness_assumed"]
    measures = _objects(run)[0].SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SliceThickness) == float(measures.SpacingBetweenSlices) == 3.0


def _errors(path: Path) -> list[str]:
    report = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (report.stdout + report.stderr).splitlines()
    assert any(name in line for line in lines for name in ("EnhancedMRImage", "Segmentation", "Comprehensive3DSR"))
    return [line for line in lines if "Error" in line]


@pytest.mark.dcmtk
@pytest.mark.parametrize("layout", ["one instance", "two instances, interleaved", "two echoes"])
def test_dciodvfy_finds_no_error_in_source_seg_and_report(tmp_path: Path, layout: str) -> None:
    source, affine = tmp_path / "source", axis_aligned("coronal")
    run = _echo_run(source, affine) if layout == "two echoes" else _run(source, layout, affine, spread=True)
    for each in run.encode().objects:
        (tmp_path / f"{each.kind}.dcm").write_bytes(each.content)
    assert [_errors(path) for path in (*dicom_files(source), tmp_path / "SEG.dcm", tmp_path / "SR.dcm")] == [
        [] for _ in range(len(run.source.instances) + 2)
    ]


@pytest.mark.data
@pytest.mark.dcmtk
@pytest.mark.filterwarnings("ignore:The string .* is unlikely to represent the intended person name")
@pytest.mark.parametrize("case", ["philips_enhanced/001", "philips_enhanced/001_implicit", "siemens_enhanced/001"])
def test_results_on_enhanced_images_of_real_scanners_are_valid(tmp_path: Path, shared_data: Path, case: str) -> None:
    instances = [pydicom.dcmread(path) for path in dicom_files(shared_data / "dicom" / "vendors" / case)]
    for number, ds in enumerate(instances):
        ds.FrameOfReferenceUID = uid_of("frame of reference")  # taken away with the patient's identity
        ds.save_as(tmp_path / f"{number}.dcm")
    series = read_study(dicom_files(tmp_path)).series[0]
    grid = read_series(series).grid
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:3, 10:20, 12:25] = 2
    labels[2, 12:16, 14:20] = 3
    run = run_of_labels(series, LabelVolume(grid=grid, labels=labels))
    seg, _ = _objects(run)
    assert all(at == named for at, named in _named_positions(run, seg))
    assert np.array_equal(seg_labels(seg, grid.affine, grid.shape), labels)
    for each in run.encode().objects:
        result = tmp_path / f"{each.kind}.dcm"
        result.write_bytes(each.content)
        assert _errors(result) == []


def test_a_run_keeps_its_enhanced_source_apart_from_its_labels(tmp_path: Path) -> None:
    run = _run(tmp_path, "two instances", axis_aligned("axial"))
    turned = replace(run, source=replace(run.source, images=run.source.images[::-1]))
    with pytest.raises(ProofFailed, match="differs from the measured one"):
        turned.encode()
