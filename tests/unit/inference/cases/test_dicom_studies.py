"""DICOM studies with SEGs, our own and others': the right series, the right voxels, the right SEG, and no names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from conversion.reading import read_study
from conversion.sequences import Role
from conversion.simpleitk_bridge import grid_from_simpleitk
from conversion.stack import stack_slices
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.cases.case import CaseSet
from inference.cases.layouts import open_cases
from inference.errors import InferenceReason, UnreadableCase
from inference.regions import Region
from tests.support.annotated_study import annotated_study, write_instances
from tests.support.dicom_series import mr_slices
from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.hand_made_run import run_of_labels
from tests.support.small_head import head_volume
from tests.support.small_study import ROLES, make_small_study, uid_of

FRAME = str(mr_slices(np.zeros((1, 2, 2), np.uint16), np.eye(4))[0].FrameOfReferenceUID)
SHAPE = (10, 48, 40)
PARTS = ("Necrotic core", "Peritumoral oedema", "Enhancing tumour")


def _labels() -> NDArray[np.uint8]:
    """Return a lopsided tumour of 1 NCR, 2 ED and 3 ET."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:7, 16:26, 22:34] = 2
    labels[4:6, 18:23, 24:30] = 3
    labels[5, 19:21, 25:28] = 1
    return labels


