"""`glionode convert`: every MR series of a folder as NIfTI and JSON."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage

from conversion.errors import UnusableStudy
from conversion.nifti import read_nifti, write_nifti
from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.site_rules import SiteRule
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.workbench.convert_folder import Conversion, Progress, convert_folder
from tests.support.small_study import COLUMNS, ROLES, ROWS, SLICE_MM, SLICES, SPACING_MM, make_small_study, uid_of


def _write(folder: Path, study: list[Dataset]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(study):
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def _convert(folder: Path, study: list[Dataset]) -> Conversion:
    _write(folder / "in", study)
    return convert_folder(folder / "in", folder / "out")


def _description(path: Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    return described


def test_every_series_becomes_a_volume_with_its_role(tmp_path: Path) -> None:
    done = _convert(tmp_path, make_small_study("convert"))
    assert [path.name for path in done.files] == [
        "0001_T1.nii.gz",
        "0002_T1CE.nii.gz",
        "0003_T2.nii.gz",
        "0004_FLAIR.nii.gz",
    ]
    assert done.left_out == ()
    assert json.loads((tmp_path / "out" / "left_out.json").read_text()) == []
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(
        ["left_out.json", *(p.name for p in done.files), *(p.name.replace(".nii.gz", ".json") for p in done.files)]
    )


def test_a_study_of_two_patients_is_left_out_and_others_are_converted(tmp_path: Path) -> None:
    mixed, other = make_small_study("mixed", roles=["FLAIR"]), make_small_study("other", roles=["T1"])
    for ds in mixed[::2]:
        ds.PatientID = "ANOTHER"
    done = _convert(tmp_path, [*mixed, *other])
    assert [path.name for path in done.files] == ["0001_T1.nii.gz"]
    assert [(item.subject, item.code) for item in done.left_out] == [("study", "patients_mixed")]


def test_voxels_and_geometry_are_those_of_the_series(tmp_path: Path) -> None:
    done = _convert(tmp_path, make_small_study("convert", roles=["FLAIR"]))
    (series,) = read_study(dicom_files(tmp_path / "in")).series
    volume, found = read_series(series), read_nifti(done.files[0])
    # The file's axes run to the right, the front and the head, an axial stack's to the left, the back and the head.
    assert_array_equal(found.voxels, volume.voxels[:, ::-1, ::-1])
    corner = np.array([0.0, ROWS - 1.0, COLUMNS - 1.0])
    assert_allclose(found.grid.affine[:3, 3], volume.grid.position_mm(corner), atol=1e-4)
    assert_allclose(found.grid.affine[:3, :3], volume.grid.affine[:3, :3] * (1.0, -1.0, -1.0), atol=1e-4)


def test_the_json_tells_role_evidence_and_geometry(tmp_path: Path) -> None:
    done = _convert(tmp_path, make_small_study("convert", roles=["T1CE"]))
    told = _description(done.files[0])
    assert (told["series_uid"], told["role"]) == (uid_of("convert", "T1CE"), "T1CE")
    assert set(told) == {"series_uid", "role", "evidence", "geometry", "decisions"}
    assert told["evidence"]["kind"] == "T1CE"
    assert 0.9 < told["evidence"]["confidence"] <= 1.0
    assert any("TR 560 ms" in item["says"] for item in told["evidence"]["items"])
    assert told["geometry"]["shape_slice_row_column"] == [SLICES, ROWS, COLUMNS]
    assert_allclose(told["geometry"]["spacing_mm"], [SLICE_MM, SPACING_MM, SPACING_MM])
    assert told["geometry"]["frame_of_reference_uid"] == uid_of("convert", "frame of reference")


def test_nothing_is_left_out_silently(tmp_path: Path) -> None:
    study = make_small_study("convert")
    for ds in study:
        if ds.SeriesDescription == "T1":
            ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    del study[2 * SLICES + 4]  # a slice of T2
    _write(tmp_path / "in", study)
    (tmp_path / "in" / "letter.txt").write_text("no image")
    done = convert_folder(tmp_path / "in", tmp_path / "out")
    assert [path.name[:4] for path in done.files] == ["0002", "0004"]
    left_out = {item.subject: item.code for item in done.left_out}
    assert left_out == {"series 1": "not_mr", "series 3": "missing_slice", "file letter.txt": "unreadable_file"}
    listed = json.loads((tmp_path / "out" / "left_out.json").read_text())
    assert listed == [asdict(item) for item in done.left_out]
    uids = {item["subject"]: item["series_uid"] for item in listed}
    assert uids == {"series 1": uid_of("convert", "T1"), "series 3": uid_of("convert", "T2"), "file letter.txt": ""}


def test_a_study_without_a_reference_is_converted_all_the_same(tmp_path: Path) -> None:
    done = _convert(tmp_path, make_small_study("convert", roles=["T2"]))
    assert [path.name for path in done.files] == ["0001_T2.nii.gz"]
    assert _description(done.files[0])["role"] == "T2"


def test_a_broken_series_costs_the_others_no_role(tmp_path: Path) -> None:
    study = make_small_study("convert")
    del study[3 * SLICES + 4]  # a slice of the only FLAIR
    done = _convert(tmp_path, study)
    assert [path.name for path in done.files] == ["0001_T1.nii.gz", "0002_T1CE.nii.gz", "0003_T2.nii.gz"]
    assert [(item.subject, item.code) for item in done.left_out] == [("series 4", "missing_slice")]


def test_every_study_of_a_folder_is_converted(tmp_path: Path) -> None:
    studies = [make_small_study(name, roles=["T2"]) for name in ("one", "two")]
    _write(tmp_path / "in" / "one", studies[0])
    _write(tmp_path / "in" / "two", studies[1])
    done = convert_folder(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in done.files] == ["0001_T2.nii.gz", "0001_T2_2.nii.gz"]
    assert {_description(path)["series_uid"] for path in done.files} == {uid_of("one", "T2"), uid_of("two", "T2")}


def test_the_volumes_of_one_series_are_named_by_what_distinguishes_them(tmp_path: Path) -> None:
    study = make_small_study("convert", roles=["T2"])
    first = make_small_study("convert", roles=["T2"])
    for ds in first:
        ds.EchoTime, ds.InstanceNumber = 20.0, ds.InstanceNumber + 100
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(uid_of("first echo", str(ds.InstanceNumber)))
    done = _convert(tmp_path, [*study, *first])
    told = [_description(path) for path in done.files]
    assert {description["geometry"]["part"] for description in told} == {"echo 20 ms", "echo 100 ms"}
    assert {path.name.split("_")[1:4][1] for path in done.files} == {"20", "100"}
    assert all(decision["code"] == "split_series" for description in told for decision in description["decisions"])


def test_a_site_rule_decides_what_a_series_is_called(tmp_path: Path) -> None:
    _write(tmp_path / "in", make_small_study("convert", roles=["T2"]))
    rule = SiteRule(name="ours", kind="FLAIR", description="T2")
    done = convert_folder(tmp_path / "in", tmp_path / "out", rules=[rule])
    assert [path.name for path in done.files] == ["0001_FLAIR.nii.gz"]


def test_progress_goes_through_three_phases(tmp_path: Path) -> None:
    _write(tmp_path / "in", make_small_study("convert", roles=["T2", "FLAIR"]))
    seen: list[tuple[str, int]] = []

    def bar(items: Sequence[object], phase: str) -> Iterable[object]:
        seen.append((phase, len(items)))
        return items

    convert_folder(tmp_path / "in", tmp_path / "out", progress=Progress(bar))
    assert seen == [("reading headers", 2 * SLICES), ("recognising", 2), ("converting", 2)]


def test_a_bar_is_asked_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bar is a generator, which raises when a second thread comes while it draws."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    asked = []

    def bar(items: Sequence[Any], phase: str) -> Iterator[Any]:
        for item in items:
            asked.append(phase)
            time.sleep(0.02)
            yield item

    _write(tmp_path / "in", make_small_study("bar"))
    done = convert_folder(tmp_path / "in", tmp_path / "out", progress=Progress(bar))
    assert len(done.files) == asked.count("converting") == asked.count("recognising") == len(ROLES)


def test_what_cannot_be_written_ends_it_and_leaves_no_json_alone(tmp_path: Path) -> None:
    in_the_way = tmp_path / "out" / "0001_T1.nii.gz"
    in_the_way.mkdir(parents=True)
    with pytest.raises(RuntimeError, match=r"0001_T1\.nii\.gz"):
        _convert(tmp_path, make_small_study("blocked", roles=["T1"]))
    assert list((tmp_path / "out").iterdir()) == [in_the_way]


def test_series_of_equal_number_do_not_overwrite_each_other(tmp_path: Path) -> None:
    study = make_small_study("convert", roles=["T2", "FLAIR"])
    for ds in study:
        ds.SeriesNumber = 7
        ds.SeriesDescription = "../../flair" if ds.SeriesDescription == "FLAIR" else "t2"
        ds.InversionTime = 2500.0
    done = _convert(tmp_path, study)
    assert len(set(done.files)) == 2
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in done.files)


def test_a_folder_without_dicom_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no image")
    with pytest.raises(UnusableStudy, match="no readable DICOM image"):
        convert_folder(tmp_path, tmp_path / "out")


def test_progress_without_a_bar_hands_the_items_on_untouched() -> None:
    items = iter([1, 2, 3])
    assert Progress().over(items, "reading headers") is items
    assert list(items) == [1, 2, 3]


def test_a_bar_that_is_at_its_end_stops_no_call() -> None:
    """Recognition may read a series again that left the cache."""
    steps: list[object] = []

    def bar(items: Sequence[Any], phase: str) -> Iterator[Any]:
        for item in items:
            steps.append((phase, item))
            yield item

    volume = ImageVolume(
        grid=Grid(shape=(1, 1, 1), affine=np.eye(4), frame_of_reference_uid="1.2"),
        voxels=np.ones((1, 1, 1), np.float32),
    )
    series: Any = "one series"
    counted = Progress(bar).on_call(lambda given: volume if given is series else None, [series], "recognising")  # type: ignore[arg-type, return-value]
    assert [counted(series) for _ in range(3)] == [volume] * 3
    assert steps == [("recognising", "one series")]


def test_a_kind_that_is_no_role_is_other(tmp_path: Path) -> None:
    study = make_small_study("convert", roles=["T2"])
    for ds in study:
        ds.SeriesDescription, ds.ImageType = "localizer", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    (path,) = _convert(tmp_path, study).files
    told = _description(path)
    assert (told["role"], told["evidence"]["kind"].lower()) == ("other", "localizer")


@pytest.mark.parametrize(("number", "name"), [(0, "0000_T2.nii.gz"), (12345, "12345_T2.nii.gz")])
def test_a_name_has_four_digits_and_the_list_of_an_earlier_conversion_is_replaced(
    tmp_path: Path, number: int, name: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "left_out.json").write_text('[{"subject": "series 9"}]')
    study = make_small_study("convert", roles=["T2"])
    for ds in study:
        ds.SeriesNumber = number
    assert [path.name for path in _convert(tmp_path, study).files] == [name]
    assert json.loads((tmp_path / "out" / "left_out.json").read_text()) == []


@pytest.mark.parametrize("as_labels", [False, True])
def test_nifti_files_come_back(tmp_path: Path, as_labels: bool) -> None:  # noqa: FBT001 - a parameter of the test
    column = np.array([0.1, 1.0, 0.05]) / np.linalg.norm([0.1, 1.0, 0.05])
    row = np.cross(column, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(column, [0.0, 0.0, 1.0]))
    affine = np.eye(4)
    affine[:3] = np.column_stack([4.4 * np.cross(row, column), 1.1 * column, 0.9 * row, [-10.5, 7.25, -30.0]])
    grid = Grid(shape=(3, 4, 5), affine=affine, frame_of_reference_uid="1.2")
    values = np.arange(60).reshape(grid.shape)
    fractions = (values / 7).astype(np.float32)
    write_nifti(
        LabelVolume(grid=grid, labels=values.astype(np.uint8))
        if as_labels
        else ImageVolume(grid=grid, voxels=fractions),
        tmp_path / "new" / "v.nii.gz",
    )
    found = read_nifti(tmp_path / "new" / "v.nii.gz", "1.2")
    assert_allclose(found.grid.affine, affine, atol=1e-4)
    assert_array_equal(found.voxels, values if as_labels else fractions)
