"""Runs a model's networks over a stack of axial slices or a volume, and brings together what they say at each look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.components import box_around
from inference.errors import InferenceReason, UnusableModel
from inference.forward import VIEW_STEP, looks
from inference.manifest import REGIONS
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.unet import TumourUNet

__all__ = ["Prediction", "predict"]

MAYBE_TUMOUR = 0.05
"""Probability from which the first network's answer is looked at by the others."""

MARGIN_MM = 16
"""Around it, in voxels of 1 mm. Both chosen, not measured on patients yet."""

SAY_MM = 8
"""How far from what networks over volumes find those for slices have their say, in voxels of 1 mm along each axis."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What the looks of all networks come to; tensors have the shape (region, slice, row, column), regions WT, TC, ET.

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
        What each of them marks as whole tumour, where it learned to; bool, shape of the volume.
    """

    probabilities: Tensor
    spread: Tensor
    agreement: tuple[float, ...]
    looks: int
    marked: tuple[Tensor, ...] = ()


@torch.inference_mode()
def predict(model: ModelBundle, images: Tensor, slice_step: int = 1, *, staged: bool = True) -> Prediction:
    """Let every network look at a study.

    Each of ours looks along three axes where it was trained to, else twice, the second time at the mirror image (left
    for right); a network that others trained looks once, as it was meant to. Of an ensemble that looks along three
    axes the first network searches the whole brain and the others look at the tumour's surroundings alone. Networks for
    slices that have a share in the answer over volumes look last and once, at the slices that show a tumour by then,
    and have their say beside it alone: of heads without one they learned nothing, and call white matter disease tumour.

    Parameters
    ----------
    images
        Normalised intensities, float32, shape (channel, slice, row, column), on the model's device; rows run to the
        back, columns to the left.
    slice_step
        Distance of the neighbours that a slice network sees, in slices.
    staged
        False lets every network look at everything.
    """
    if not model.networks:
        raise ValueError("a model without networks predicts nothing")
    limits = torch.tensor(model.manifest.thresholds, device=model.device)[:, None, None, None]
    networks = _asked(model, images)
    weights = _weights(networks)
    looks_so_far = _Looks(limits, images.shape[1:])
    near: Tensor | None = None
    for place, network in enumerate(networks):
        box = _WHOLE
        if place in weights.second:
            near = _near(looks_so_far.answer[0]) if near is None else near
            if not bool(near.any()):
                break
            box = ((box_around(near) or _WHOLE)[0], *_WHOLE[1:])
        elif staged and place and network.manifest.views > 1:
            box = box_around(looks_so_far.mean[0] > MAYBE_TUMOUR, MARGIN_MM) or _WHOLE
        seen = _shown(images[:, *box], [model.manifest.channels.index(name) for name in network.manifest.blind_to])
        for look in _looks(network, seen, slice_step, second=place in weights.second):
            looks_so_far.add(look, box, weights.of(place, network), near)
    return looks_so_far.prediction()


def _asked(model: ModelBundle, images: Tensor) -> tuple[LoadedNetwork, ...]:
    """Return the networks without those of the second ensemble that hardly know such sequences."""
    shown = {name for name, image in zip(model.manifest.channels, images, strict=True) if bool(image.any())}
    main = model.networks[0].manifest.input
    return tuple(
        one for one in model.networks if one.manifest.input == main or shown.issuperset(one.manifest.needed_on_volumes)
    )


def _near(found: Tensor) -> Tensor:
    """Return what is found and its surroundings, as far as `SAY_MM` along each axis."""
    wide = found[None, None].float()
    for axis in range(3):
        edge = [2 * SAY_MM + 1 if axis == other else 1 for other in range(3)]
        wide = F.max_pool3d(wide, edge, stride=1, padding=[side // 2 for side in edge])
    return wide[0, 0] > 0


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

    def of(self, place: int, network: LoadedNetwork) -> list[float]:
        """Return the weight of one look by region, 0 where the network learned none."""
        weight = self.share / (1 - self.share) * self.first_looks / len(self.second) if place in self.second else 1.0
        return [weight if region in network.manifest.regions else 0.0 for region in REGIONS]


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


def _shown(images: Tensor, hidden: Sequence[int]) -> Tensor:
    """Return the channels without those that a network never saw in training."""
    if not hidden:
        return images
    shown = images.clone()
    shown[hidden] = 0
    return shown


_WHOLE = (slice(None), slice(None), slice(None))


class _Looks:
    """Sums over looks, so that one at a time is in memory; what a look did not see keeps the others' mean.

    All tensors lie on the device of the first one that is given.

    Parameters
    ----------
    limits
        By region, shape (region, 1, 1, 1): from which probability on a voxel counts as marked.
    shape
        Of the volume.
    """

    def __init__(self, limits: Tensor, shape: Sequence[int]) -> None:
        self._limits = limits
        self._total, self._squares, self._weights = (
            torch.zeros((len(limits), *shape), device=limits.device) for _ in range(3)
        )
        self._masks: list[list[Tensor | None]] = []

    def add(
        self, look: Tensor, box: tuple[slice, slice, slice], weights: Sequence[float], where: Tensor | None = None
    ) -> None:
        """Count what a look says in its box; with `where`, shape of the volume, only there."""
        counts = torch.tensor(weights, device=look.device)[:, None, None, None]
        mask = (
            self.answer if box is not _WHOLE or where is not None else torch.zeros_like(self._total, dtype=torch.bool)
        )
        marked = look >= self._limits
        if where is not None:
            counts = counts * where[box]
            marked = torch.where(where[box], marked, mask[:, *box])
        mask[:, *box] = marked
        self._masks.append([mask[region] if weight else None for region, weight in enumerate(weights)])
        self._total[:, *box] += counts * look
        self._squares[:, *box] += counts * look * look
        self._weights[:, *box] += counts

    @property
    def _counted(self) -> Tensor:
        return torch.where(self._weights > 0, self._weights, 1.0)

    @property
    def mean(self) -> Tensor:
        return self._total / self._counted

    @property
    def answer(self) -> Tensor:
        return self.mean >= self._limits

    def prediction(self) -> Prediction:
        mean = self.mean
        if not bool(mean.isfinite().all()):
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, "the model's networks answered what is not a number")
        spread = (self._squares / self._counted - mean * mean).clamp(min=0).sqrt()
        answer = mean >= self._limits
        return Prediction(
            probabilities=mean,
            spread=spread,
            agreement=tuple(self._agreement(region, answer[region]) for region in range(len(answer))),
            looks=len(self._masks),
            marked=tuple(mask[0] for mask in self._masks if mask[0] is not None),
        )

    def _agreement(self, region: int, answer: Tensor) -> float:
        """Return the mean Dice with the looks that know the region; 1 where there is none."""
        masks = [known for mask in self._masks if (known := mask[region]) is not None]
        return sum(_dice(mask, answer) for mask in masks) / len(masks) if masks else 1.0


def _dice(one: Tensor, other: Tensor) -> float:
    """Return the Dice coefficient of two masks, 1 where both are empty."""
    marked = int(one.count_nonzero()) + int(other.count_nonzero())
    return 2 * int((one & other).count_nonzero()) / marked if marked else 1.0


def _looks(network: LoadedNetwork, images: Tensor, slice_step: int, *, second: bool) -> Iterator[Tensor]:
    """Yield a network's looks; a second ensemble has several networks and each looks once."""
    views = network.manifest.views
    step = VIEW_STEP if views > 1 else slice_step
    mirrored = _looks_twice(network) and not second
    yield from looks(network.module, images, mirrored=mirrored, slice_step=step, views=views)
