"""Cross-validation: segments each patient with networks that were not trained on that patient."""

from dataclasses import replace

from inference.cases.case import CaseReference, CaseSet, SkippedCase
from inference.cases.splits import Split
from inference.errors import InferenceReason, UnreadableCase, UnusableModel
from inference.manifest import ModelManifest, NetworkManifest
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.segmenter import Segmenter

__all__ = ["HeldOutSegmenters"]


class HeldOutSegmenters:
    """The networks of a model, grouped by the fold that was held out from their training.

    Parameters
    ----------
    model
        Its manifest states the fold that was held out from each network.
    split
        The split that the networks were trained with.

    Raises
    ------
    UnusableModel
        When no network states a held-out fold, or all were trained with another split.
    """

    def __init__(self, model: ModelBundle, split: Split) -> None:
        self._split = split
        trained = [one for one in model.networks if one.manifest.fold is not None]
        if not trained:
            sentence = (
                f"model {model.manifest.name}: none of its networks states which fold was held out from its training"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        fitting = [one for one in trained if _split_of(model.manifest, one.manifest) == split.sha256]
        if not fitting:
            sentence = (
                f"model {model.manifest.name}: its networks were trained with another split and may have been trained "
                "on patients that this one holds out; give the split.json of their training"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        others = [one for one in trained if one not in fitting and _independent(model, one, split)]
        self._by_fold = {
            fold: Segmenter(replace(model, networks=(*(one for one in fitting if one.manifest.fold == fold), *others)))
            for fold in sorted({one.manifest.fold for one in fitting if one.manifest.fold is not None})
        }

    def fold_of(self, patient: str) -> int | None:
        """Return the fold that held a patient out; None where every network may have been trained on the patient."""
        return next((fold for fold in self._by_fold if patient in self._split.held_out(fold)), None)

    def held_out(self, case_set: CaseSet) -> CaseSet:
        """Return the cases of a set that were held out from some network; list the others as skipped.

        Raises
        ------
        UnreadableCase
            When there is no such case.
        """
        kept = tuple(case for case in case_set.cases if self.fold_of(case.patient) is not None)
        if not kept:
            sentence = "the split holds none of these cases out from any network of the model"
            raise UnreadableCase(InferenceReason.NO_CASES, sentence)
        trained_on = [case.case_id for case in case_set.cases if self.fold_of(case.patient) is None]
        skipped = (
            SkippedCase(name=name, reason="every network may have been trained on this patient") for name in trained_on
        )
        return replace(case_set, cases=kept, skipped=(*case_set.skipped, *skipped))

    def for_case(self, case: CaseReference) -> Segmenter:
        """Return the networks that a case was held out from."""
        fold = self.fold_of(case.patient)
        if fold is None:
            raise UnreadableCase(InferenceReason.NO_CASES, f"{case.case_id} was not held out from any network")
        return self._by_fold[fold]


def _independent(model: ModelBundle, network: LoadedNetwork, split: Split) -> bool:
    """Tell whether a network contributes to predictions on volumes and was not trained on any patient of the split.

    The patients of the network's own split are those that its training, and all trainings with that split, held out.
    """
    trainings = model.manifest.metrics.get("trainings", {})
    own = _split_of(model.manifest, network.manifest)
    known = {case for one in trainings.values() if one.get("split_sha256") == own for case in one["held_out_dice"]}
    patients = (*split.always_training, *(patient for fold in split.folds for patient in fold))
    shared = any(case.startswith(patient) for case in known for patient in patients)
    return network.manifest.share_on_volumes > 0 and bool(known) and not shared


def _split_of(manifest: ModelManifest, network: NetworkManifest) -> object:
    """Return the hash of the split that a network was trained with, as recorded by its training."""
    return manifest.metrics.get("trainings", {}).get(network.name, manifest.metrics).get("split_sha256")
