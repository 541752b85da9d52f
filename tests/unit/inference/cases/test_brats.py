"""BraTS by file names of all years: roles, labels, patients and sites, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from conversion.sequences import Role
from inference.cases.brats import TRAINING_SET, CaseName, case_name, open_brats
from inference.errors import InferenceReason, UnreadableCase
from inference.regions import Region
from tests.support.case_sets import SHAPE, brats_labels, tissue, write_brats, write_nifti

OLD = "Brats18_CBICA_AAB_1"
NEW = "BraTS-GLI-00003-001"
NEW_KEYS = ("t1n", "t1c", "t2w", "t2f")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (OLD, CaseName(patient="BraTS_CBICA_AAB", site="CBICA", timepoint="1")),
        ("Brats17_TCIA_601_1", CaseName(patient="BraTS_TCIA_601", site="TCIA", timepoint="1")),
        ("Brats18_TCIA01_201_1", CaseName(patient="BraTS_TCIA01_201", site="TCIA01", timepoint="1")),
        ("Brats18_2013_11_1", CaseName(patient="BraTS_2013_11", site="2013", timepoint="1")),
        ("BraTS19_TMC_06290_1", CaseName(patient="BraTS_TMC_06290", site="TMC", timepoint="1")),
        ("BraTS20_Training_001", CaseName(patient="BraTS20_Training_001")),
        ("BraTS2021_01476", CaseName(patient="BraTS2021_01476")),
        (NEW, CaseName(patient="BraTS-GLI-00003", timepoint="001")),
        ("somebody", CaseName(patient="somebody")),
    ],
)
def test_a_name_tells_patient_site_and_time_point(name: str, told: CaseName) -> None:
    assert case_name(name) == told


@pytest.mark.parametrize(
    ("case", "keys", "joint", "suffix", "enhancing"),
    [
        (OLD, ("t1", "t1ce", "t2", "flair"), "_", ".nii.gz", 4),
        (OLD, ("t1", "t1ce", "t2", "flair"), "_", ".nii", 3),
        (NEW, NEW_KEYS, "-", ".nii.gz", 3),
    ],
    ids=["until 2021", "relabelled", "since 2023"],
)
def test_sequences_and_regions_of_all_years_are_alike(
    tmp_path: Path, case: str, keys: tuple[str, ...], joint: str, suffix: str, enhancing: int
) -> None:
    write_brats(tmp_path / "HGG", case, brats_labels(enhancing), keys=keys, joint=joint, suffix=suffix)
    (reference,) = open_brats(tmp_path).cases
    read = reference.read()
    for seed, role in enumerate((Role.T1, Role.T1CE, Role.T2, Role.FLAIR)):
        assert np.array_equal(read.volumes.volumes[role].voxels, tissue(seed, 60 + 40 * seed))
    labels = brats_labels()
    assert np.array_equal(read.regions[Region.WT], labels > 0)
    assert np.array_equal(read.regions[Region.TC], (labels == 1) | (labels == 4))
    assert np.array_equal(read.regions[Region.ET], labels == 4)
    assert (read.volumes.reference, read.spacing_known) == (Role.T1CE, True)
    assert read.volumes.grid.affine[:3, 3].tolist() == [0.0, -239.0, 0.0]
    assert {decision.code for decision in read.volumes.decisions} == {"already_aligned"}
    assert (read.patient, read.site) == (case_name(case).patient, case_name(case).site)


def test_subfolders_of_grades_and_two_years_are_one_set(tmp_path: Path) -> None:
    write_brats(tmp_path / "HGG", "Brats18_CBICA_AAB_1")
    write_brats(tmp_path / "LGG", "Brats18_TCIA09_141_1")
    write_brats(tmp_path / "2019", "BraTS19_CBICA_AAB_1")
    cases = open_brats(tmp_path).cases
    assert sorted(case.patient for case in cases) == ["BraTS_CBICA_AAB", "BraTS_CBICA_AAB", "BraTS_TCIA09_141"]
    assert all(set(case.files) == set(case.files[0].parent.iterdir()) for case in cases)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("keys", "reference", "missing"),
    [
        (("t1", "t1ce"), Role.T1CE, {"T2", "FLAIR"}),
        (("flair",), Role.FLAIR, {"T1", "T1CE", "T2"}),
        (("t2", "flair"), Role.FLAIR, {"T1", "T1CE"}),
    ],
)
def test_missing_sequences_are_declared(
    tmp_path: Path, keys: tuple[str, ...], reference: Role, missing: set[str]
) -> None:
    write_brats(tmp_path, OLD, keys=keys)
    volumes = open_brats(tmp_path).cases[0].read().volumes
    assert volumes.reference is reference
    assert {decision.subject for decision in volumes.decisions if decision.code == "missing_sequence"} == missing
    assert set(volumes.volumes) == set(Role) - {Role(name) for name in missing}


def test_what_is_no_whole_case_is_skipped_with_its_reason(tmp_path: Path) -> None:
    write_brats(tmp_path, OLD)
    (write_brats(tmp_path, "A") / "A_seg.nii.gz").unlink()
    write_brats(tmp_path, "B", keys=("t1", "t2"))
    twice = write_brats(tmp_path, "C")
    (twice / "C_t1.nii").write_bytes(b"")
    write_brats(tmp_path / "again", OLD)
    (tmp_path / "D").mkdir()
    write_nifti(tmp_path / "W39_1998.09.19_Segm.nii", brats_labels())
    (tmp_path / "._hidden_t1.nii.gz").write_bytes(b"")
    found = open_brats(tmp_path)
    assert [case.case_id for case in found.cases] == [OLD]
    reasons = {item.name: item.reason for item in found.skipped}
    assert len(found.skipped) == 6
    assert "A_seg.nii.gz or A-seg.nii.gz is missing" in reasons["A"]
    assert "neither T1CE" in reasons["B"]
    assert "t1 exists twice" in reasons["C"]
    assert "exists twice; the one in" in reasons[OLD]
    assert "empty folder" in reasons["D"]
    assert "named neither" in reasons["W39_1998.09.19_Segm.nii"]


def _both() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    labels = brats_labels()
    labels[5, 13, 11] = 3
    return labels


@pytest.mark.parametrize(
    ("labels", "case", "keys", "sentence"),
    [
        (_both(), OLD, ("t1ce",), "both label 3 and label 4"),
        (brats_labels(4), NEW, NEW_KEYS, "since 2023, where enhancing tumour is 3"),
        (brats_labels(7), OLD, ("t1ce",), "label 7 is not a BraTS label"),
        (brats_labels().astype(np.float32) * 0.7, OLD, ("t1ce",), "between labels"),
        (brats_labels()[1:], OLD, ("t1ce",), "voxels"),
    ],
    ids=["both", "of another year", "unknown", "interpolated", "shape"],
)
def test_labels_that_do_not_say_what_they_mean_are_refused(
    tmp_path: Path,
    labels: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    case: str,
    keys: tuple[str, ...],
    sentence: str,
) -> None:
    write_brats(tmp_path, case, labels, keys=keys, joint="-" if case == NEW else "_")
    with pytest.raises(UnreadableCase, match=sentence) as refused:
        open_brats(tmp_path).cases[0].read()
    assert refused.value.reason is InferenceReason.UNREADABLE_CASE


def test_a_sequence_off_the_others_is_refused(tmp_path: Path) -> None:
    folder = write_brats(tmp_path, OLD)
    write_nifti(folder / f"{OLD}_t2.nii.gz", tissue(2, 140), origin=(0.0, -236.0, 0.0))
    with pytest.raises(UnreadableCase, match=r"T2: is up to 3.0 mm off"):
        open_brats(tmp_path).cases[0].read()


def test_an_empty_or_damaged_sequence_is_refused(tmp_path: Path) -> None:
    folder = write_brats(tmp_path, OLD)
    write_nifti(folder / f"{OLD}_t2.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(UnreadableCase, match="T2: has no signal"):
        open_brats(tmp_path).cases[0].read()
    (folder / f"{OLD}_t2.nii.gz").write_bytes(b"damaged")
    with pytest.raises(UnreadableCase, match="cannot be read"):
        open_brats(tmp_path).cases[0].read()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
@pytest.mark.parametrize("what", ["t2", "seg"])
def test_a_file_that_is_cut_off_is_refused_and_not_read_as_zeros(tmp_path: Path, suffix: str, what: str) -> None:
    folder = write_brats(tmp_path, OLD, suffix=suffix)
    path = folder / f"{OLD}_{what}{suffix}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableCase, match=rf"_{what}\.nii.*: .*the file is truncated"):
        open_brats(tmp_path).cases[0].read()


def test_an_exported_set_says_which_regions_were_annotated(tmp_path: Path) -> None:
    write_brats(tmp_path, "GlioNode-0123456789ab-ba9876543210")
    manifest = {"cases": [{"case": "GlioNode-0123456789ab-ba9876543210", "annotated": ["WT"]}]}
    (tmp_path / TRAINING_SET).write_text(json.dumps(manifest))
    (reference,) = open_brats(tmp_path).cases
    assert reference.patient == "GlioNode-0123456789ab"
    assert list(reference.read().regions) == [Region.WT]
    (tmp_path / TRAINING_SET).write_text("{}")
    with pytest.raises(UnreadableCase, match="which regions were annotated"):
        open_brats(tmp_path)


def test_a_changed_file_changes_the_fingerprint_and_a_move_does_not(tmp_path: Path) -> None:
    write_brats(tmp_path / "here", OLD)
    (before,) = open_brats(tmp_path / "here").cases
    first = before.fingerprint()  # type: ignore[attr-defined]
    (tmp_path / "here").rename(tmp_path / "there")
    (after,) = open_brats(tmp_path / "there").cases
    assert after.fingerprint() == first  # type: ignore[attr-defined]
    write_nifti(tmp_path / "there" / OLD / f"{OLD}_t2.nii.gz", tissue(2, 150))
    assert after.fingerprint() != first  # type: ignore[attr-defined]


def test_a_set_of_links_is_a_set(tmp_path: Path) -> None:
    write_brats(tmp_path / "all", OLD, brats_labels(4))
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / OLD).symlink_to(tmp_path / "all" / OLD)
    assert [case.case_id for case in open_brats(tmp_path / "some").cases] == [OLD]
