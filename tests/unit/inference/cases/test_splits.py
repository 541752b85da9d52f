"""Splits are of patients, the same everywhere, stored with a proof, and refused where a patient is on both sides."""

import json
from collections.abc import Iterable

import pytest

from inference.cases.case import CaseReference, CaseSet
from inference.cases.splits import (
    Split,
    check_sides,
    make_split,
    perhaps_the_same_person,
    split_from_json,
    split_to_json,
)
from inference.errors import InferenceReason, UnreadableCase


def _never_read() -> None:
    raise AssertionError


def _case(case_id: str, patient: str) -> CaseReference:
    return CaseReference(case_id=case_id, patient=patient, site="", read=_never_read)  # type: ignore[arg-type]


def _set(source: str, patients: Iterable[str], cases_each: int = 1) -> CaseSet:
    cases = tuple(_case(f"{patient}_{k}", patient) for patient in patients for k in range(cases_each))
    return CaseSet(source=source, cases=cases, skipped=())


LGG = _set("lgg", [f"TCGA_CS_{k}" for k in range(23)], cases_each=2)
BRATS = _set("brats", [f"BraTS_CBICA_{k}" for k in range(12)])


def test_every_patient_is_held_out_once_and_never_trained_on_then() -> None:
    split = make_split([LGG, BRATS], folds=5, seed=1)
    everyone = {case.patient for case in (*LGG.cases, *BRATS.cases)}
    assert sorted(name for fold in split.folds for name in fold) == sorted(everyone)
    for fold in range(5):
        assert split.held_out(fold).isdisjoint(split.training(fold))
        assert split.held_out(fold) | split.training(fold) == everyone


def test_every_fold_has_about_the_same_share_of_each_set() -> None:
    split = make_split([LGG, BRATS], folds=5, seed=1)
    for fold in split.folds:
        assert sum(name.startswith("TCGA") for name in fold) in (4, 5)
        assert sum(name.startswith("BraTS") for name in fold) in (2, 3)
        assert len(fold) == 7


def test_the_order_of_the_cases_does_not_matter_and_the_seed_does() -> None:
    turned = CaseSet(source="lgg", cases=LGG.cases[::-1], skipped=())
    assert make_split([LGG], 4, seed=3) == make_split([turned], 4, seed=3)
    assert make_split([LGG], 4, seed=3).folds != make_split([LGG], 4, seed=4).folds


def test_a_split_is_the_same_on_every_computer() -> None:
    """A stored figure names this hash; a change of the method has to be seen."""
    split = make_split([_set("lgg", ["a", "b", "c", "d", "e"])], folds=2, seed=0)
    assert split.folds == (("b", "d", "e"), ("a", "c"))
    assert split.sha256 == "6e460497132e84b08a7da954f8699100031154493ff9c344151d3c2301bf80e2"


def test_patients_who_may_be_persons_of_another_set_are_always_trained_on() -> None:
    brats = _set("brats", ["BraTS_TCIA01_201", "BraTS_TCIA_601", "BraTS_CBICA_1", "BraTS_2013_3", "BraTS2021_01476"])
    together = make_split([LGG, brats], folds=2, seed=0)
    assert together.always_training == ("BraTS2021_01476", "BraTS_TCIA01_201", "BraTS_TCIA_601")
    for fold in (0, 1):
        assert set(together.always_training) <= together.training(fold)
    assert perhaps_the_same_person(case.patient for case in LGG.cases) == set()
    assert perhaps_the_same_person(["BraTS_TCIA01_201", "BraTS_CBICA_1"]) == set()
    assert perhaps_the_same_person(["BRATS_001", "BraTS-GLI-00001"]) == {"BRATS_001"}
    assert perhaps_the_same_person(["BraTS2021_00001", "BraTS-GLI-00001"]) == {"BraTS-GLI-00001"}


def test_too_few_patients_and_too_few_folds_are_refused() -> None:
    with pytest.raises(UnreadableCase, match="only 2 patients may be held out, too few for 3 folds"):
        make_split([_set("lgg", ["a", "b"])], folds=3, seed=0)
    with pytest.raises(ValueError, match="at least two folds"):
        make_split([LGG], folds=1, seed=0)


def test_a_split_comes_back_from_json_and_equal_ones_give_equal_text() -> None:
    split = make_split([LGG, BRATS], folds=3, seed=9)
    text = split_to_json(split)
    assert split_from_json(text, LGG.cases) == split
    again = make_split([CaseSet(source="lgg", cases=LGG.cases[::-1], skipped=()), BRATS], folds=3, seed=9)
    assert split_to_json(again) == text
    assert json.loads(text)["sha256"] == split.sha256


