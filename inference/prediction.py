"""Runs a model's networks over a stack of axial slices or a volume, and brings together what they say at each look."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.errors import InferenceReason, UnusableModel
from inference.evaluation.overlap import count, overlap
from inference.forward import VIEW_STEP, looks
from inference.manifest import REGIONS
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.preprocessing import box_around
from inference.unet import TumourUNet

__all__ = ["Prediction", "predict"]

MAYBE_TUMOUR = 0.05
"""Probability from which the first network's answer is looked at by the others."""

MARGIN_MM = 16
"""Around it, in voxels of 1 mm. Both chosen, not measured on patients yet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What the looks of all networks come to; arrays have the shape (region, slice, row, column), regions WT, TC, ET.

    Attributes
    ----------
    probabilities
        Their mean.
    spread
        Standard deviation between the looks: where they differ, the answer hangs on chance.
    agreement
        For each region the mean Dice of a look's mask with that of the mean; 1 where neither finds any.
    looks
        How many there were; a single one agrees with itself and says nothing about doubt.
    """

    probabilities: NDArray[np.float32]
    spread: NDArray[np.float32]
    agreement: tuple[float, ...]
    looks: int


def predict(
    model: ModelBundle, channels: NDArray[np.float32], slice_step: int = 1, *, staged: bool = True
) -> Prediction:
    """Let every network look at a study.

    Each of ours looks along three axes where it was trained to, else twice, the second time at the mirror image (left
    for right); a network that others trained looks once, as it was meant to. Of an ensemble that looks along three
    axes the first network searches the whole brain and the others look at the tumour's surroundings alone.

    Parameters
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column); rows run to the back, columns to the left.
    slice_step
        Distance of the neighbours that a slice network sees, in slices.
    staged
        False lets every network look at everything.
    """
    if not model.networks:
        raise ValueError("a model without networks predicts nothing")
    limits = np.array(model.manifest.thresholds, np.float32)[:, None, None, None]
    looks_so_far = _Looks(limits, channels.shape[1:])
    for place, network in enumerate(model.networks):
        box = _WHOLE
        if staged and place and network.manifest.views > 1:
            box = box_around(looks_so_far.mean[0] > MAYBE_TUMOUR, MARGIN_MM) or _WHOLE
        for look in _looks(network, channels[:, *box], slice_step):
            looks_so_far.add(look, box)
    return looks_so_far.prediction()


_WHOLE = (slice(None), slice(None), slice(None))


class _Looks:
    """Sums over looks, so that one at a time is in memory; what a look did not see keeps the others' mean."""

    def __init__(self, limits: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        self._limits = limits
        self._total, self._squares = (np.zeros((len(limits), *shape), np.float32) for _ in range(2))
        self._counts = np.zeros(shape, np.float32)
        self._masks: list[NDArray[np.bool_]] = []

    def add(self, look: NDArray[np.float32], box: tuple[slice, slice, slice]) -> None:
        mask = self.mean >= self._limits if box is not _WHOLE else np.zeros_like(self._total, bool)
        mask[:, *box] = look >= self._limits
        self._masks.append(mask)
        self._total[:, *box] += look
        self._squares[:, *box] += look * look
        self._counts[box] += 1

    @property
    def mean(self) -> NDArray[np.float32]:
        return np.asarray(self._total / np.maximum(self._counts, 1), np.float32)

    def prediction(self) -> Prediction:
        mean = self.mean
        if not np.isfinite(mean).all():
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, "the model's networks answered what is not a number")
        spread = np.sqrt(np.maximum(self._squares / np.maximum(self._counts, 1) - mean * mean, 0))
        answer = mean >= self._limits
        agreement = [
            float(np.mean([overlap(count(mask[region], answer[region])).dice for mask in self._masks]))
            for region in range(len(answer))
        ]
        return Prediction(probabilities=mean, spread=spread, agreement=tuple(agreement), looks=len(self._masks))


def _looks(network: LoadedNetwork, channels: NDArray[np.float32], slice_step: int) -> Iterator[NDArray[np.float32]]:
    views = network.manifest.views
    mirrored = isinstance(network.module, TumourUNet) and views == 1
    step = VIEW_STEP if views > 1 else slice_step
    unknown = [place for place, region in enumerate(REGIONS) if region not in network.manifest.regions]
    for answer in looks(network.module, channels, mirrored=mirrored, slice_step=step, views=views):
        answer[unknown] = 0
        yield answer
