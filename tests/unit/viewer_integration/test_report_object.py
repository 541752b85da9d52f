"""The SR: its numbers are those of the findings, its groups point at the segments, and it claims nothing."""

import io
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom import sr
from numpy.typing import NDArray
from pydicom import Dataset

from conversion.decision import Decision
from inference.flags import Flag, FlagCode
from inference.measurements import Findings, RegionFinding, measure
from inference.regions import Region
from tests.support.dicom_series import axis_aligned, uid_of
from tests.support.hand_made_run import MODEL, PROVENANCE, Run, make_run
from viewer_integration.identifiers import tracking_uid
from viewer_integration.report_object import VOLUME_DECIMALS


def _labels(value: int | None = None) -> NDArray[np.uint8]:
    """Return a tumour of three parts, or of one value."""
    labels = np.zeros((6, 9, 11), np.uint8)
    labels[1:5, 2:7, 3:9] = 2
    labels[2:4, 3:6, 4:7] = 1
    labels[3, 4, 5:7] = 3
    return labels if value is None else np.where(labels > 0, value, 0).astype(np.uint8)


def _report(run: Run) -> Dataset:
    (report,) = [each for each in run.encode().objects if each.kind == "SR"]
    return pydicom.dcmread(io.BytesIO(report.content))


def _items(ds: Dataset, name: str) -> Iterator[Dataset]:
    """Walk the tree and yield items by the code value of their concept name."""
    for item in ds.get("ContentSequence", []):
        if "ConceptNameCodeSequence" in item and item.ConceptNameCodeSequence[0].CodeValue == name:
            yield item
        yield from _items(item, name)


def _groups(ds: Dataset) -> dict[str, Dataset]:
    """Return the measurement groups by their tracking identifier."""
    groups = list(_items(ds, "125007"))
    return {str(next(_items(group, "112039")).TextValue): group for group in groups}


def _volume(group: Dataset) -> tuple[float, str]:
    (item,) = _items(group, "118565006")
    (value,) = item.MeasuredValueSequence
    return float(value.NumericValue), str(value.MeasurementUnitsCodeSequence[0].CodeValue)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"), _labels(), axis_aligned("coronal"))


@pytest.fixture(scope="module")
def report(run: Run) -> Dataset:
    return _report(run)


def test_the_root_is_an_oncology_measurement_report_of_tid_1500(report: Dataset) -> None:
    assert report.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert report.ConceptNameCodeSequence[0].CodeValue == "126001"
    assert report.ConceptNameCodeSequence[0].CodingSchemeDesignator == "DCM"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert not list(_items(report, "111028")), "an image library only fills the viewer's page"


def test_volumes_are_those_of_the_findings_in_millilitres(run: Run, report: Dataset) -> None:
    names = {
        "GlioNode Necrotic core": Region.NCR,
        "GlioNode Edema": Region.ED,
        "GlioNode Enhancing tumor": Region.ET,
        "GlioNode Whole tumor": Region.WT,
        "GlioNode Tumor core": Region.TC,
    }
    groups = _groups(report)
    assert set(groups) == set(names)
    voxel_ml = 3.0 * 1.5 * 1.25 / 1000
    voxels = {Region.NCR: 16, Region.ED: 102, Region.ET: 2, Region.WT: 120, Region.TC: 18}
    for name, region in names.items():
        value, unit = _volume(groups[name])
        assert unit == "ml"
        assert value == round(run.findings.of(region).volume_ml, VOLUME_DECIMALS)
        assert value == pytest.approx(voxels[region] * voxel_ml, abs=0.0005)


def test_a_large_volume_keeps_its_microlitres(run: Run) -> None:
    large = RegionFinding(region=Region.WT, voxels=9, volume_ml=123.456789, centroid_mm=None)
    rest = tuple(finding for finding in run.findings.regions if finding.region is not Region.WT)
    report = _report(replace(run, findings=Findings(regions=(*rest, large))))
    assert _volume(_groups(report)["GlioNode Whole tumor"])[0] == 123.457


