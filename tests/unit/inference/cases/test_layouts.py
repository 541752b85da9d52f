"""A folder without cases is refused with what was looked for, where, and why what is there was skipped."""

from pathlib import Path

import pytest

from dicom_node.cli.conventions import LAYOUTS as OFFERED
from inference.cases.layouts import LAYOUTS, open_cases
from inference.errors import InferenceReason, UnreadableCase
from tests.support.case_sets import write_brats, write_lgg, write_msd

NAMES = {"lgg": "_mask.tif", "brats": "t1c,t2w,t2f", "msd": "dataset.json", "dicom": "SEG"}


def test_the_layouts_are_these() -> None:
    assert LAYOUTS == ("lgg", "brats", "msd", "dicom")
    assert set(OFFERED) == set(LAYOUTS), "what commands offer before anything is loaded"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("there", [True, False])
def test_an_empty_or_missing_folder_is_refused_with_the_layout_that_is_needed(
    tmp_path: Path, layout: str, *, there: bool
) -> None:
    root = tmp_path / "data"
    if there:
        root.mkdir()
    with pytest.raises(UnreadableCase) as refused:
        open_cases(layout, root)
    assert refused.value.reason is InferenceReason.NO_CASES
    assert str(root) in str(refused.value)
    assert NAMES[layout] in str(refused.value)
    assert ("no such folder" in str(refused.value)) is not there


def test_what_was_skipped_is_named_in_part(tmp_path: Path) -> None:
    for name in "ABCDE":
        (write_brats(tmp_path, name) / f"{name}_seg.nii.gz").unlink()
    with pytest.raises(UnreadableCase, match=r"skipped: A: no annotation.*; B: .*; C: .* and 2 more\)$"):
        open_cases("brats", tmp_path)


def test_a_layout_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCase, match="'nnunet' is not known; use one of lgg, brats, msd, dicom"):
        open_cases("nnunet", tmp_path)


def test_each_layout_opens_its_own_set(tmp_path: Path) -> None:
    write_lgg(tmp_path / "lgg", "TCGA_CS_1_2")
    write_brats(tmp_path / "brats", "BraTS2021_00001")
    labels = {0: "background", 1: "edema", 2: "non-enhancing tumor", 3: "enhancing tumour"}
    write_msd(tmp_path / "msd", ["BRATS_001"], ("FLAIR", "T1w", "t1gd", "T2w"), labels)
    for layout, case in (("lgg", "TCGA_CS_1_2"), ("brats", "BraTS2021_00001"), ("msd", "BRATS_001")):
        found = open_cases(layout, tmp_path / layout)
        assert (found.source, [each.case_id for each in found.cases]) == (layout, [case])
        assert found.cases[0].read().case_id == case
