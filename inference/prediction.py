"""Runs a model's networks over a stack of axial slices or a volume, and averages their predictions.

Each network is one member of an ensemble. With test-time augmentation a member predicts several times: along other axes
or on the mirror image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.components import box_around
from inference.errors import InferenceReason, UnusableModel
from inference.forward import VIEW_STEP, augmented_predictions
from inference.manifest import REGIONS
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.unet import TumourUNet

__all__ = ["Prediction", "predict"]

MAYBE_TUMOUR = 0.05
"""Probability from which the other ensemble members check a voxel that the first one suspects."""

MARGIN_MM = 16
"""Margin around those voxels, in voxels of 1 mm. Both values were chosen and have not been measured on patients yet."""

SECOND_REACH_MM = 8
"""How far from the findings of volume networks the predictions of slice networks count, in voxels of 1 mm along each
axis."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The mean over the predictions of all ensemble members.

    Tensors have the shape (region, slice, row, column), with the regions WT, TC, ET.

    Attributes
    ----------
    probabilities
        Mean of the predictions, each weighted by its network's share.
    spread
        Standard deviation between the predictions with the same weights. Where they differ, the result is uncertain.
    agreement
        For each region the mean Dice between the mask of one prediction and that of the mean; 1 where both are empty.
    predictions_made
        Number of predictions. A single one agrees with itself, which is no evidence of certainty.
    marked
        What each prediction marks as whole tumour, without networks that were not trained on it; bool, shape of the
        volume.
    """

    probabilities: Tensor
    spread: Tensor
    agreement: tuple[float, ...]
    predictions_made: int
    marked: tuple[Tensor, ...] = ()


@torch.inference_mode()
def predict(model: ModelBundle, images: Tensor, slice_step: int = 1, *, staged: bool = True) -> Prediction:
    """Run every ensemble member over a study and average the predictions.

    The test-time augmentation depends on the network:

    - One of this program predicts along three axes where it was trained to. Otherwise it predicts twice, the second
      time on the mirror image (left for right).
    - A third-party network predicts once, as it was meant to.

    In an ensemble over three axes the first network searches the whole brain. The others run only on the surroundings
    of the tumour.

    Slice networks that have a share in the result over volumes run last and predict once, on the slices that show a
    tumour by then. Their prediction counts only near it: they were not trained on heads without a tumour, and mark
    white matter disease as tumour.

    Parameters
    ----------
    images
        Normalised intensities, float32, shape (channel, slice, row, column), on the model's device; rows run to the
        back, columns to the left.
    slice_step
        Distance of the neighbouring slices in a slice network's input, in slices.
    staged
        False runs every network on everything.
    """
    if not model.networks:
        raise ValueError("a model without networks predicts nothing")
    limits = torch.tensor(model.manifest.thresholds, device=model.device)[:, None, None, None]
    networks = _suitable(model, images)
    weights = _weights(networks)
    so_far = _RunningMean(limits, images.shape[1:])
    near: Tensor | None = None
    for place, network in enumerate(networks):
        box = _WHOLE
        if place in weights.second:
            near = _near(so_far.mask[0]) if near is None else near
            if not bool(near.any()):
                break
            box = ((box_around(near) or _WHOLE)[0], *_WHOLE[1:])
        elif staged and place and network.manifest.views > 1:
            box = box_around(so_far.mean[0] > MAYBE_TUMOUR, MARGIN_MM) or _WHOLE
        given = _blanked(images[:, *box], [model.manifest.channels.index(name) for name in network.manifest.blind_to])
        for probabilities in _predictions(network, given, slice_step, second=place in weights.second):
            so_far.add(probabilities, box, weights.of(place, network), near)
    return so_far.prediction()


def _suitable(model: ModelBundle, images: Tensor) -> tuple[LoadedNetwork, ...]:
    """Return the networks without those of the second ensemble that were hardly trained on such sequences."""
    present = {name for name, image in zip(model.manifest.channels, images, strict=True) if bool(image.any())}
    main = model.networks[0].manifest.input
    return tuple(
        one
        for one in model.networks
        if one.manifest.input == main or present.issuperset(one.manifest.needed_on_volumes)
    )


def _near(marked: Tensor) -> Tensor:
    """Return a mask with its surroundings, as far as `SECOND_REACH_MM` along each axis."""
    wide = marked[None, None].float()
    for axis in range(3):
        edge = [2 * SECOND_REACH_MM + 1 if axis == other else 1 for other in range(3)]
        wide = F.max_pool3d(wide, edge, stride=1, padding=[side // 2 for side in edge])
    return wide[0, 0] > 0


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """The weight of each prediction.

    It is 1 for a member of the first ensemble. For slice networks beside it the weight is chosen so that together they
    have their share in the result over a volume.

    Attributes
    ----------
    second
        Places of those slice networks.
    """

    second: frozenset[int]
    share: float
    first_predictions: int

    def of(self, place: int, network: LoadedNetwork) -> list[float]:
        """Return the weight of one prediction by region, 0 for regions the network was not trained on."""
        second = place in self.second
        weight = self.share / (1 - self.share) * self.first_predictions / len(self.second) if second else 1.0
        return [weight if region in network.manifest.regions else 0.0 for region in REGIONS]


def _weights(networks: Sequence[LoadedNetwork]) -> _Weights:
    main = networks[0].manifest.input
    second = frozenset(place for place, one in enumerate(networks) if one.manifest.input != main)
    first_predictions = sum(_count(one) for place, one in enumerate(networks) if place not in second)
    share = max((networks[place].manifest.share_on_volumes for place in second), default=0.0)
    return _Weights(second=second, share=share, first_predictions=first_predictions)


def _count(network: LoadedNetwork) -> int:
    """Return how many predictions a network makes."""
    return network.manifest.views if network.manifest.views > 1 else 1 + _uses_mirror_image(network)


def _uses_mirror_image(network: LoadedNetwork) -> bool:
    return isinstance(network.module, TumourUNet) and network.manifest.views == 1


def _blanked(images: Tensor, unknown: Sequence[int]) -> Tensor:
    """Return the channels with those set to zero that a network was never given in training."""
    if not unknown:
        return images
    blanked = images.clone()
    blanked[unknown] = 0
    return blanked


_WHOLE = (slice(None), slice(None), slice(None))


class _RunningMean:
    """Weighted sums over predictions, so that only one is in memory at a time.

    Voxels outside the box of one prediction keep the mean of the others. All tensors are on the device of `limits`.

    Parameters
    ----------
    limits
        Probability from which a voxel counts as marked, by region; shape (region, 1, 1, 1).
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
        self,
        probabilities: Tensor,
        box: tuple[slice, slice, slice],
        weights: Sequence[float],
        where: Tensor | None = None,
    ) -> None:
        """Add one prediction in its box; with `where`, shape of the volume, only there."""
        counts = torch.tensor(weights, device=probabilities.device)[:, None, None, None]
        mask = self.mask if box is not _WHOLE or where is not None else torch.zeros_like(self._total, dtype=torch.bool)
        marked = probabilities >= self._limits
        if where is not None:
            counts = counts * where[box]
            marked = torch.where(where[box], marked, mask[:, *box])
        mask[:, *box] = marked
        self._masks.append([mask[region] if weight else None for region, weight in enumerate(weights)])
        self._total[:, *box] += counts * probabilities
        self._squares[:, *box] += counts * probabilities * probabilities
        self._weights[:, *box] += counts

    @property
    def _counted(self) -> Tensor:
        return torch.where(self._weights > 0, self._weights, 1.0)

    @property
    def mean(self) -> Tensor:
        return self._total / self._counted

    @property
    def mask(self) -> Tensor:
        return self.mean >= self._limits

    def prediction(self) -> Prediction:
        mean = self.mean
        if not bool(mean.isfinite().all()):
            sentence = "the model cannot be used for this study: its networks returned values that are not numbers"
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        spread = (self._squares / self._counted - mean * mean).clamp(min=0).sqrt()
        mask = mean >= self._limits
        return Prediction(
            probabilities=mean,
            spread=spread,
            agreement=tuple(self._agreement(region, mask[region]) for region in range(len(mask))),
            predictions_made=len(self._masks),
            marked=tuple(own[0] for own in self._masks if own[0] is not None),
        )

    def _agreement(self, region: int, mask: Tensor) -> float:
        """Return the mean Dice with the predictions that include the region; 1 where there is none."""
        own_masks = [known for own in self._masks if (known := own[region]) is not None]
        return sum(_dice(own, mask) for own in own_masks) / len(own_masks) if own_masks else 1.0


def _dice(one: Tensor, other: Tensor) -> float:
    """Return the Dice coefficient of two masks, 1 where both are empty."""
    marked = int(one.count_nonzero()) + int(other.count_nonzero())
    return 2 * int((one & other).count_nonzero()) / marked if marked else 1.0


def _predictions(network: LoadedNetwork, images: Tensor, slice_step: int, *, second: bool) -> Iterator[Tensor]:
    """Yield a network's predictions; a member of the second ensemble, which has several, predicts once."""
    views = network.manifest.views
    step = VIEW_STEP if views > 1 else slice_step
    mirrored = _uses_mirror_image(network) and not second
    yield from augmented_predictions(network.module, images, mirrored=mirrored, slice_step=step, views=views)
