"""`glionode segment`: DICOM, NIfTI and single slices to masks, picture and findings, by a model of known answers."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from scipy import ndimage

from conversion.errors import ConversionError, UnusableStudy
from conversion.nifti import read_nifti, write_nifti
from conversion.recognition.site_rules import SiteRule
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from dicom_node.settings import Settings, read_settings
from dicom_node.workbench.result_files import WorkbenchResult
from dicom_node.workbench.segment_files import Wanted, segment_dicom, segment_nifti, segment_slice
from inference.brain_region import MARGIN_MM
from inference.errors import UnsuitableInput
from tests.support.detector_model import write_detector
from tests.support.moved_volumes import move
from tests.support.phantom_volumes import phantom_volume
from tests.support.small_head import CENTRE_MM, head_volume
from tests.support.small_study import make_small_study

SIZE = 96
FILES = {"segmentation.nii.gz", "probability_wt.nii.gz", "uncertainty_wt.nii.gz", "overlay.png", "findings.json"}


PIECE = 27
"""Radius in pixels of a piece that is too small for a brain to be looked for."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    model = write_detector(tmp_path_factory.mktemp("detector"))
    return read_settings(
        environment={
            "GLIONODE_PROCESSING_MODEL": str(model),
            "GLIONODE_PROCESSING_THREADS": "1",
            "GLIONODE_PROCESSING_ADMIT": "not_a_brain",  # what is drawn here is a disc in a disc
        }
    )


def _findings(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "findings.json").read_text())
    return content


def _head(*, bright: bool = True, radius: float = 44) -> NDArray[np.float32]:
    """Return slices of a round head, with or without a bright disc in the middle three."""
    k, row, column = np.indices((8, SIZE, SIZE))
    image = np.where(np.hypot(row - SIZE / 2, column - SIZE / 2) < radius, 100.0, 0.0)
    lesion = (np.hypot(row - 40, column - 60) < 11) & (abs(k - 4) <= 1)
    image[lesion] = 900.0 if bright else 100.0
    return image.astype(np.float32)


