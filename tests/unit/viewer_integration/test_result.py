"""The objects of a run: the same again to the byte, other content under another UID, and proved before they leave."""

import io
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from conversion import values
from conversion.volume import Grid, LabelVolume
from inference.measurements import Findings, measure
from inference.segmentation import ModelIdentity
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices
from tests.support.hand_made_run import PROVENANCE, Run, make_run, run_of_files, segmentation_of
from tests.support.raw_values import put_raw
from viewer_integration.errors import ProofFailed, ResultReason
from viewer_integration.profile import ResultProfile, SegForm
from viewer_integration.result import _prove, _prove_report, decode_labels
from viewer_integration.segmentation_object import segment_labels


def _labels() -> NDArray[np.uint8]:
    labels = np.zeros((6, 9, 11), np.uint8)
    labels[1:5, 2:7, 3:9] = 2
    labels[2:4, 3:6, 4:7] = 1
    labels[3, 4, 5:7] = 3
    return labels


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), _labels(), axis_aligned("sagittal"), [2, 0, 5, 3, 1, 4])


def _relabelled(run: Run, labels: NDArray[np.uint8]) -> Run:
    segmentation = segmentation_of(LabelVolume(grid=run.segmentation.label_volume.grid, labels=labels))
    return replace(run, segmentation=segmentation, findings=measure(segmentation))


def _uids(run: Run) -> set[str]:
    return {uid for each in run.encode().objects for uid in (each.sop_instance_uid, each.series_uid)}


def test_seg_comes_before_the_sr_that_references_it(run: Run) -> None:
    results = run.encode()
    assert [each.kind for each in results.objects] == ["SEG", "SR"]
    assert results.decisions == ()
    for each in results.objects:
        ds = pydicom.dcmread(io.BytesIO(each.content))
        assert (ds.SOPClassUID, ds.SOPInstanceUID) == (each.sop_class_uid, each.sop_instance_uid)
        assert ds.SeriesInstanceUID == each.series_uid
        assert ds.file_meta.MediaStorageSOPInstanceUID == each.sop_instance_uid
        assert each.content[128:132] == b"DICM"


def test_a_repeat_is_the_same_to_the_byte(run: Run, tmp_path: Path) -> None:
    again = make_run(tmp_path, _labels(), axis_aligned("sagittal"))
    assert [each.content for each in run.encode().objects] == [each.content for each in again.encode().objects]