def test_groups_with_a_segment_reference_it_and_unions_do_not(run: Run, report: Dataset) -> None:
    seg = run.encode().objects[0]
    numbers = {}
    for name, group in _groups(report).items():
        references = [
            item.ReferencedSOPSequence[0]
            for item in group.ContentSequence
            if item.ValueType == "IMAGE" and item.ConceptNameCodeSequence[0].CodeValue == "121191"
        ]
        for reference in references:
            assert reference.ReferencedSOPInstanceUID == seg.sop_instance_uid
            numbers[name] = reference.ReferencedSegmentNumber
    assert numbers == {"GlioNode Necrotic core": 1, "GlioNode Edema": 2, "GlioNode Enhancing tumor": 3}


def test_tracking_uids_are_those_of_the_segments(run: Run, report: Dataset) -> None:
    seg = pydicom.dcmread(io.BytesIO(run.encode().objects[0].content))
    in_seg = {str(item.TrackingID): str(item.TrackingUID) for item in seg.SegmentSequence}
    in_sr = {name: str(next(_items(group, "112040")).UID) for name, group in _groups(report).items()}
    assert in_seg.items() <= in_sr.items()
    assert in_sr["GlioNode Tumor core"] == tracking_uid(uid_of("study"), "TC")
    assert len(set(in_sr.values())) == 5


def test_findings_are_coded_as_their_segments_are(report: Dataset) -> None:
    codes = {
        name: next(_items(group, "121071")).ConceptCodeSequence[0].CodeValue for name, group in _groups(report).items()
    }
    assert codes == {
        "GlioNode Necrotic core": "6574001",
        "GlioNode Edema": "79654002",
        "GlioNode Enhancing tumor": "C113842",
        "GlioNode Whole tumor": "108369006",
        "GlioNode Tumor core": "TC",
    }
    for group in _groups(report).values():
        assert next(_items(group, "363698007")).ConceptCodeSequence[0].CodeValue == "12738006"