def _write_volumes(folder: Path, roles: Mapping[Role, bool]) -> dict[Role, Path]:
    affine = np.array([[0, 0, 2.0, -90], [0, 2.0, 0, -90], [5.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid(shape=(8, SIZE, SIZE), affine=affine, frame_of_reference_uid="1.2")
    paths = {}
    for role, bright in roles.items():
        paths[role] = folder / f"{role}.nii.gz"
        write_nifti(ImageVolume(grid=grid, voxels=_head(bright=bright, radius=PIECE)), paths[role])
    return paths


def test_two_patients_of_one_study_are_refused(tmp_path: Path, settings: Settings) -> None:
    study = make_small_study("mixed", roles=["FLAIR"])
    for k, ds in enumerate(study):
        ds.PatientID = "ANOTHER" if k % 2 else ds.PatientID
        ds.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    with pytest.raises(UnusableStudy, match="name 2 different patients"):
        segment_dicom(tmp_path, tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_nifti_volumes_give_masks_and_volumes(tmp_path: Path, settings: Settings) -> None:
    paths = _write_volumes(tmp_path, {Role.T1: False, Role.T1CE: True, Role.FLAIR: True})
    done = segment_nifti(paths, tmp_path / "out", settings)
    inner = {f"{kind}_{region}.nii.gz" for kind in ("probability", "uncertainty") for region in ("tc", "et")}
    assert {path.name for path in done.files} == FILES | inner
    assert all(path.is_file() for path in done.files)
    assert done.sequences == ("T1", "T1CE", "FLAIR")
    labels = read_nifti(tmp_path / "out" / "segmentation.nii.gz")
    assert labels.grid.equals(read_nifti(paths[Role.T1CE]).grid)
    voxel_ml = labels.grid.voxel_volume_ml
    assert done.volumes_ml["WT"] == pytest.approx(np.count_nonzero(labels.voxels) * voxel_ml, abs=1e-3)
    assert 0.6 < done.volumes_ml["WT"] / ((_head() > 500).sum() * voxel_ml) < 1.6
    findings = _findings(tmp_path / "out")
    assert "research" in findings["notice"].lower()
    assert findings["model"]["name"] == "detector"
    assert {decision["code"] for decision in findings["decisions"]} >= {"already_aligned", "missing_sequence"}
    assert findings["quality"]["looks"] == 2
    assert set(findings["quality"]["agreement"]) == {"WT", "TC", "ET"}
    codes = [flag["code"] for flag in findings["flags"]]
    assert codes == [flag.code for flag in done.flags] == ["poor_registration"]  # so small a piece fits in many ways


def test_the_interval_and_the_doubt_of_each_voxel_are_written(tmp_path: Path) -> None:
    factors = {"WT": [-0.5, 2.0]}
    model = write_detector(tmp_path / "model", interval_factors=factors, agreement_flag=1.0)
    told = {"GLIONODE_PROCESSING_MODEL": str(model), "GLIONODE_PROCESSING_THREADS": "1"}
    segment_nifti(_write_volumes(tmp_path, {Role.FLAIR: True}), tmp_path / "out", read_settings(environment=told))
    findings = _findings(tmp_path / "out")
    low, high = findings["regions"]["WT"]["interval_ml"]
    assert 0 < low < findings["regions"]["WT"]["volume_ml"] < high
    spread = read_nifti(tmp_path / "out" / "uncertainty_wt.nii.gz").voxels
    assert 0 <= spread.min() <= spread.max() <= 0.5


def test_what_is_no_number_around_a_brain_is_background(tmp_path: Path, settings: Settings) -> None:
    """NIfTI's own reader makes noughts of it; without that the network would answer what is no number either."""
    whole = segment_nifti(_write_volumes(tmp_path, {Role.FLAIR: True}), tmp_path / "whole", settings)
    flair = read_nifti(tmp_path / "FLAIR.nii.gz")
    bare = np.where(flair.voxels == 0, np.float32(np.nan), flair.voxels)
    assert np.isnan(bare).any()
    write_nifti(replace(flair, voxels=bare), tmp_path / "FLAIR.nii.gz")
    done = segment_nifti({Role.FLAIR: tmp_path / "FLAIR.nii.gz"}, tmp_path / "out", settings)
    assert done.volumes_ml == whole.volumes_ml


def test_a_flair_alone_gives_the_whole_tumour(tmp_path: Path, settings: Settings) -> None:
    done = segment_nifti(_write_volumes(tmp_path, {Role.FLAIR: True}), tmp_path / "out", settings)
    assert {path.name for path in done.files} == FILES
    assert set(done.volumes_ml) == {"WT"}
    assert set(np.unique(read_nifti(tmp_path / "out" / "segmentation.nii.gz").voxels)) == {0, 5}


def test_the_brain_of_a_head_is_written_on_the_grid_of_the_reference(tmp_path: Path, settings: Settings) -> None:
    head = phantom_volume("FLAIR")
    write_nifti(head, tmp_path / "flair.nii.gz")
    done = segment_nifti({Role.FLAIR: tmp_path / "flair.nii.gz"}, tmp_path / "out", settings)
    assert tmp_path / "out" / "brain.nii.gz" in done.files
    brain = read_nifti(tmp_path / "out" / "brain.nii.gz")
    assert brain.grid.equals(read_nifti(tmp_path / "flair.nii.gz").grid)
    assert set(np.unique(brain.voxels)) == {0, 1}
    assert 1000 < np.count_nonzero(brain.voxels) * brain.grid.voxel_volume_ml < 2300
    spacing_mm = brain.grid.spacing_mm
    far = ndimage.distance_transform_edt(brain.voxels == 0, sampling=spacing_mm) > MARGIN_MM + max(spacing_mm)
    for name in ("probability_wt", "uncertainty_wt"):
        assert not read_nifti(tmp_path / "out" / f"{name}.nii.gz").voxels[far].any(), "no finding can be there"
    labels = read_nifti(tmp_path / "out" / "segmentation.nii.gz").voxels
    assert np.count_nonzero(labels[brain.voxels > 0]) >= 0.95 * np.count_nonzero(labels)


def test_a_head_without_a_lesion_gives_nothing(tmp_path: Path, settings: Settings) -> None:
    done = segment_nifti(_write_volumes(tmp_path, {Role.FLAIR: False}), tmp_path / "out", settings)
    assert done.volumes_ml == {"WT": 0.0}
    assert done.no_tumour.startswith("No tumour found.")
    found = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert (found["result"], found["no_tumour"]) == ("no tumour found", done.no_tumour)
    assert (tmp_path / "out" / "overlay.png").is_file()


def test_a_t2_alone_is_not_enough(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConversionError, match="--t1ce or --flair"):
        segment_nifti(_write_volumes(tmp_path, {Role.T2: True}), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_volume_is_named(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "f.nii.gz"
    path.write_text("no volume")
    with pytest.raises(ConversionError, match=r"f\.nii\.gz: not a readable NIfTI file"):
        segment_nifti({Role.FLAIR: path}, tmp_path / "out", settings)


def test_an_empty_volume_is_refused(tmp_path: Path, settings: Settings) -> None:
    grid = Grid(shape=(8, 32, 32), affine=np.diag([5.0, 2.0, 2.0, 1.0]), frame_of_reference_uid="1.2")
    write_nifti(ImageVolume(grid=grid, voxels=np.zeros(grid.shape, np.float32)), tmp_path / "f.nii.gz")
    with pytest.raises(UnsuitableInput, match="no signal"):
        segment_nifti({Role.FLAIR: tmp_path / "f.nii.gz"}, tmp_path / "out", settings)


def test_labels_go_back_to_the_grid_of_every_sequence(tmp_path: Path, settings: Settings) -> None:
    """The FLAIR lies elsewhere, in another plane: its labels lie where its own lesion is."""
    moved = move((8.0, -5.0, 6.0), (9.0, -6.0, 4.0), CENTRE_MM)
    volumes = {
        Role.T1CE: head_volume("axial", (3.0, 2.0, 2.0)),
        Role.FLAIR: head_volume("coronal", (2.5, 2.0, 2.0), np.asarray(np.linalg.inv(moved))),
    }
    paths = {role: tmp_path / f"{role}.nii.gz" for role in volumes}
    for role, volume in volumes.items():
        write_nifti(volume, paths[role])
    done = segment_nifti(paths, tmp_path / "out", settings, wanted=Wanted(native=True))
    assert done.volumes_ml["WT"]
    found = {role: read_nifti(tmp_path / "out" / f"segmentation_on_{role.lower()}.nii.gz") for role in volumes}
    assert {path.name for path in done.files} > {"segmentation_on_t1ce.nii.gz", "segmentation_on_flair.nii.gz"}
    assert all(found[role].grid.equals(read_nifti(path).grid) for role, path in paths.items())
    assert np.array_equal(found[Role.T1CE].voxels, read_nifti(tmp_path / "out" / "segmentation.nii.gz").voxels)
    middle = {role: volume.grid.position_mm(np.argwhere(volume.voxels)).mean(axis=0) for role, volume in found.items()}
    assert np.linalg.norm(moved[:3, :3] @ middle[Role.T1CE] + moved[:3, 3] - middle[Role.FLAIR]) < 1.0


def _dicom_folder(folder: Path) -> list[Dataset]:
    folder.mkdir()
    study = make_small_study("workbench", roles=["FLAIR"])
    for number, ds in enumerate(study):
        ds.PixelData = (_head()[min(number, 7), 16:64, 28:68] * 4).astype("<u2").tobytes()
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return study


def test_a_site_rule_decides_and_makes_another_object(tmp_path: Path, settings: Settings) -> None:
    study = _dicom_folder(tmp_path / "in")
    ruled = (SiteRule(name="agent", kind="T1CE", description=study[0].SeriesDescription),)
    uids = []
    for name, rules in (("plain", ()), ("ruled", ruled)):
        done = segment_dicom(tmp_path / "in", tmp_path / name, settings, rules=rules, wanted=Wanted(native=True))
        assert done.sequences == (("T1CE",) if rules else ("FLAIR",))
        assert f"segmentation_on_{done.sequences[0].lower()}.nii.gz" in {path.name for path in done.files}
        uids.append(pydicom.dcmread(tmp_path / name / "SR.dcm").SOPInstanceUID)
    assert len(set(uids)) == 2


def test_a_dicom_folder_gives_seg_and_sr_too(tmp_path: Path, settings: Settings) -> None:
    study = _dicom_folder(tmp_path / "in")
    done = segment_dicom(tmp_path / "in", tmp_path / "out", settings)
    assert {path.name for path in done.files} - {"brain.nii.gz"} == {*FILES, "SEG.dcm", "SR.dcm"}
    assert done.volumes_ml["WT"] is not None
    assert done.volumes_ml["WT"] > 0
    seg, sr = (pydicom.dcmread(tmp_path / "out" / f"{kind}.dcm") for kind in ("SEG", "SR"))
    assert (seg.Modality, sr.Modality) == ("SEG", "SR")
    assert seg.StudyInstanceUID == sr.StudyInstanceUID == study[0].StudyInstanceUID


def _of_age(folder: Path, age: str) -> Path:
    for ds in _dicom_folder(folder):
        ds.PatientBirthDate, ds.PatientAge = "", age
        ds.save_as(folder / f"{ds.InstanceNumber - 1}.dcm", enforce_file_format=True)
    return folder


def test_series_that_share_their_uids_are_named_without_a_node_too(tmp_path: Path, settings: Settings) -> None:
    study = _dicom_folder(tmp_path / "in")
    others = make_small_study("workbench", roles=["FLAIR", "T2"])[len(study) :]
    for first, second in zip(study, others, strict=True):
        second.SOPInstanceUID = first.SOPInstanceUID
        second.save_as(tmp_path / "in" / f"t2_{second.InstanceNumber}.dcm", enforce_file_format=True)
    done = segment_dicom(tmp_path / "in", tmp_path / "out", settings)
    assert "uid_in_several_series" in [decision.code for decision in done.decisions]


def test_a_childs_result_is_withheld(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UnsuitableInput, match=r"the result is withheld: the patient is under 18.*\(under_18\)"):
        segment_dicom(_of_age(tmp_path / "in", "010Y"), tmp_path / "out", settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("age", "flagged"), [("010Y", ["under_18"]), ("018Y", [])])
def test_a_site_may_admit_children_and_the_report_says_so(
    tmp_path: Path, settings: Settings, age: str, flagged: list[str]
) -> None:
    here = replace(settings, processing=replace(settings.processing, admit="under_18,not_a_brain"))
    done = segment_dicom(_of_age(tmp_path / "in", age), tmp_path / "out", here)
    assert [flag.code for flag in done.flags if flag.code != "not_a_brain"] == flagged
    assert (b"Flag under_18" in (tmp_path / "out" / "SR.dcm").read_bytes()) == bool(flagged)


def test_an_empty_folder_is_an_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConversionError, match="no files in this folder"):
        segment_dicom(tmp_path, tmp_path / "out", settings)


def _slice(folder: Path, name: str, pixels: NDArray[np.float32]) -> Path:
    Image.fromarray((pixels / 4).astype(np.uint8)).save(folder / name)
    return folder / name


def _assert_without_spacing(done: WorkbenchResult, out: Path) -> None:
    """Check that no size is stated, because a picture has none."""
    assert set(done.volumes_ml.values()) == {None}
    assert "no_spacing" in {decision.code for decision in done.decisions}
    regions = _findings(out)["regions"].values()
    assert all(region["volume_ml"] is None and region["centroid_lps_mm"] is None for region in regions)
    assert all(region["voxels"] > 0 for region in regions)


@pytest.mark.parametrize("name", ["slice.png", "slice.tiff", "slice.jpg"])
def test_a_grey_picture_is_one_sequence(tmp_path: Path, settings: Settings, name: str) -> None:
    done = segment_slice({Role.FLAIR: _slice(tmp_path, name, _head()[4])}, tmp_path / "out", settings)
    assert done.sequences == ("FLAIR",)
    _assert_without_spacing(done, tmp_path / "out")


def test_a_grey_picture_stored_in_colour_is_one_sequence(tmp_path: Path, settings: Settings) -> None:
    path = _slice(tmp_path, "slice.png", np.repeat(_head()[4][..., None], 3, axis=2))
    assert segment_slice({Role.FLAIR: path}, tmp_path / "out", settings).sequences == ("FLAIR",)


def test_a_picture_of_three_channels_is_three_sequences(tmp_path: Path, settings: Settings) -> None:
    channels = np.stack([_head(bright=False)[4], _head()[4], _head()[4] * 0.9], axis=2)
    done = segment_slice({Role.FLAIR: _slice(tmp_path, "slice.tif", channels)}, tmp_path / "out", settings)
    assert done.sequences == ("T1", "T1CE", "FLAIR")
    assert "WT" in done.volumes_ml


def test_what_is_no_picture_is_named(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "slice.png"
    path.write_text("no picture")
    with pytest.raises(ConversionError, match=r"slice\.png: not a readable PNG, JPEG or TIFF image"):
        segment_slice({Role.FLAIR: path}, tmp_path / "out", settings)


@pytest.mark.parametrize("name", ["slice.png", "slice.jpg", "slice.tif"])
def test_half_a_picture_is_refused(tmp_path: Path, settings: Settings, name: str) -> None:
    path = _slice(tmp_path, name, _head()[4])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ConversionError, match=rf"{name}: (the image is damaged, was cut off|not a readable)"):
        segment_slice({Role.FLAIR: path}, tmp_path / "out", settings)


def test_pictures_of_one_slice_are_its_sequences(tmp_path: Path, settings: Settings) -> None:
    flair, t1 = _slice(tmp_path, "flair.png", _head()[4]), _slice(tmp_path, "t1.png", _head(bright=False)[4])
    assert segment_slice({Role.FLAIR: flair, Role.T1: t1}, tmp_path / "out", settings).sequences == ("T1", "FLAIR")
    smaller = _slice(tmp_path, "small.png", _head()[4][:64])
    with pytest.raises(ConversionError, match=r"the images differ in size \(96 x 64, 96 x 96\)"):
        segment_slice({Role.FLAIR: flair, Role.T1: smaller}, tmp_path / "out", settings)
    colour = _slice(tmp_path, "colour.png", np.stack([_head()[4], _head(bright=False)[4], _head()[4]], axis=2))
    with pytest.raises(ConversionError, match=r"colour\.png: a colour image contains several sequences"):
        segment_slice({Role.FLAIR: flair, Role.T1: colour}, tmp_path / "out", settings)


def test_the_picture_shows_the_regions_in_colour(tmp_path: Path, settings: Settings) -> None:
    segment_nifti(_write_volumes(tmp_path, {Role.FLAIR: True}), tmp_path / "out", settings)
    pixels = np.asarray(Image.open(tmp_path / "out" / "overlay.png").convert("RGB")).astype(int)
    above, below = pixels[: 256 - 4], pixels[260:512]
    assert np.ptp(above, axis=2).max() == 0
    assert np.ptp(below, axis=2).max() > 40


_YIELD = """
import os
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.workbench.job_steps import JobSteps

settings = read_settings()
for _ in range(2):
    try:
        JobSteps(settings, open_database(settings.database_url)).perform("upload", "absent")
    except Exception:
        print(os.nice(0))
"""


def test_an_upload_yields_the_processor_as_far_as_the_setting_says(tmp_path: Path) -> None:
    environment = os.environ | {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_WORKBENCH_NICENESS": "7"}
    done = subprocess.run(
        [sys.executable, "-c", _YIELD], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    wanted = max(7, os.nice(0))
    assert done.stdout.split() == [str(wanted), str(wanted)]