def _write(folder: Path, instances: Sequence[Dataset]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for ds in instances:
        ds.save_as(folder / f"{len(list(folder.iterdir())):04d}", enforce_file_format=True)
    return folder


def _study(name: str = "one", roles: Sequence[str] = ROLES) -> dict[str, list[Dataset]]:
    series: dict[str, list[Dataset]] = {role: [] for role in roles}
    for ds in make_small_study(name, roles):
        ds.InstitutionName = "Clinic A"
        series[str(ds.SeriesDescription)].append(ds)
    return series


def _affine(series: Sequence[Dataset]) -> NDArray[np.float64]:
    affine = np.diag([0.0, 4.0, 0.0, 1.0])
    affine[2, 0], affine[0, 2] = 11.0, 4.0
    affine[:3, 3] = [float(value) for value in series[0].ImagePositionPatient]
    return affine


def _parts(labels: NDArray[np.uint8]) -> list[ForeignSegment]:
    return [ForeignSegment(label=name, mask=labels == value) for value, name in enumerate(PARTS, 1)]


def _foreign(series: list[Dataset], segments: Sequence[ForeignSegment], number: int = 300, **more: object) -> Dataset:
    given = {"SeriesNumber": number, "SOPInstanceUID": uid_of(str(number)), **more}
    return foreign_seg(series, segments, _affine(series), seed=number, **given)


def _all(series: dict[str, list[Dataset]]) -> list[Dataset]:
    return [ds for each in series.values() for ds in each]


def _reasons(found: CaseSet) -> str:
    return "\n".join(item.reason for item in found.skipped)


def test_our_own_seg_gives_back_what_was_segmented(tmp_path: Path) -> None:
    _write(tmp_path, _all(_study(roles=["T1CE"])))
    (series,) = read_study(tmp_path.iterdir()).series
    labels = LabelVolume(grid=stack_slices(series).grid, labels=_labels())
    (content,) = [each.content for each in run_of_labels(series, labels).encode().objects if each.kind == "SEG"]
    (tmp_path / "result").write_bytes(content)
    (reference,) = open_cases("dicom", tmp_path).cases
    case = reference.read()
    assert case.volumes.reference is Role.T1CE
    assert np.array_equal(case.regions[Region.WT], _labels() > 0)
    assert np.array_equal(case.regions[Region.TC], _labels() % 2 == 1)
    assert np.array_equal(case.regions[Region.ET], _labels() == 3)
    assert case.spacing_known
    assert case.volumes.grid.spacing_mm.tolist() == [11.0, 4.0, 4.0]


def test_a_foreign_seg_in_another_plane_is_read_onto_the_series_it_was_drawn_on(tmp_path: Path) -> None:
    series = _study(roles=["FLAIR"])
    affine = _affine(series["FLAIR"])[:, [2, 0, 1, 3]]  # frames are sagittal: planes of columns
    segments = _parts(_labels().transpose(2, 0, 1))
    _write(tmp_path / "b", [foreign_seg(series["FLAIR"], segments, affine, seed=4)])
    _write(tmp_path / "a", _all(series))
    case = open_cases("dicom", tmp_path).cases[0].read()
    assert case.volumes.reference is Role.FLAIR
    assert np.array_equal(case.regions[Region.WT], _labels() > 0)
    assert np.array_equal(case.regions[Region.ET], _labels() == 3)
    assert np.array_equal(case.volumes.volumes[Role.FLAIR].voxels[5], series["FLAIR"][5].pixel_array)


def test_the_series_that_was_drawn_on_is_used_even_where_a_better_one_exists(tmp_path: Path) -> None:
    """Two FLAIR series; the SEG was drawn on the one that selection would leave."""
    series, again = _study(roles=["FLAIR"]), _study("again", ["FLAIR"])["FLAIR"]
    for ds in again:
        ds.StudyInstanceUID, ds.SeriesNumber, ds.AcquisitionTime = series["FLAIR"][0].StudyInstanceUID, 9, "120000"
        ds.PixelData = (ds.pixel_array // 2).astype("<u2").tobytes()
    seg = _foreign(again, _parts(_labels()))
    _write(tmp_path, [*_all(series), *again, seg])
    case = open_cases("dicom", tmp_path).cases[0].read()
    assert np.array_equal(case.volumes.volumes[Role.FLAIR].voxels[5], again[5].pixel_array)
    assert np.array_equal(case.regions[Region.WT], _labels() > 0)


def test_names_are_hashes_and_the_same_person_is_one_patient(tmp_path: Path) -> None:
    for name in ("one", "two"):
        series = _study(name, ["FLAIR"])
        _write(tmp_path / name, [*_all(series), _foreign(series["FLAIR"], _parts(_labels()))])
    first, second = open_cases("dicom", tmp_path).cases
    assert first.case_id != second.case_id
    assert first.patient == second.patient
    assert (first.site, second.site) == ("Clinic A", "Clinic A")
    for told in (first.case_id, first.patient):
        assert "SMALL" not in told
        assert uid_of("one") not in told
        assert uid_of("two") not in told


def test_codes_given_by_the_caller_decide(tmp_path: Path) -> None:
    series = _study(roles=["FLAIR"])
    segment = ForeignSegment(label="Segment 1", mask=_labels() > 0, code=("1", "99X", "?"))
    _write(tmp_path, [*_all(series), _foreign(series["FLAIR"], [segment])])
    with pytest.raises(UnreadableCase, match=r"none of the segments .* \('Segment 1'\)") as refused:
        open_cases("dicom", tmp_path)
    assert refused.value.reason is InferenceReason.NO_CASES
    case = open_cases("dicom", tmp_path, codes={("1", "99X"): Region.ED}).cases[0].read()
    assert np.array_equal(case.regions[Region.WT], _labels() > 0)


def _drawn(value: int, algorithm: str) -> list[ForeignSegment]:
    """Return a tumour that differs from others by its size."""
    return [ForeignSegment(label="Tumor", mask=_labels() >= value, algorithm=algorithm)]


@pytest.mark.parametrize(
    ("kept", "other", "why"),
    [
        (
            (310, "20240101", "MANUAL"),
            (400, "20240601", "AUTOMATIC"),
            "SEG of series 400 is not used: series 310 is drawn",
        ),
        ((310, "20240101", "SEMIAUTOMATIC"), (320, "20240601", "AUTOMATIC"), "series 310 is drawn by hand"),
        ((310, "20240601", "MANUAL"), (400, "20240101", "MANUAL"), "series 310 is newer"),
        ((400, "20240101", "AUTOMATIC"), (310, "20240101", "AUTOMATIC"), "SEG of series 310 is not used"),
    ],
)
def test_of_several_segs_a_persons_newest_is_used_and_the_others_are_reported(
    tmp_path: Path, kept: tuple[int, str, str], other: tuple[int, str, str], why: str
) -> None:
    series = _study(roles=["FLAIR"])
    for value, (number, date, algorithm) in ((1, kept), (2, other)):
        seg = _foreign(series["FLAIR"], _drawn(value, algorithm), number, ContentDate=date)
        _write(tmp_path, [seg])
    _write(tmp_path, _all(series))
    found = open_cases("dicom", tmp_path)
    assert np.array_equal(found.cases[0].read().regions[Region.WT], _labels() >= 1)
    assert len(found.skipped) == 1
    assert why in _reasons(found)


def test_what_is_not_used_is_reported_with_its_reason(tmp_path: Path) -> None:
    good = _study("good", ["FLAIR"])
    parts = [*_parts(_labels()), ForeignSegment(label="Ventricles", mask=_labels() == 0)]
    _write(tmp_path / "good", [*_all(good), _foreign(good["FLAIR"], parts)])
    _write(tmp_path / "no seg", _all(_study("no seg", ["FLAIR"])))
    lone = _study("no images", ["FLAIR"])
    _write(tmp_path / "no images", [_foreign(lone["FLAIR"], _parts(_labels()))])
    elsewhere = _study("elsewhere", ["FLAIR", "T1"])
    _write(tmp_path / "elsewhere", [*elsewhere["T1"], _foreign(elsewhere["FLAIR"], _parts(_labels()))])
    (tmp_path / "notes.txt").write_text("no DICOM")
    found = open_cases("dicom", tmp_path)
    assert len(found.cases) == 1
    assert len(found.skipped) == 5
    for words in (
        "segment 4 ('Ventricles') is not recognised",
        "no SEG in the study",
        "no MR images in the study",
        "the images that series 300 was drawn on are not in the folder",
        "1 could not be read as DICOM",
    ):
        assert words in _reasons(found)


@pytest.mark.parametrize(("images", "seg"), [(slice(1, 2), 0), (slice(0), 1)], ids=["an image", "the SEG"])
@pytest.mark.parametrize(
    ("kept", "strange"), [({}, {"PatientID": "ANOTHER"}), ({"PatientID": ""}, {"PatientName": "ANOTHER^ONE"})]
)
def test_a_study_that_names_two_patients_is_no_case_and_the_others_are(
    tmp_path: Path, images: slice, seg: int, kept: dict[str, str], strange: dict[str, str]
) -> None:
    """Neither in the set, nor in a split of it: it could be trained on under one name alone."""
    drawn_on, annotation = annotated_study("mixed", "ONE")
    for ds in (*drawn_on, annotation):
        ds.update(kept)
    for ds in (*drawn_on[images], *[annotation][:seg]):
        ds.update(strange)
    write_instances(tmp_path, [*drawn_on, annotation])
    with pytest.raises(UnreadableCase, match=r"its files name 2 different patients; correct that at the source"):
        open_cases("dicom", tmp_path)
    good, drawn = annotated_study("good", "ONE")
    write_instances(tmp_path, [*good, drawn])
    found = open_cases("dicom", tmp_path)
    assert len(found.cases) == 1
    assert set(found.cases[0].files) == set(sorted(tmp_path.iterdir())[len(drawn_on) + 1 :])
    assert [item.reason for item in found.skipped] == [
        "its files name 2 different patients; correct that at the source"
    ]


def test_a_seg_outside_its_images_is_refused_and_an_empty_one_is_no_tumour(tmp_path: Path) -> None:
    series = _study(roles=["FLAIR"])
    far = _affine(series["FLAIR"])
    far[2, 3] += 5000
    seg = foreign_seg(series["FLAIR"], _drawn(1, "MANUAL"), far)
    _write(tmp_path / "far", [*_all(series), seg])
    with pytest.raises(UnreadableCase, match="lies outside the images"):
        open_cases("dicom", tmp_path / "far").cases[0].read()
    empty = [ForeignSegment(label="Tumor", mask=np.zeros(SHAPE, bool))]
    _write(tmp_path / "empty", [*_all(series), _foreign(series["FLAIR"], empty)])
    assert open_cases("dicom", tmp_path / "empty").cases[0].read().regions[Region.WT].sum() == 0


def test_a_study_without_t1ce_and_flair_is_refused(tmp_path: Path) -> None:
    series = _study(roles=["T1", "T2"])
    _write(tmp_path, [*_all(series), _foreign(series["T2"], _parts(_labels()))])
    with pytest.raises(UnreadableCase, match="neither T1 after contrast nor FLAIR"):
        open_cases("dicom", tmp_path).cases[0].read()


def _scan(volume: ImageVolume, series: str, **attributes: object) -> list[Dataset]:
    return mr_slices(np.rint(volume.voxels).astype(np.uint16), volume.grid.affine, series, **attributes)


def test_the_other_sequences_are_brought_onto_the_series_that_was_drawn_on(tmp_path: Path) -> None:
    """A coronal T1CE with a SEG and an axial FLAIR of one small head, both of which show a bright ball."""
    drawn_on, other = head_volume("coronal", (4.0, 2.0, 2.0)), head_volume("axial", (4.0, 2.0, 2.0))
    timing = {"RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2500.0, "ScanningSequence": ["SE", "IR"]}
    t1ce = _scan(drawn_on, "T1CE", SeriesNumber=1, ContrastBolusAgent="agent")
    flair = _scan(other, "FLAIR", SeriesNumber=2, SeriesDescription="FLAIR", **timing)
    ball = ForeignSegment(label="Tumor", mask=drawn_on.voxels == 300)
    _write(tmp_path, [*flair, *t1ce, foreign_seg(t1ce, [ball], drawn_on.grid.affine, seed=1)])
    case = open_cases("dicom", tmp_path).cases[0].read()
    assert case.volumes.reference is Role.T1CE
    assert case.volumes.grid.equals(
        Grid(shape=drawn_on.grid.shape, affine=drawn_on.grid.affine, frame_of_reference_uid=FRAME)
    )
    assert set(case.volumes.volumes) == {Role.T1CE, Role.FLAIR}
    inside = case.volumes.volumes[Role.FLAIR].voxels[case.regions[Region.WT]]
    assert len(inside) == np.count_nonzero(ball.mask)
    assert np.median(inside) > 280


@pytest.mark.data
def test_a_real_tumour_drawn_in_other_planes_lies_on_the_lesion(tmp_path: Path, shared_data: Path) -> None:
    """BRAINIX, oblique slices of 6 mm: an outline on FLAIR, stored as sagittal planes with its rows upside down."""
    source = shared_data / "dicom" / "brainix"
    roi = sitk.ReadImage(str(source / "ROI.nii.gz"))
    grid, drawn = grid_from_simpleitk(roi, "roi"), sitk.GetArrayFromImage(roi) > 0
    images = [dcmread(path) for path in sorted((source / "FLAIR").iterdir())]
    seg = foreign_seg(
        images, [ForeignSegment(label="Tumor", mask=drawn.transpose(2, 0, 1))], grid.affine[:, [2, 0, 1, 3]], seed=2
    )
    _write(tmp_path, [*images, seg])
    (reference,) = open_cases("dicom", tmp_path).cases
    case = reference.read()
    wt = case.regions[Region.WT]
    assert np.count_nonzero(wt) == np.count_nonzero(drawn)
    assert wt.sum() * case.volumes.grid.voxel_volume_ml == pytest.approx(40.11, abs=0.01)
    flair = case.volumes.volumes[Role.FLAIR].voxels
    mirrored = flair[wt[:, :, ::-1]]
    assert np.median(flair[wt]) > 1.5 * np.median(mirrored[mirrored > 0])
