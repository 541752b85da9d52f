"""How far a result can be trusted: intervals around its volumes, the novelty of the study, and flags for doubts."""

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
"""A prediction that marks less than this counts as no tumour; below it a voxel's width decides (`inference.gate`)."""


def agreements(
    prediction: Prediction, regions: Iterable[Region], single_ml: Sequence[float] | None = None
) -> dict[Region, float]:
    """Return how well the predictions agree on each region.

    Parameters
    ----------
    single_ml
        The tumour volume of each prediction by itself, where all together show no tumour. The agreement is then the
        share of predictions that show none either. None where a tumour was found.
    """
    if not single_ml:
        return {region: prediction.agreement[PREDICTED.index(region)] for region in regions}
    share = sum(volume < NOTHING_ML for volume in single_ml) / len(single_ml)
    return dict.fromkeys(regions, share)


def volume_intervals(
    network: NetworkManifest,
    labels: Tensor,
    probabilities: Mapping[Region, Tensor],
    grid: Grid,
    brain: BrainFound | None,
    agreement: float,
) -> dict[Region, tuple[float, float]]:
    """Return the interval of each region that the networks of this input have factors for.

    There is none where no tumour was found.

    Parameters
    ----------
    brain
        Doubt outside it does not count. All doubt counts for None and for a skull-stripped brain.
    agreement
        Between the predictions, on the whole tumour.
    """
    possible = None if brain is None else brain.within
    if not bool(labels.any()):  # the smallest detectable tumour is stated instead; some ml beside "no tumour" mislead
        return {}
    intervals = {}
    for region, values in probabilities.items():
        if factors := network.interval_factors.get(region):
            volume_ml = int(region_of(labels, region).count_nonzero()) * grid.voxel_volume_ml
            doubtful_ml = doubt_ml(values, possible, grid.voxel_volume_ml)
            intervals[region] = volume_interval(volume_ml, doubtful_ml, agreement, (factors[0], factors[1]))
    return intervals


def novelty_of(
    model: ModelBundle, channels: Tensor, spacing_mm: Iterable[float], present: Sequence[str]
) -> float | None:
    """Return how far a study differs from the model's training data, or None where the model has no autoencoder.

    Parameters
    ----------
    channels
        Of the brain alone, normalised, in the order of the manifest, on the model's device.
    """
    if model.autoencoder is None or model.manifest.autoencoder is None:
        return None
    limits = model.manifest.autoencoder
    study = overview(channels, tuple(spacing_mm))
    errors = reconstruction_errors(model.autoencoder, study, model.manifest.channels, present)
    scale = NoveltyScale(whole=limits.whole, channels={name: tuple(levels) for name, levels in limits.channels.items()})
    return novelty(errors, scale)


def brain_flags(manifest: BrainManifest, brain: BrainFound | None) -> tuple[Flag, ...]:
    """Return a flag where two sequences of a study show different brains."""
    if brain is None or brain.agreement is None or brain.agreement >= manifest.agreement_flag:
        return ()
    sentence = (
        "the brain differs between two sequences: check that they are aligned and that the findings lie inside the "
        f"brain (Dice {brain.agreement:.2f} between the two brain masks, limit {manifest.agreement_flag:g})"
    )
    return (Flag(code=FlagCode.BRAIN_DOUBTFUL, sentence=sentence),)


def decided_flags(decisions: Iterable[Decision]) -> tuple[Flag, ...]:
    """Return a flag for whatever was left out and should be checked by a person."""
    return tuple(
        Flag(code=FlagCode.BOTH_SIDES, sentence=decision.reason)
        for decision in decisions
        if decision.code == FlagCode.BOTH_SIDES
    )


def model_flags(
    autoencoder: AutoencoderManifest | None,
    network: NetworkManifest,
    quality: Quality,
    *,
    brain_missed: bool,
    nothing_found: bool = False,
) -> tuple[Flag, ...]:
    """Return the flags for a result by the limits in the model's manifest.

    Where a model could judge novelty and did not, the result is withheld: the gate fails closed.

    Parameters
    ----------
    autoencoder
        Its manifest; None for a model without one, and for pictures, whose voxel size is not known.
    network
        The first of those that made the result; its limits are those of all.
    nothing_found
        Whether all predictions together show no tumour. The agreement is then the share of predictions that show none
        either.
    """
    flags = []
    agreement = quality.agreement[Region.WT]
    if brain_missed:
        sentence = "no brain was found in the images: they may show another part of the body, a phantom or noise"
        flags.append(Flag(code=FlagCode.NOT_A_BRAIN, sentence=sentence, closes=True))
    elif autoencoder is not None and (quality.novelty is None or math.isnan(quality.novelty)):
        sentence = "how far the study differs from the model's training data could not be judged"
        flags.append(Flag(code=FlagCode.OUT_OF_DISTRIBUTION, sentence=sentence, closes=True))
    elif autoencoder is not None and quality.novelty is not None and quality.novelty >= autoencoder.flag:
        sentence = (
            "the study differs from the model's training data: check for wrong contrasts, missing parts or another "
            f"part of the body (novelty {quality.novelty:.1f}, where 95 of 100 patients stay below 1)"
        )
        closes = quality.novelty >= autoencoder.gate
        flags.append(Flag(code=FlagCode.OUT_OF_DISTRIBUTION, sentence=sentence, closes=closes))
    if quality.looks > 1 and agreement < network.agreement_flag:
        sentence = (
            f"the outline of the tumour is uncertain and should be checked: the model's {quality.looks} predictions "
            f"disagree (mean Dice {agreement:.2f}, limit {network.agreement_flag:g})"
        )
        if nothing_found:
            sentence = (
                f"no tumour was found, but {1 - agreement:.0%} of the model's {quality.looks} predictions show one: "
                "check the images"
            )
        flags.append(Flag(code=FlagCode.LOW_AGREEMENT, sentence=sentence, closes=agreement < network.agreement_gate))
    return tuple(flags)
