"""Each patient answered by the networks that never saw that patient: the figures of a cross-validation."""

from dataclasses import replace

from inference.cases.case import CaseReference, CaseSet, SkippedCase
from inference.cases.splits import Split
from inference.errors import InferenceReason, UnreadableCase, UnusableModel
from inference.manifest import ModelManifest, NetworkManifest
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.segmenter import Segmenter

__all__ = ["HeldOutSegmenters"]


class HeldOutSegmenters:
    """The networks of a model by the fold that was held out from them.

    Parameters
    ----------
    model
        Its networks say which fold each did not see.
    split
        The one they were trained by.

    Raises
    ------
    UnusableModel
        When no network of the model says so.
    """

    def __init__(self, model: ModelBundle, split: Split) -> None:
        self._split = split
        trained = [one for one in model.networks if one.manifest.fold is not None]
        if not trained:
            sentence = f"model {model.manifest.name}: none of its networks says which fold was held out from it"
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        fitting = [one for one in trained if _split_of(model.manifest, one.manifest) == split.sha256]
        if not fitting:
            sentence = (
                f"model {model.manifest.name}: its networks were trained by another split, so that they may have seen "
                "who is held out by this one; give the split.json of their trainings"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        others = [one for one in trained if one not in fitting and _strangers(model, one, split)]
        self._by_fold = {
            fold: Segmenter(replace(model, networks=(*(one for one in fitting if one.manifest.fold == fold), *others)))
            for fold in sorted({one.manifest.fold for one in fitting if one.manifest.fold is not None})
        }

    def fold_of(self, patient: str) -> int | None:
        """Return the fold that held a patient out; None where every network may have seen it."""
        return next((fold for fold in self._by_fold if patient in self._split.held_out(fold)), None)

    def held_out(self, case_set: CaseSet) -> CaseSet:
        """Return the cases of a set that some network did not see; the others are listed as skipped.

        Raises
        ------
        UnreadableCase
            When there is none.
        """
        kept = tuple(case for case in case_set.cases if self.fold_of(case.patient) is not None)
        if not kept:
            sentence = "the split holds out none of these cases from any network of the model"
            raise UnreadableCase(InferenceReason.NO_CASES, sentence)
        seen = [case.case_id for case in case_set.cases if self.fold_of(case.patient) is None]
        skipped = (SkippedCase(name=name, reason="every network may have seen this patient") for name in seen)
        return replace(case_set, cases=kept, skipped=(*case_set.skipped, *skipped))

    def for_case(self, case: CaseReference) -> Segmenter:
        """Return the networks for a case that is held out."""
        fold = self.fold_of(case.patient)
        if fold is None:
            raise UnreadableCase(InferenceReason.NO_CASES, f"{case.case_id} is held out from no network")
        return self._by_fold[fold]


def _strangers(model: ModelBundle, network: LoadedNetwork, split: Split) -> bool:
    """Tell whether a network has a share in answers over volumes and none of the split's patients in its own training.

    What its training and its sisters' held out is all that their split knew.
    """
    trainings = model.manifest.metrics.get("trainings", {})
    own = _split_of(model.manifest, network.manifest)
    known = {case for told in trainings.values() if told.get("split_sha256") == own for case in told["held_out_dice"]}
    patients = (*split.always_training, *(patient for fold in split.folds for patient in fold))
    seen = any(case.startswith(patient) for case in known for patient in patients)
    return network.manifest.share_on_volumes > 0 and bool(known) and not seen


def _split_of(manifest: ModelManifest, network: NetworkManifest) -> object:
    """Return the hash of the split that a network was trained by, as its training told it."""
    return manifest.metrics.get("trainings", {}).get(network.name, manifest.metrics).get("split_sha256")
