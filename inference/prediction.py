"""Runs a model's networks over a stack of axial slices or a volume, and brings together what they say at each look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

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

SAY_MM = 8
"""How far from what networks over volumes find those for slices have their say, in voxels of 1 mm."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What the looks of all networks come to; arrays have the shape (region, slice, row, column), regions WT, TC, ET.

    Attributes
    ----------
    probabilities
        Their mean, each look weighted by its network's share.
    spread
        Standard deviation between the looks, so weighted: where they differ, the answer hangs on chance.
    agreement
        For each region the mean Dice of a look's mask with that of the mean; 1 where neither finds any.
    looks
        How many there were; a single one agrees with itself and says nothing about doubt.
    marked
        How many voxels each of them marks as whole tumour, where it learned to.
    """

    probabilities: NDArray[np.float32]
    spread: NDArray[np.float32]
    agreement: tuple[float, ...]
    looks: int
    marked: tuple[int, ...] = ()


def predict(
    model: ModelBundle, channels: NDArray[np.float32], slice_step: int = 1, *, staged: bool = True
) -> Prediction:
    """Let every network look at a study.

    Each of ours looks along three axes where it was trained to, else twice, the second time at the mirror image (left
    for right); a network that others trained looks once, as it was meant to. Of an ensemble that looks along three
    axes the first network searches the whole brain and the others look at the tumour's surroundings alone. Networks for
    slices that have a share in the answer over volumes look last and once, at the slices that show a tumour by then,
    and have their say beside it alone: of heads without one they learned nothing, and call white matter disease tumour.

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
    weights = _weights(model.networks)
    looks_so_far = _Looks(limits, channels.shape[1:])
    near: NDArray[np.bool_] | None = None
    for place, network in enumerate(model.networks):
        box = _WHOLE
        if place in weights.second:
            near = _near(looks_so_far.answer[0]) if near is None else near
            if not near.any():
                break
            box = (_slices_of(near), *_WHOLE[1:])
        elif staged and place and network.manifest.views > 1:
            box = box_around(looks_so_far.mean[0] > MAYBE_TUMOUR, MARGIN_MM) or _WHOLE
        seen = _shown(channels[:, *box], [model.manifest.channels.index(name) for name in network.manifest.blind_to])
        for look in _looks(network, seen, slice_step, second=place in weights.second):
            looks_so_far.add(look, box, weights.of(place, network), near)
    return looks_so_far.prediction()


def _near(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what is found and its surroundings."""
    return np.asarray(ndimage.distance_transform_edt(~found) <= SAY_MM) if found.any() else found


def _slices_of(near: NDArray[np.bool_]) -> slice:
    """Return the slices that show any of it."""
    places = np.flatnonzero(near.any(axis=(1, 2)))
    return slice(int(places[0]), int(places[-1]) + 1)


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """What a look counts: 1, or so much that networks for slices together have their share in an answer over a volume.

    Attributes
    ----------
    second
        Places of those networks.
    """

    second: frozenset[int]
    share: float
    first_looks: int

    def of(self, place: int, network: LoadedNetwork) -> NDArray[np.float32]:
        """Return the weight of one look by region, 0 where the network learned none."""
        weight = self.share / (1 - self.share) * self.first_looks / len(self.second) if place in self.second else 1.0
        return np.array([weight if region in network.manifest.regions else 0.0 for region in REGIONS], np.float32)


def _weights(networks: Sequence[LoadedNetwork]) -> _Weights:
    main = networks[0].manifest.input
    second = frozenset(place for place, one in enumerate(networks) if one.manifest.input != main)
    looks_of_main = sum(_count(one) for place, one in enumerate(networks) if place not in second)
    share = max((networks[place].manifest.share_on_volumes for place in second), default=0.0)
    return _Weights(second=second, share=share, first_looks=looks_of_main)


def _count(network: LoadedNetwork) -> int:
    """Return how many times a network looks."""
    return network.manifest.views if network.manifest.views > 1 else 1 + _looks_twice(network)


def _looks_twice(network: LoadedNetwork) -> bool:
    return isinstance(network.module, TumourUNet) and network.manifest.views == 1


def _shown(channels: NDArray[np.float32], hidden: Sequence[int]) -> NDArray[np.float32]:
    """Return the channels without those that a network never saw in training."""
    if not hidden or not channels[hidden].any():
        return channels
    shown = channels.copy()
    shown[hidden] = 0
    return shown


_WHOLE = (slice(None), slice(None), slice(None))


class _Looks:
    """Sums over looks, so that one at a time is in memory; what a look did not see keeps the others' mean."""

    def __init__(self, limits: NDArray[np.float32], shape: tuple[int, ...]) -> None:
        self._limits = limits
        self._total, self._squares = (np.zeros((len(limits), *shape), np.float32) for _ in range(2))
        self._weights = np.zeros_like(self._total)
        self._masks: list[list[NDArray[np.bool_] | None]] = []

    def add(
        self,
        look: NDArray[np.float32],
        box: tuple[slice, slice, slice],
        weights: NDArray[np.float32],
        where: NDArray[np.bool_] | None = None,
    ) -> None:
        """Count what a look says in its box; with `where`, shape of the volume, only there."""
        counts = np.broadcast_to(weights[:, None, None, None], look.shape)
        mask = self.answer if box is not _WHOLE or where is not None else np.zeros_like(self._total, bool)
        if where is None:
            mask[:, *box] = look >= self._limits
        else:
            counts = counts * where[box]
            mask[:, *box] = np.where(where[box], look >= self._limits, mask[:, *box])
        self._masks.append([mask[region] if weight else None for region, weight in enumerate(weights)])
        self._total[:, *box] += counts * look
        self._squares[:, *box] += counts * look * look
        self._weights[:, *box] += counts

    @property
    def mean(self) -> NDArray[np.float32]:
        return np.asarray(self._total / np.where(self._weights > 0, self._weights, 1), np.float32)

    @property
    def answer(self) -> NDArray[np.bool_]:
        return np.asarray(self.mean >= self._limits)

    def prediction(self) -> Prediction:
        mean = self.mean
        if not np.isfinite(mean).all():
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, "the model's networks answered what is not a number")
        weights = np.where(self._weights > 0, self._weights, 1)
        spread = np.sqrt(np.maximum(self._squares / weights - mean * mean, 0))
        answer = self.answer
        agreement = [self._agreement(region, answer[region]) for region in range(len(answer))]
        marked = tuple(int(np.count_nonzero(mask[0])) for mask in self._masks if mask[0] is not None)
        looks_taken = len(self._masks)
        return Prediction(
            probabilities=mean, spread=spread, agreement=tuple(agreement), looks=looks_taken, marked=marked
        )

    def _agreement(self, region: int, answer: NDArray[np.bool_]) -> float:
        """Return the mean Dice with the looks that know the region; 1 where there is none."""
        masks = [known for mask in self._masks if (known := mask[region]) is not None]
        return float(np.mean([overlap(count(mask, answer)).dice for mask in masks])) if masks else 1.0


def _looks(
    network: LoadedNetwork, channels: NDArray[np.float32], slice_step: int, *, second: bool
) -> Iterator[NDArray[np.float32]]:
    """Yield a network's looks; a second ensemble looks at everything, so it does so once."""
    views = network.manifest.views
    step = VIEW_STEP if views > 1 else slice_step
    mirrored = _looks_twice(network) and not second
    yield from looks(network.module, channels, mirrored=mirrored, slice_step=step, views=views)