@pytest.mark.parametrize(
    "change",
    [
        {"manifest_sha256": "00" * 32},
        {"settings_sha256": "00" * 32},
        {"software_version": "0.1.1"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_provenance_makes_other_uids(run: Run, change: dict[str, str]) -> None:
    other = replace(run, provenance=replace(PROVENANCE, **change))  # type: ignore[arg-type]
    assert _uids(run).isdisjoint(_uids(other))


def test_another_model_makes_other_uids(run: Run) -> None:
    model = ModelIdentity(name="hand-made", version="3.2.1", sha256="ac" * 32)
    assert _uids(run).isdisjoint(_uids(replace(run, segmentation=replace(run.segmentation, model=model))))


def test_one_other_voxel_makes_other_uids(run: Run) -> None:
    labels = run.segmentation.label_volume.labels.copy()
    labels[0, 0, 0] = 2
    assert _uids(run).isdisjoint(_uids(_relabelled(run, labels)))


def test_voxels_moved_without_change_of_volume_make_other_uids(run: Run) -> None:
    labels = np.roll(run.segmentation.label_volume.labels, 1, axis=1)
    moved = _relabelled(run, labels)
    assert [f.volume_ml for f in moved.findings.regions] == [f.volume_ml for f in run.findings.regions]
    assert _uids(run).isdisjoint(_uids(moved))


def test_other_labels_make_another_report_even_under_the_same_findings(run: Run) -> None:
    moved = _relabelled(run, np.roll(run.segmentation.label_volume.labels, 1, axis=1))
    assert _uids(run).isdisjoint(_uids(replace(moved, findings=run.findings)))


def test_headers_in_another_order_than_the_labels_are_found_out(run: Run) -> None:
    with pytest.raises(ProofFailed, match="differs from the measured one"):
        replace(run, source=replace(run.source, images=run.source.images[::-1])).encode()


def test_the_hour_of_completeness_is_no_part_of_the_identity(run: Run) -> None:
    later = replace(PROVENANCE, ready_at=PROVENANCE.ready_at + timedelta(hours=1))
    assert _uids(run) == _uids(replace(run, provenance=later))


def test_nothing_found_gives_a_report_alone_and_says_why(run: Run) -> None:
    results = _relabelled(run, np.zeros_like(run.segmentation.label_volume.labels)).encode()
    assert [each.kind for each in results.objects] == ["SR"]
    (decision,) = results.decisions
    assert decision.code == "no_tumour"
    assert decision.reason.startswith("No tumour found.")


def test_what_breaks_the_standard_is_carried_as_it_is_and_said(run: Run) -> None:
    instances = deepcopy(run.source.instances)
    for ds in instances:
        put_raw(ds, "PatientSex", "CS", b"X ")
    results = replace(run, source=replace(run.source, instances=instances)).encode()
    assert [(decision.code, decision.subject) for decision in results.decisions] == [("header_kept", "PatientSex")]
    assert pydicom.dcmread(io.BytesIO(results.objects[0].content)).PatientSex == "X"


_WRITTEN = {
    "AccessionNumber": ("SH", b"RIS-2024-00012345-MR", "RIS-2024-00012345-MR"),
    "StudyID": ("SH", b"1.2.840.40823.1.1.1.198.14", "1.2.840.40823.1.1.1.198.14"),
    "StudyDate": ("DA", b"2019.02.01", "20190201"),
    "StudyTime": ("TM", b"14:16:45", "141645"),
    "StudyDescription": ("LO", b"d" * 70, "d" * 70),
    "PatientID": ("LO", b"TWO\\VALUES, AND A TEXT THAT IS LONGER THAN SIXTY-FOUR CHARACTERS ALLOW", None),
    "PatientName": ("PN", b"no caret, " + b"n" * 70, None),
    "PatientBirthDate": ("DA", b"about 1970", "about 1970"),
    "PatientAge": ("AS", b"9Y", "009Y"),
    "PatientWeight": ("DS", b"71,5", "71.5"),
    "ReferringPhysicianName": ("PN", b"Dr. House", "Dr. House"),
}
"""What stands in the images of an archive, and what results then say."""


@pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length", "ignore:Value")
@pytest.mark.parametrize("withheld", ["", "the patient is a child"])
def test_results_say_of_study_and_patient_what_their_images_say(
    run: Run, withheld: str, caplog: pytest.LogCaptureFixture
) -> None:
    instances = deepcopy(run.source.instances)
    for ds in instances:
        for keyword, (vr, value, _) in _WRITTEN.items():
            put_raw(ds, keyword, vr, value)
    findings = Findings(regions=(), withheld=withheld) if withheld else run.findings
    results = replace(run, source=replace(run.source, instances=instances), findings=findings).encode()
    assert [each.kind for each in results.objects] == (["SR"] if withheld else ["SEG", "SR"])
    for each in results.objects:
        ds = pydicom.dcmread(io.BytesIO(each.content))
        for keyword, (_, value, said) in _WRITTEN.items():
            assert values.written(ds, keyword) == (value.decode() if said is None else said), keyword
    assert {decision.code for decision in results.decisions} == {"header_kept"}
    assert "no caret" not in caplog.text


@pytest.mark.parametrize("vr", ["US", "SQ", "OB", "UN"])
@pytest.mark.parametrize("keyword", ["PatientName", "StudyTime", "PatientAge", "OtherPatientIDsSequence", "Modality"])
def test_no_value_of_study_or_patient_ends_the_encoding(run: Run, keyword: str, vr: str) -> None:
    instances = deepcopy(run.source.instances)
    for ds in instances:
        put_raw(ds, keyword, vr, b"\1\2\3")
    objects = replace(run, source=replace(run.source, instances=instances)).encode().objects
    assert len(objects) == 2


@pytest.mark.parametrize("uids", ["each", "none"])
def test_images_without_one_frame_of_reference_get_results_in_one(tmp_path: Path, uids: str) -> None:
    slices = mr_slices(_labels().astype(np.uint16) * 100, axis_aligned("axial"), "source")
    for k, ds in enumerate(slices):
        if uids == "each":
            ds.FrameOfReferenceUID = f"1.2.{k + 1}"
        else:
            del ds.FrameOfReferenceUID
    made = run_of_files(write_slices(tmp_path, slices))
    seg = pydicom.dcmread(io.BytesIO(made.encode().objects[0].content))
    assert seg.FrameOfReferenceUID == made.segmentation.label_volume.grid.frame_of_reference_uid != ""


def test_a_result_lies_in_the_frame_of_reference_of_its_grid(run: Run) -> None:
    instances = deepcopy(run.source.instances)
    for ds in instances:
        del ds.FrameOfReferenceUID
    result = replace(run, source=replace(run.source, instances=instances)).encode().objects[0]
    grid = run.segmentation.label_volume.grid
    assert pydicom.dcmread(io.BytesIO(result.content)).FrameOfReferenceUID == grid.frame_of_reference_uid


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller-Lüdenscheidt^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 192", "Großmann^Zoë=山田^太郎"),
    ],
)
def test_names_that_are_not_ascii_survive_in_seg_and_sr(tmp_path: Path, character_set: object, name: str) -> None:
    run = make_run(tmp_path, _labels(), axis_aligned("axial"), SpecificCharacterSet=character_set, PatientName=name)
    for each in run.encode().objects:
        assert str(pydicom.dcmread(io.BytesIO(each.content)).PatientName) == name
        assert name.encode() in each.content


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_uids_with_leading_zeros_are_referred_to_as_they_are(tmp_path: Path) -> None:
    """Archives of the nineties hold such UIDs (PS3.5 9.1 forbids them); nobody would find the images by others."""
    run = make_run(
        tmp_path, _labels(), axis_aligned("axial"), StudyInstanceUID="1.2.03.4", SeriesInstanceUID="1.2.0.05"
    )
    seg, report = (pydicom.dcmread(io.BytesIO(each.content)) for each in run.encode().objects)
    assert (seg.StudyInstanceUID, report.StudyInstanceUID) == ("1.2.03.4", "1.2.03.4")
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.0.05"


def test_orientations_that_differ_in_the_last_digit_are_one(tmp_path: Path) -> None:
    slices = mr_slices(_labels().astype(np.uint16) * 100, axis_aligned("axial"), "source")
    for k, ds in enumerate(slices):
        ds.ImageOrientationPatient = [1, k * 1e-6, 0, 0, 1, 0]
    run = run_of_files(write_slices(tmp_path, slices))
    (seg, *_) = run.encode().objects
    shared = pydicom.dcmread(io.BytesIO(seg.content)).SharedFunctionalGroupsSequence[0]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == pytest.approx(
        [1, 0, 0, 0, 1, 0], abs=1e-4
    )
    labels = run.segmentation.label_volume
    assert np.array_equal(decode_labels(seg.content, labels.grid, (1, 2, 3)), labels.labels)


@pytest.mark.parametrize("stated", ["5.0", None])
def test_the_distance_of_slices_is_that_of_their_positions(tmp_path: Path, stated: str | None) -> None:
    run = make_run(tmp_path, _labels(), axis_aligned("axial"), None, SpacingBetweenSlices=stated, SliceThickness=stated)
    results = run.encode()
    measures = pydicom.dcmread(io.BytesIO(results.objects[0].content)).SharedFunctionalGroupsSequence[0]
    measures = measures.PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (3.0, 5.0 if stated else 3.0)
    assert [decision.code for decision in results.decisions] == ([] if stated else ["thickness_assumed"])


def _tampered(run: Run, tamper: Callable[[Dataset], None]) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(run.encode().objects[0].content))
    tamper(ds)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def _one_bit(ds: Dataset) -> None:
    pixels = bytearray(ds.PixelData)
    pixels[len(pixels) // 2] ^= 1
    ds.PixelData = bytes(pixels)


def _frame_moved(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence[0].ImagePositionPatient[0] += 1.0


def _frames_exchanged(ds: Dataset) -> None:
    first, second = (ds.PerFrameFunctionalGroupsSequence[k].PlanePositionSequence[0] for k in (0, 1))
    first.ImagePositionPatient, second.ImagePositionPatient = second.ImagePositionPatient, first.ImagePositionPatient


def _segments_exchanged(ds: Dataset) -> None:
    for item in ds.PerFrameFunctionalGroupsSequence:
        (number,) = item.SegmentIdentificationSequence
        number.ReferencedSegmentNumber = {1: 2, 2: 1, 3: 3}[number.ReferencedSegmentNumber]


def _frame_outside(ds: Dataset) -> None:
    position = ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    position[0] -= 600.0


def _other_frame_of_reference(ds: Dataset) -> None:
    ds.FrameOfReferenceUID = "1.2.3.4"


def _mirrored(ds: Dataset) -> None:
    cosines = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    cosines[:3] = [-value for value in cosines[:3]]


def _turned(ds: Dataset) -> None:
    plane = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    plane.ImageOrientationPatient = [*plane.ImageOrientationPatient[3:], *plane.ImageOrientationPatient[:3]]


def _stretched(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.25, 1.5]


def _transposed(ds: Dataset) -> None:
    ds.Rows, ds.Columns = ds.Columns, ds.Rows


@pytest.mark.parametrize(
    "tamper",
    [
        _one_bit,
        _frame_moved,
        _frames_exchanged,
        _segments_exchanged,
        _frame_outside,
        _other_frame_of_reference,
        _mirrored,
        _turned,
        _stretched,
        _transposed,
    ],
    ids=lambda tamper: tamper.__name__.strip("_"),
)
def test_the_proof_refuses_a_tampered_object(run: Run, tamper: Callable[[Dataset], None]) -> None:
    with pytest.raises(ProofFailed) as caught:
        _prove(_tampered(run, tamper), run.segmentation)
    assert caught.value.reason is ResultReason.PROOF_FAILED


def test_the_proof_accepts_the_object_and_the_refusal_counts_the_voxels(run: Run) -> None:
    _prove(_tampered(run, lambda _: None), run.segmentation)
    with pytest.raises(ProofFailed, match="in 1 voxels"):
        _prove(_tampered(run, _one_bit), run.segmentation)


def test_the_proof_refuses_a_report_with_another_volume(run: Run) -> None:
    content = run.encode().objects[-1].content
    findings = measure(run.segmentation)
    _prove_report(content, findings)
    first = findings.regions[0]
    other = Findings(regions=(replace(first, volume_ml=first.volume_ml + 0.01), *findings.regions[1:]))
    with pytest.raises(ProofFailed, match="report"):
        _prove_report(content, other)


def test_labels_are_decoded_by_positions_onto_the_grid(run: Run) -> None:
    content = run.encode().objects[0].content
    grid = run.segmentation.label_volume.grid
    assert np.array_equal(decode_labels(content, grid, (1, 2, 3)), run.segmentation.label_volume.labels)
    assert np.array_equal(decode_labels(content, grid, (7, 8, 9)) > 0, run.segmentation.label_volume.labels > 0)


def test_labels_are_not_decoded_onto_another_grid(run: Run) -> None:
    content = run.encode().objects[0].content
    grid = run.segmentation.label_volume.grid
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, 0] / 2
    shifted = Grid(shape=grid.shape, affine=affine, frame_of_reference_uid=grid.frame_of_reference_uid)
    with pytest.raises(ProofFailed, match=r"1\.50 mm off"):
        decode_labels(content, shifted, (1, 2, 3))


def test_a_label_map_holds_the_same_voxels_under_other_uids(run: Run) -> None:
    profile = ResultProfile(seg_form=SegForm.LABELMAP, seg_series=99)
    wanted = replace(run, provenance=replace(run.provenance, profile=profile)).encode()
    usual = run.encode()
    assert {one.sop_instance_uid for one in wanted.objects}.isdisjoint(one.sop_instance_uid for one in usual.objects)
    ds = pydicom.dcmread(io.BytesIO(wanted.objects[0].content))
    assert (ds.SegmentationType, ds.SeriesNumber) == ("LABELMAP", 99)
    volume, labels = run.segmentation.label_volume, segment_labels(run.segmentation)
    assert np.array_equal(decode_labels(wanted.objects[0].content, volume.grid, labels), volume.labels)
    assert set(np.unique(volume.labels)) == {0, 1, 2, 3}


def test_a_patient_that_was_corrected_makes_other_objects(run: Run) -> None:
    corrected = replace(run, provenance=replace(run.provenance, patient_sha256="12" * 32)).encode()
    before = {one.sop_instance_uid for one in run.encode().objects}
    assert before.isdisjoint(one.sop_instance_uid for one in corrected.objects)


@pytest.mark.parametrize(
    ("stated", "written", "hour"),
    [
        ("+0900", "+0900", "232536"),
        ("-0330", "-0330", "105536"),
        ("", None, "142536"),
        ("+9", None, "142536"),
        ("+2300", None, "142536"),
    ],
)
def test_times_are_those_of_the_zone_that_the_images_state(
    run: Run, stated: str, written: str | None, hour: str
) -> None:
    source = deepcopy(run.source)
    for ds in source.instances:
        ds.add_new("TimezoneOffsetFromUTC", "SH", stated)
    for ds in (pydicom.dcmread(io.BytesIO(each.content)) for each in replace(run, source=source).encode().objects):
        assert ds.get("TimezoneOffsetFromUTC") == written
        assert [ds[keyword].value[:6] for keyword in ("ContentTime", "InstanceCreationTime")] == [hour] * 2
        assert ds.StudyTime == run.source.instances[0].StudyTime


def test_images_of_two_zones_state_none(run: Run) -> None:
    source = deepcopy(run.source)
    for number, ds in enumerate(source.instances):
        ds.TimezoneOffsetFromUTC = "+0200" if number else "+0100"
    for ds in (pydicom.dcmread(io.BytesIO(each.content)) for each in replace(run, source=source).encode().objects):
        assert (ds.get("TimezoneOffsetFromUTC"), ds.ContentTime[:6]) == (None, "142536")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_segmentation_that_lies_further_from_its_slices_than_a_stack_may_is_found_out(run: Run, axis: int) -> None:
    content = run.encode().objects[0].content
    grid = run.segmentation.label_volume.grid
    direction = grid.affine[:3, axis] / np.linalg.norm(grid.affine[:3, axis])
    for off_mm, fits in ((0.1, True), (0.2, False)):
        affine = grid.affine.copy()
        affine[:3, 3] += off_mm * direction
        shifted = Grid(shape=grid.shape, affine=affine, frame_of_reference_uid=grid.frame_of_reference_uid)
        if fits:
            assert np.array_equal(decode_labels(content, shifted, (1, 2, 3)), run.segmentation.label_volume.labels)
        else:
            with pytest.raises(ProofFailed, match=r"0\.20 mm off"):
                decode_labels(content, shifted, (1, 2, 3))


def test_slices_that_drift_as_far_as_a_stack_may_are_proven(tmp_path: Path) -> None:
    affine = axis_aligned("sagittal")
    slices = mr_slices(_labels().astype(np.uint16) * 100, affine, "drifting")
    aside = affine[:3, 2] / np.linalg.norm(affine[:3, 2])
    for ds in slices[1:-1:2]:
        ds.ImagePositionPatient = list(np.asarray(ds.ImagePositionPatient, float) + 0.095 * aside)
    drifting = run_of_files(write_slices(tmp_path, slices))
    content = drifting.encode().objects[0].content
    assert np.array_equal(
        decode_labels(content, drifting.segmentation.label_volume.grid, (1, 2, 3)),
        drifting.segmentation.label_volume.labels,
    )
