"""What the model itself can say about an answer: how wide its volumes are, how new the study is, what is doubtful."""

import math
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from conversion.decision import Decision
from conversion.volume import Grid
from inference.brain_region import BrainFound
from inference.flags import Flag, FlagCode
from inference.labelling import PREDICTED
from inference.manifest import AutoencoderManifest, BrainManifest, NetworkManifest
from inference.model_bundle import ModelBundle
from inference.novelty import NoveltyScale, novelty, overview, reconstruction_errors
from inference.postprocessing import region_of
from inference.prediction import Prediction
from inference.regions import Region
from inference.segmentation import Quality
from inference.uncertainty import doubt_ml, volume_interval

__all__ = ["agreements", "brain_flags", "decided_flags", "model_flags", "novelty_of", "volume_intervals"]


NOTHING_ML = 1.0
"""A look that marks less than this sees nothing: under it a voxel's width decides (`inference.gate`)."""


def agreements(
    prediction: Prediction, regions: Iterable[Region], seen_ml: Sequence[float] | None = None
) -> dict[Region, float]:
    """Return how far the looks agree on each region.

    Parameters
    ----------
    seen_ml
        Where all together see no tumour, what each look alone would call one; the share of looks that see none either
        is what counts then. None where a tumour was found.
    """
    if not seen_ml:
        return {region: prediction.agreement[PREDICTED.index(region)] for region in regions}
    share = sum(volume < NOTHING_ML for volume in seen_ml) / len(seen_ml)
    return dict.fromkeys(regions, share)


def volume_intervals(
    network: NetworkManifest,
    labels: Tensor,
    probabilities: Mapping[Region, Tensor],
    grid: Grid,
    brain: BrainFound | None,
    agreement: float,
) -> dict[Region, tuple[float, float]]:
    """Return the interval of each region that the networks of this input have factors for; none where nothing is found.

    Parameters
    ----------
    brain
        Doubt outside of it does not count; None, or nothing but a brain, counts all.
    agreement
        Of the looks on the whole tumour.
    """
    possible = None if brain is None else brain.within
    if not bool(labels.any()):  # what would be seen is said then, and a doubt of some ml beside "no tumour" misleads
        return {}
    intervals = {}
    for region, values in probabilities.items():
        if factors := network.interval_factors.get(region):
            found = int(region_of(labels, region).count_nonzero()) * grid.voxel_volume_ml
            doubtful = doubt_ml(values, possible, grid.voxel_volume_ml)
            intervals[region] = volume_interval(found, doubtful, agreement, (factors[0], factors[1]))
    return intervals


def novelty_of(
    model: ModelBundle, channels: Tensor, spacing_mm: Iterable[float], present: Sequence[str]
) -> float | None:
    """Return how new a study is to the model, or None where the model has no autoencoder.

    Parameters
    ----------
    channels
        Of the brain alone, normalised, in the order of the manifest, on the model's device.
    """
    if model.autoencoder is None or model.manifest.autoencoder is None:
        return None
    told = model.manifest.autoencoder
    seen = overview(channels, tuple(spacing_mm))
    errors = reconstruction_errors(model.autoencoder, seen, model.manifest.channels, present)
    scale = NoveltyScale(whole=told.whole, channels={name: tuple(levels) for name, levels in told.channels.items()})
    return novelty(errors, scale)


def brain_flags(told: BrainManifest, brain: BrainFound | None) -> tuple[Flag, ...]:
    """Return what is doubtful about where the brain is: two sequences of a study that show different ones."""
    if brain is None or brain.agreement is None or brain.agreement >= told.agreement_flag:
        return ()
    sentence = (
        f"two sequences show brains that agree by a Dice of {brain.agreement:.2f} only: look whether one lies askew, "
        "and whether what was found lies inside the brain"
    )
    return (Flag(code=FlagCode.BRAIN_DOUBTFUL, sentence=sentence),)


def decided_flags(decisions: Iterable[Decision]) -> tuple[Flag, ...]:
    """Return what a person should look at among what was left out."""
    return tuple(
        Flag(code=FlagCode.BOTH_SIDES, sentence=decision.reason)
        for decision in decisions
        if decision.code == FlagCode.BOTH_SIDES
    )


def model_flags(
    told: AutoencoderManifest | None,
    network: NetworkManifest,
    quality: Quality,
    *,
    brain_missed: bool,
    nothing_found: bool = False,
) -> tuple[Flag, ...]:
    """Return what is doubtful about an answer by the limits of the model's manifest.

    What a model could judge and has not judged is as doubtful as can be: the gate fails closed.

    Parameters
    ----------
    told
        Of the autoencoder, None for a model without any, and for pictures, whose voxel size is not known.
    network
        The first of those that answered; its limits are those of all.
    nothing_found
        Whether all looks together see no tumour; the agreement is the share of looks that see none either, then.
    """
    flags = []
    agreement = quality.agreement[Region.WT]
    if brain_missed:
        sentence = (
            "no brain was found in what the images show; another part of the body, a phantom or noise looks like this"
        )
        flags.append(Flag(code=FlagCode.NOT_A_BRAIN, sentence=sentence, closes=True))
    elif told is not None and (quality.novelty is None or math.isnan(quality.novelty)):
        sentence = "how unlike its training the study is to the model could not be judged"
        flags.append(Flag(code=FlagCode.OUT_OF_DISTRIBUTION, sentence=sentence, closes=True))
    elif told is not None and quality.novelty is not None and quality.novelty >= told.flag:
        sentence = (
            f"the study is unlike what the model was trained on: novelty {quality.novelty:.1f}, where 95 of 100 stay "
            f"below 1; wrong contrasts, missing parts or another part of the body look like this"
        )
        closes = quality.novelty >= told.gate
        flags.append(Flag(code=FlagCode.OUT_OF_DISTRIBUTION, sentence=sentence, closes=closes))
    if quality.looks > 1 and agreement < network.agreement_flag:
        answers = f"the model's {quality.looks} answers (networks, each along several directions)"
        sentence = f"where the tumour ends is uncertain: {answers} agree by a Dice of only {agreement:.2f} on it"
        if nothing_found:
            sentence = f"{1 - agreement:.0%} of {answers} show a tumour, all together show none"
        flags.append(Flag(code=FlagCode.LOW_AGREEMENT, sentence=sentence, closes=agreement < network.agreement_gate))
    return tuple(flags)
