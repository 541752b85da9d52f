"""Each patient is answered by the networks that never saw it, and who was seen by all is left out with that reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from inference.cases.brats import open_brats
from inference.cases.case import CaseSet
from inference.cases.splits import Split
from inference.errors import UnreadableCase, UnusableModel
from inference.evaluation.evaluation import evaluate
from inference.evaluation.held_out import HeldOutSegmenters
from inference.model_bundle import ModelBundle, load_model
from tests.support.case_sets import write_brats
from tests.support.detector_model import write_detector

SPLIT = Split(folds=(("Brats18_A_1",), ("Brats18_B_1",), ("Brats18_C_1",)), always_training=("Brats18_D_1",), seed=1)


@pytest.fixture
def cases(tmp_path: Path) -> CaseSet:
    for letter in "ABCD":
        write_brats(tmp_path / "set", f"Brats18_{letter}_1")
    return open_brats(tmp_path / "set")


@pytest.fixture
def model(tmp_path: Path) -> ModelBundle:
    """Return a model of two networks, one of fold 0 and one of fold 1, that differ in what they call whole tumour."""
    one = load_model(str(write_detector(tmp_path / "one")), "cpu", threads=1)
    two = load_model(str(write_detector(tmp_path / "two", seen=("T1", "T1CE", "T1"))), "cpu", threads=1)
    networks = [
        replace(bundle.networks[0], manifest=replace(bundle.networks[0].manifest, fold=fold))
        for fold, bundle in enumerate((one, two))
    ]
    return _trained_by(replace(one, networks=tuple(networks)), SPLIT)


def _trained_by(model: ModelBundle, split: Split) -> ModelBundle:
    return replace(model, manifest=replace(model.manifest, metrics={"split_sha256": split.sha256}))


def test_each_patient_has_the_networks_of_its_fold(model: ModelBundle, cases: CaseSet) -> None:
    held_out = HeldOutSegmenters(model, SPLIT)
    for case, fold in zip(cases.cases[:2], (0, 1), strict=True):
        assert held_out.fold_of(case.patient) == fold
        networks = held_out.for_case(case).model.networks
        assert [network.manifest.fold for network in networks] == [fold]
        assert networks[0].module is model.networks[fold].module


def test_who_was_seen_by_all_is_left_out_and_said(model: ModelBundle, cases: CaseSet) -> None:
    """Fold 2 has no network in this model, and patient D was always trained on."""
    kept = HeldOutSegmenters(model, SPLIT).held_out(cases)
    assert [case.case_id for case in kept.cases] == ["Brats18_A_1", "Brats18_B_1"]
    skipped = [(item.name, item.reason) for item in kept.skipped]
    assert skipped == [(f"Brats18_{x}_1", "every network may have been trained on this patient") for x in "CD"]
    with pytest.raises(UnreadableCase, match="not held out from any network"):
        HeldOutSegmenters(model, SPLIT).for_case(cases.cases[3])


def test_an_evaluation_takes_the_networks_case_by_case(model: ModelBundle, cases: CaseSet) -> None:
    held_out = HeldOutSegmenters(model, SPLIT)
    found = evaluate(held_out.for_case, held_out.held_out(cases))
    both = [
        evaluate(held_out.for_case(case), replace(cases, cases=(case,), skipped=())).cases[0]
        for case in cases.cases[:2]
    ]
    assert [case.dice for case in found.cases] == [case.dice for case in both]
    assert len(found.skipped) == 2


def test_a_model_that_names_no_fold_is_refused(tmp_path: Path, cases: CaseSet) -> None:
    plain = load_model(str(write_detector(tmp_path / "plain")), "cpu", threads=1)
    with pytest.raises(UnusableModel, match="none of its networks states which fold"):
        HeldOutSegmenters(plain, SPLIT)
    folded = replace(plain.networks[0], manifest=replace(plain.networks[0].manifest, fold=0))
    strangers = replace(SPLIT, folds=(("x",), ("y",), ("z",)))
    with pytest.raises(UnreadableCase, match="none of these cases"):
        HeldOutSegmenters(_trained_by(replace(plain, networks=(folded,)), strangers), strangers).held_out(cases)


def test_another_split_than_that_of_the_trainings_is_refused(model: ModelBundle) -> None:
    """By its folds the networks would answer patients that they were trained on."""
    with pytest.raises(UnusableModel, match="trained with another split"):
        HeldOutSegmenters(model, replace(SPLIT, seed=2))
    told = {"trainings": {one.manifest.name: {"split_sha256": SPLIT.sha256} for one in model.networks[:1]}}
    named = replace(model, manifest=replace(model.manifest, metrics=told))
    assert HeldOutSegmenters(named, SPLIT).fold_of("Brats18_A_1") == 0


@pytest.mark.parametrize(("known", "helps"), [("TCGA_CS_1_2000", True), ("Brats18_C_1", False), (None, False)])
def test_networks_of_another_split_help_where_it_knew_none_of_the_patients(
    model: ModelBundle, cases: CaseSet, known: str | None, *, helps: bool
) -> None:
    volumes = [replace(one, manifest=replace(one.manifest, input="volume", views=3)) for one in model.networks]
    name = "slices-0"
    told = replace(volumes[0].manifest, name=name, input="slices", views=1, regions=("WT",), share_on_volumes=0.5)
    helper = replace(volumes[0], manifest=told)
    held = {} if known is None else {known: {"WT": 0.5}}
    trainings = {one.manifest.name: {"split_sha256": SPLIT.sha256, "held_out_dice": {}} for one in volumes}
    trainings[name] = {"split_sha256": "f" * 64, "held_out_dice": held}
    mixed = replace(
        model,
        networks=(*volumes, helper),
        manifest=replace(model.manifest, metrics={"trainings": trainings}),
    )
    networks = HeldOutSegmenters(mixed, SPLIT).for_case(cases.cases[0]).model.networks
    assert (name in [one.manifest.name for one in networks]) is helps
    assert networks[0].manifest.fold == 0