def test_it_is_unverified_and_says_what_it_is(report: Dataset) -> None:
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert report.PreliminaryFlag == "PRELIMINARY"
    (comment,) = (item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121106")
    assert comment.TextValue.startswith("Research use only. Not a medical device.")
    assert "not verified by a person" in comment.TextValue
    assert f"{MODEL.name} {MODEL.version} (SHA-256 {MODEL.sha256})" in comment.TextValue
    assert "from T1, T1CE, T2, FLAIR." in comment.TextValue
    assert f"inputs SHA-256 {PROVENANCE.manifest_sha256}" in comment.TextValue
    assert f"settings SHA-256 {PROVENANCE.settings_sha256}" in comment.TextValue
    assert "research use only" in report.SeriesDescription


def test_the_observer_is_a_device(report: Dataset) -> None:
    assert next(_items(report, "121005")).ConceptCodeSequence[0].CodeValue == "121007"
    assert next(_items(report, "121013")).TextValue == "GlioNode"
    assert next(_items(report, "121016")).TextValue == "TESTS"
    for group in _groups(report).values():
        assert next(_items(group, "111001")).TextValue == MODEL.name
        assert next(_items(group, "111003")).TextValue == MODEL.version


def test_it_lists_what_it_rests_on(run: Run, report: Dataset) -> None:
    seg = run.encode().objects[0]
    evidence = {
        item.ReferencedSOPInstanceUID
        for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report.get(name, [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert seg.sop_instance_uid in evidence
    assert {str(ds.SOPInstanceUID) for ds in run.source.instances} <= evidence
    assert (report.StudyInstanceUID, report.SeriesNumber, report.Modality) == (uid_of("study"), 7702, "SR")
    assert report.SeriesInstanceUID not in {seg.series_uid, run.source.instances[0].SeriesInstanceUID}


def test_a_whole_tumour_alone_is_one_group_with_its_segment(tmp_path: Path) -> None:
    groups = _groups(_report(make_run(tmp_path, _labels(5), axis_aligned("axial"))))
    assert set(groups) == {"GlioNode Whole tumor"}
    (image,) = (
        item
        for item in groups["GlioNode Whole tumor"].ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121191"
    )
    assert image.ReferencedSOPSequence[0].ReferencedSegmentNumber == 1


def test_nothing_found_is_reported_as_zero_for_every_region(tmp_path: Path) -> None:
    groups = _groups(_report(make_run(tmp_path, np.zeros((6, 9, 11), np.uint8), axis_aligned("axial"))))
    assert len(groups) == 5
    assert {_volume(group) for group in groups.values()} == {(0.0, "ml")}


@pytest.mark.dcmtk
@pytest.mark.parametrize("value", [None, 5, 0])
def test_dciodvfy_finds_no_error(tmp_path: Path, value: int | None) -> None:
    objects = make_run(tmp_path / "source", _labels(value), axis_aligned("axial")).encode().objects
    (tmp_path / "sr.dcm").write_bytes(objects[-1].content)
    report = subprocess.run(["dciodvfy", "-new", str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=False)
    assert "Error" not in report.stdout + report.stderr
    assert "Comprehensive3DSR" in report.stdout + report.stderr


ROLES = (
    Decision(code="role", subject="series 901", reason="T1: TR 560 ms and TE 12 ms"),
    Decision(code="not_used", subject="series 303", reason="not used: ADC"),
    Decision(code="role", subject="series 1201 (echo 20 ms)", reason="T1CE: protocol of series 901, 21 min later, µ"),
)


def test_it_says_which_series_served_as_which_sequence_and_why(run: Run) -> None:
    report = _report(replace(run, selection=ROLES))
    (section,) = (item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "C0034375")
    assert (section.ValueType, section.RelationshipType) == ("CONTAINER", "CONTAINS")
    assert [(item.ValueType, item.RelationshipType) for item in section.ContentSequence] == [("TEXT", "CONTAINS")] * 2
    assert [item.TextValue for item in section.ContentSequence] == [
        "series 901 - T1: TR 560 ms and TE 12 ms",
        "series 1201 (echo 20 ms) - T1CE: protocol of series 901, 21 min later, µ",
    ]
    names = {item.ConceptNameCodeSequence[0].CodingSchemeDesignator for item in section.ContentSequence}
    assert names == {"99GLIONODE"}


def test_without_roles_there_is_no_section_for_them(report: Dataset) -> None:
    assert not list(_items(report, "C0034375"))


def test_roles_belong_to_the_identity_of_the_report_and_not_of_the_segmentation(run: Run) -> None:
    told = replace(run, selection=ROLES)
    other = replace(run, selection=(replace(ROLES[0], reason="T1: by its pixels"), *ROLES[1:]))
    segs, reports = zip(*(each.encode().objects for each in (run, told, other)), strict=True)
    assert len({seg.content for seg in segs}) == 1
    assert len({report.sop_instance_uid for report in reports}) == 3
    unused = replace(run, selection=(ROLES[0], replace(ROLES[1], reason="not used: DWI"), ROLES[2]))
    assert unused.encode().objects[1].content == reports[1].content


@pytest.mark.dcmtk
def test_other_readers_show_the_roles_and_find_no_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(replace(run, selection=ROLES).encode().objects[-1].content)
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr
    for program in (["dsrdump", "+Pl"], ["dsr2html"]):
        shown = subprocess.run([*program, str(path)], capture_output=True, check=True)
        assert b"series 901 - T1: TR 560 ms and TE 12 ms" in shown.stdout
        assert b"E: " not in shown.stderr


def test_highdicom_reads_the_measurements_beside_the_roles(run: Run) -> None:
    report = sr.Comprehensive3DSR.from_dataset(_report(replace(run, selection=ROLES)))
    groups = report.content.get_volumetric_roi_measurement_groups()
    assert [group.get_measurements()[0].value for group in groups] == [
        round(finding.volume_ml, VOLUME_DECIMALS) for finding in run.findings.regions[:3]
    ]


def test_flags_and_intervals_are_said_in_words_and_belong_to_the_identity(run: Run, tmp_path: Path) -> None:
    flag = Flag(code=FlagCode.SMALL_LESION, sentence="the whole tumour has 0.40 ml")
    regions = tuple(replace(finding, interval_ml=(0.25, 1.5)) for finding in run.findings.regions[-2:])
    told = replace(run, findings=Findings(regions=(*run.findings.regions[:-2], *regions), flags=(flag,)))
    (section,) = _items(_report(told), "C0034375")
    said = [item.TextValue for item in section.ContentSequence]
    names = {Region.WT: "Whole tumor", Region.TC: "Tumor core"}
    assert said[:2] == [
        f"{names[finding.region]} {finding.volume_ml:.1f} ml, interval 0.2 to 1.5 ml "
        "(9 of 10 such intervals contained the experts' volume)"
        for finding in regions
    ]
    assert said[2:] == ["Flag small_lesion - the whole tumour has 0.40 ml"]
    assert told.encode().objects[1].sop_instance_uid != run.encode().objects[1].sop_instance_uid
    path = tmp_path / "sr.dcm"
    path.write_bytes(told.encode().objects[-1].content)
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr


@pytest.mark.dcmtk
def test_a_study_without_a_tumour_has_a_report_that_says_so_in_the_list_of_series(run: Run, tmp_path: Path) -> None:
    segmentation = replace(
        run.segmentation,
        label_volume=replace(run.segmentation.label_volume, labels=np.zeros_like(run.segmentation.label_volume.labels)),
        quality=replace(run.segmentation.quality, smallest_seen_ml=0.8),
    )
    (result,) = replace(run, segmentation=segmentation, findings=measure(segmentation)).encode().objects
    report = pydicom.dcmread(io.BytesIO(result.content))
    assert report.SeriesDescription == "GlioNode no tumour found - research use only"
    (section,) = _items(report, "C0034375")
    (said,) = [item.TextValue for item in section.ContentSequence if "tumour" in item.TextValue]
    assert said.startswith("No tumour found. The model finds nine in ten tumours of 0.8 ml in such images")
    path = tmp_path / "sr.dcm"
    path.write_bytes(result.content)
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr


@pytest.mark.dcmtk
def test_a_withheld_result_is_a_report_that_says_why_and_holds_no_number(run: Run, tmp_path: Path) -> None:
    flag = Flag(code=FlagCode.UNDER_18, sentence="the patient is under 18", closes=True)
    sentence = "the result is withheld: the patient is under 18 (under_18)"
    held = replace(run, findings=Findings(regions=(), flags=(flag,), withheld=sentence), selection=ROLES)
    (result,) = held.encode().objects
    assert result.kind == "SR", "the segmentation stays on the node"
    assert [decision.code for decision in held.encode().decisions] == [d.code for d in run.encode().decisions]
    report = pydicom.dcmread(io.BytesIO(result.content))
    assert report.SeriesDescription == "GlioNode withheld - research use only"
    assert not list(_items(report, "126010")), "no section of measurements, empty or not"
    assert not list(_items(report, "125007"))
    (section,) = _items(report, "C0034375")
    assert [item.TextValue for item in section.ContentSequence][:2] == [
        f"No result - {sentence}",
        "Flag under_18 - the patient is under 18",
    ]
    path = tmp_path / "sr.dcm"
    path.write_bytes(result.content)
    checked = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr
    shown = subprocess.run(["dsrdump", "+Pl", str(path)], capture_output=True, check=True)
    assert f"No result - {sentence}".encode() in shown.stdout
    assert b"E: " not in shown.stderr
    assert b"NUM" not in shown.stdout