def test_a_split_that_was_changed_by_hand_is_refused() -> None:
    content = json.loads(split_to_json(make_split([LGG], folds=3, seed=9)))
    content["folds"][0].append(content["folds"][1].pop())
    with pytest.raises(UnreadableCase, match="SHA-256"):
        split_from_json(json.dumps(content), LGG.cases)
    content["folds"][0].append(content["folds"][1][0])
    with pytest.raises(UnreadableCase, match=r"in two folds.*memory, not skill"):
        split_from_json(json.dumps(content), LGG.cases)


CASES = [_case("TCGA_CS_1_20000101", "TCGA_CS_1"), _case("TCGA_CS_1_20010101", "TCGA_CS_1"), _case("B_7", "B_7")]


@pytest.mark.parametrize(
    ("training", "held_out"),
    [
        (["TCGA_CS_1_20000101_4.tif"], ["TCGA_CS_1_20000101_5.tif"]),
        (["kaggle_3m/TCGA_CS_1_20000101/TCGA_CS_1_20000101_4.tif"], ["TCGA_CS_1_20000101_5_mask.tif"]),
        (["TCGA_CS_1_20000101"], ["TCGA_CS_1_20010101"]),
        (["TCGA_CS_1_20000101_12"], ["TCGA_CS_1"]),
        (["B_7", "TCGA_CS_1"], ["B_7"]),
    ],
    ids=["slices", "paths", "time points", "mixed", "patients"],
)
def test_one_patient_on_both_sides_is_refused_and_named_with_the_reason(
    training: list[str], held_out: list[str]
) -> None:
    with pytest.raises(UnreadableCase) as refused:
        check_sides(training, held_out, CASES)
    patient = "B_7" if held_out == ["B_7"] else "TCGA_CS_1"
    assert str(refused.value).startswith(f"patient {patient} is on both sides")
    assert "memory, not skill" in str(refused.value)
    assert refused.value.reason is InferenceReason.UNREADABLE_CASE


def test_whole_patients_on_each_side_pass_even_as_slices() -> None:
    check_sides(["TCGA_CS_1_20000101_4.tif", "TCGA_CS_1_20010101_1.tif"], ["B_7"], CASES)
    with pytest.raises(UnreadableCase, match="'unheard', which is neither a patient"):
        check_sides(["unheard"], ["B_7"], CASES)


def test_a_split_of_other_programs_becomes_folds_of_patients() -> None:
    folds = [
        {"train": ["TCGA_CS_1_20000101", "TCGA_CS_1_20010101_3.tif"], "val": ["B_7.nii.gz"]},
        {"train": ["B_7"], "val": ["TCGA_CS_1_20000101", "TCGA_CS_1_20010101"]},
    ]
    split = split_from_json(json.dumps(folds), CASES)
    assert split.folds == (("B_7",), ("TCGA_CS_1",))
    single = split_from_json(json.dumps({"training": ["B_7"], "validation": ["TCGA_CS_1"]}), CASES)
    assert (single.folds, single.always_training) == ((("TCGA_CS_1",),), ("B_7",))
    with_test = {"train": ["B_7"], "val": ["TCGA_CS_1"], "test": ["TCGA_CS_1_20000101_3.tif"]}
    with pytest.raises(UnreadableCase, match="patient TCGA_CS_1 is on both sides"):
        split_from_json(json.dumps(with_test), CASES)
    slices = {"folds": [["TCGA_CS_1_20000101_1", "B_7_1"], ["TCGA_CS_1_20000101_2"]]}
    with pytest.raises(UnreadableCase, match="patient TCGA_CS_1 is on both sides"):
        split_from_json(json.dumps(slices), CASES)
    leaking = [{"train": ["TCGA_CS_1_20000101_1.tif", "B_7"], "val": ["TCGA_CS_1_20000101_2.tif"]}]
    with pytest.raises(UnreadableCase, match="patient TCGA_CS_1 is on both sides"):
        split_from_json(json.dumps(leaking), CASES)


@pytest.mark.parametrize("text", ["", "[]]", "7", '{"train": []}', '[{"val": ["B_7"]}]', '{"folds": 3}'])
def test_what_is_no_split_is_refused(text: str) -> None:
    with pytest.raises(UnreadableCase, match="not a split"):
        split_from_json(text, CASES)


def test_a_split_is_kept_sorted() -> None:
    assert Split(folds=(("b", "a"), ("c",)), seed=1).folds == (("a", "b"), ("c",))
