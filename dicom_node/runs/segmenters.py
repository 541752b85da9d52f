"""Models ready to run: loaded at first use, and again when another model gets the role."""

from typing import TYPE_CHECKING

from dicom_node.models.roles import ModelRole
from dicom_node.settings import Settings
from inference.errors import InferenceReason, UnusableModel
from inference.registry import Registry, StoredModel

if TYPE_CHECKING:
    from inference.segmenter import Segmenter

__all__ = ["Segmenters"]


class Segmenters:
    """One model for each role."""

    def __init__(self, settings: Settings) -> None:
        self._processing, self._folder = settings.processing, settings.node.folder
        self._kept: dict[ModelRole, Segmenter] = {}

    def of(self, role: ModelRole, model: StoredModel) -> "Segmenter":
        """Return the model ready to run.

        Raises
        ------
        UnusableModel
            When its files no longer match its manifest.
        """
        from inference.model_bundle import load_model  # noqa: PLC0415 - takes seconds, for torch; only in the child
        from inference.segmenter import Segmenter  # noqa: PLC0415

        kept = self._kept.pop(role, None)
        if kept is None or kept.model.identity.sha256 != model.sha256:
            Registry(self._folder).verify(model)
            kept = Segmenter(load_model(str(model.folder), self._processing.device, self._processing.threads))
        if kept.model.identity.sha256 != model.sha256:
            sentence = f"model {model.name}: its manifest changed while it was read; try again"
            raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
        self._kept[role] = kept
        return kept
