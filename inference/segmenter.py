"""Finds the tumour: from aligned volumes to labels on the reference's native grid."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, LabelVolume
from inference.arithmetic import arithmetic_on
from inference.atlas_axes import atlas_axes, load_atlas
from inference.bias_field import without_bias_field
from inference.both_sides import BothSides
from inference.brain_region import BrainFound, find_brain, shows_enough
from inference.claimed_contrast import contrast_judgements
from inference.declarations import declarations
from inference.errors import InferenceReason, UnsuitableInput
from inference.image_noise import noise_novelty
from inference.labelling import PREDICTED, LabelRules, label_study, whole_tumour
from inference.manifest import REGIONS, ModelManifest, NetworkManifest
from inference.model_bundle import ModelBundle
from inference.prediction import Prediction, predict
from inference.preprocessing import normalise_intensity, signal_box
from inference.regions import Region
from inference.resampling import sampled, sampled_mask, working_grid
from inference.segmentation import Quality, Segmentation
from inference.smallest_seen import smallest_seen_ml
from inference.study_tensors import StudyTensors
from inference.trust import agreements, brain_flags, decided_flags, model_flags, novelty_of, volume_intervals

__all__ = ["Segmenter"]

FEWEST_SLICES = 8
"""Fewer are no volume: a network over volumes halves its input four times."""

NEIGHBOUR_MM = 3.0
"""Middle of the distances, 1 to 5 mm, at which slice networks learn from neighbours."""

OVERVIEW_MM = 1.0
"""Voxel size at which a study is shown to the autoencoder, as it was in training."""

CORES_BESIDE = 4
"""Of the processor that judge the volumes while a GPU looks at them; where the networks are on it too, one. Chosen, not
measured on a GPU yet."""

_ALL_REGIONS = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Input:
    """What the networks are shown.

    Attributes
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column).
    brain_alone
        Whether nothing but the brain is shown, as networks over volumes and the autoencoder learned it.
    turned
        Whether the grid has the axes of an atlas.
    """

    grid: Grid
    channels: Tensor
    brain_alone: bool
    turned: bool = False


class Segmenter:
    """A model with the geometry around it; between the volumes and the labels nothing leaves the model's device."""

    def __init__(self, model: ModelBundle) -> None:
        self.model = model

    def segment(self, aligned: AlignedVolumes, *, spacing_known: bool = True) -> Segmentation:
        """Segment one study.

        Parameters
        ----------
        aligned
            Sequences on the reference's grid, of any orientation; a missing one is left empty and declared.
        spacing_known
            False for pictures: voxels are taken as they are, by the networks for slices where the model has any.

        Raises
        ------
        UnsuitableInput
            When the model's indispensable sequences are missing or a volume is empty.
        """
        present = self._present(aligned)
        with self._judging_beside(aligned, wanted=spacing_known) as claims:
            return self._segment(aligned, present, claims, spacing_known=spacing_known)

    @contextmanager
    def _judging_beside(self, aligned: AlignedVolumes, *, wanted: bool) -> Iterator[list[Future[float]]]:
        """Let the processor judge what the volumes are said to be, while the networks look at them."""
        judgements: list[Callable[[], float]] = [
            *contrast_judgements(aligned.volumes),
            partial(noise_novelty, aligned.volumes),
        ]
        with ThreadPoolExecutor(1 if self.model.device.type == "cpu" else CORES_BESIDE) as pool:
            try:
                asked = judgements if wanted and self.model.autoencoder is not None else []
                yield [pool.submit(judge) for judge in asked]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    @torch.inference_mode()
    def _segment(
        self,
        aligned: AlignedVolumes,
        present: tuple[str, ...],
        claims: Sequence[Future[float]],
        *,
        spacing_known: bool,
    ) -> Segmentation:
        manifest = self.model.manifest
        study = StudyTensors.of(aligned, self.model.device)
        brain = find_brain(self.model.brain, study) if spacing_known else None
        missed = spacing_known and brain is None and shows_enough(study)
        model = self._chosen(study.grid, spacing_known=spacing_known, alone=not missed)
        network = model.networks[0].manifest
        seen = self._input(model, study, brain, aligned, spacing_known=spacing_known)
        prediction = _predict_in_box(model, seen, spacing_known=spacing_known)
        learned, core_known = _core_known(model.manifest, network, present)
        regions = PREDICTED if core_known else (Region.WT,)
        native = _onto(study.grid, seen.grid, prediction.probabilities, regions)
        rules = _rules(model.manifest, study, brain, native[Region.WT] if spacing_known else None)
        labels, decisions = label_study(native, rules)
        alone = None if bool(labels.any()) else _seen_alone_ml(prediction, seen, native[Region.WT], rules)
        quality = Quality(
            input=network.input,
            looks=prediction.looks,
            arithmetic=arithmetic_on(model.device),
            agreement=agreements(prediction, regions, alone),
        )
        if spacing_known:
            quality = replace(
                quality,
                interval_ml=volume_intervals(network, labels, native, study.grid, brain, quality.agreement[Region.WT]),
                novelty=self._novelty(study, brain, present, claims, seen),
                smallest_seen_ml=smallest_seen_ml(manifest.smallest_seen_ml, present, study.grid.spacing_mm),
            )
        declared = declarations(manifest, present, core_known=core_known, learned=learned, turned=seen.turned)
        told = manifest.autoencoder if spacing_known else None
        doubts = model_flags(told, network, quality, brain_missed=missed, nothing_found=alone is not None)
        return Segmentation(
            label_volume=LabelVolume(grid=study.grid, labels=labels.cpu().numpy()),
            regions=_ALL_REGIONS if core_known else (Region.WT,),
            probabilities=_halves(native, brain),
            uncertainty=_halves(_onto(study.grid, seen.grid, prediction.spread, regions), brain),
            model=self.model.identity,
            sequences=present,
            decisions=(*declared, *decisions),
            quality=quality,
            brain=None if brain is None else brain.mask.cpu().numpy(),
            flags=(*brain_flags(self.model.brain.manifest, brain), *decided_flags(decisions), *doubts),
        )

    @torch.inference_mode()
    def novelty(self, aligned: AlignedVolumes) -> float | None:
        """Return how new a study is to the model, without segmenting it; infinite for a head without a brain.

        None where the model has no measure of it.
        """
        present, study = self._present(aligned), StudyTensors.of(aligned, self.model.device)
        brain = find_brain(self.model.brain, study)
        if brain is None and shows_enough(study):
            return math.inf
        with self._judging_beside(aligned, wanted=True) as claims:
            return self._novelty(study, brain, present, claims)

    def _present(self, aligned: AlignedVolumes) -> tuple[str, ...]:
        manifest = self.model.manifest
        present = tuple(name for name in manifest.channels if Role(name) in aligned.volumes)
        if not set(present) & set(manifest.one_of):
            sentence = f"model {manifest.name} needs one of {', '.join(manifest.one_of)}"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        if missing := [name for name in manifest.needs if name not in present]:
            sentence = f"model {manifest.name} was not trained to go without {', '.join(missing)}"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        return present

    def _chosen(self, grid: Grid, *, spacing_known: bool, alone: bool) -> ModelBundle:
        """Return the model with the networks for such an input: those over volumes where there is a brain to show."""
        kinds = {network.manifest.input for network in self.model.networks}
        stack = spacing_known and min(grid.shape) >= FEWEST_SLICES
        wanted = "volume" if "volume" in kinds and ((stack and alone) or "slices" not in kinds) else "slices"
        return self.model.for_input(wanted)

    def _input(
        self,
        model: ModelBundle,
        study: StudyTensors,
        brain: BrainFound | None,
        aligned: AlignedVolumes,
        *,
        spacing_known: bool,
    ) -> _Input:
        network = model.networks[0].manifest
        if network.n4:
            aligned = _without_bias_fields(aligned)
            study = StudyTensors.of(aligned, self.model.device)
        volumes = network.input == "volume"
        wanted = volumes and model.manifest.space == "atlas" and brain is not None and not brain.stripped
        axes = atlas_axes(load_atlas(), aligned.volumes[aligned.reference]) if wanted else None
        if axes is not None:
            grid = study.grid.turned(axes, network.spacing_mm)
        elif spacing_known:
            grid = working_grid(study.grid, network.spacing_mm, cubes=volumes)
        else:
            grid = study.grid.permuted(*study.grid.axial_order())
        alone = spacing_known and network.sees_brain_alone
        channels = self._channels(study, grid, brain if alone else None)
        return _Input(grid=grid, channels=channels, brain_alone=alone, turned=axes is not None)

    def _channels(self, study: StudyTensors, grid: Grid, brain: BrainFound | None) -> Tensor:
        """Return what is shown of every sequence; where a brain is given, nothing of its head."""
        alone = brain is not None and not brain.stripped
        shown = sampled_mask(brain.tight, study.grid, grid) if brain is not None and alone else None
        return torch.stack([_channel(study, name, grid, shown) for name in self.model.manifest.channels])

    def _novelty(
        self,
        study: StudyTensors,
        brain: BrainFound | None,
        present: tuple[str, ...],
        claims: Sequence[Future[float]],
        seen: _Input | None = None,
    ) -> float | None:
        """Return the largest of what autoencoder, contrasts and noise say; None without an autoencoder.

        Parameters
        ----------
        claims
            What is judged beside.
        seen
            What the networks were shown; looked at again where it was the brain alone along our axes.
        """
        if self.model.autoencoder is None:
            return None
        if seen is None or not seen.brain_alone or self.model.manifest.space != "native":
            grid = working_grid(study.grid, OVERVIEW_MM, cubes=True)
            seen = _Input(grid=grid, channels=self._channels(study, grid, brain), brain_alone=True)
        found = novelty_of(self.model, seen.channels, seen.grid.spacing_mm, present)
        if found is None:
            return None
        return max(found, *(judged.result() for judged in claims))


def _channel(study: StudyTensors, name: str, grid: Grid, shown: Tensor | None) -> Tensor:
    """Return a sequence as the networks are shown it; zeros where it is missing.

    Parameters
    ----------
    shown
        bool, shape of the grid: what else there is is taken away.
    """
    voxels = study.volumes.get(Role(name))
    if voxels is None:
        return torch.zeros(grid.shape, device=study.head.device)
    there = sampled(voxels, study.grid, grid)
    values = normalise_intensity(there if shown is None else torch.where(shown, there, 0))
    if not bool(values.any()):
        raise UnsuitableInput(InferenceReason.EMPTY_VOLUME, f"the {name} series holds no signal")
    return values


def _without_bias_fields(aligned: AlignedVolumes) -> AlignedVolumes:
    return replace(aligned, volumes={role: without_bias_field(one) for role, one in aligned.volumes.items()})


def _core_known(manifest: ModelManifest, network: NetworkManifest, present: Sequence[str]) -> tuple[bool, bool]:
    """Return whether all networks of an input learned the core, and whether it can be told of these sequences."""
    learned = all(set(REGIONS) <= set(one.regions) for one in manifest.networks if one.input == network.input)
    return learned, learned and set(manifest.core_needs) <= set(present)


def _rules(
    manifest: ModelManifest, study: StudyTensors, brain: BrainFound | None, probability: Tensor | None
) -> LabelRules:
    """Return by what the labels are made; without a probability of the whole tumour halves are not compared."""
    sides = None if probability is None else BothSides(study, brain, probability)
    return LabelRules(manifest=manifest, grid=study.grid, brain=brain, sides=sides)


def _ours(model: ModelBundle) -> bool:
    """Tell whether `glionode train` made the networks."""
    return all(network.manifest.architecture == "tumour-unet" for network in model.networks)


def _predict_in_box(model: ModelBundle, seen: _Input, *, spacing_known: bool) -> Prediction:
    """Return what the networks say of the box around the head; nothing is said of the air around it."""
    if not _ours(model):  # other networks' norms may see the air as well
        return predict(model, seen.channels, _slice_step(seen.grid, spacing_known=spacing_known))
    box = signal_box(seen.channels, share=0.0)
    found = predict(model, seen.channels[:, *box], _slice_step(seen.grid, spacing_known=spacing_known))

    def whole(part: Tensor) -> Tensor:
        values = part.new_zeros((len(part), *seen.grid.shape))
        values[:, *box] = part
        return values

    marked = tuple(whole(mask[None])[0] for mask in found.marked)
    return replace(found, probabilities=whole(found.probabilities), spread=whole(found.spread), marked=marked)


def _seen_alone_ml(prediction: Prediction, seen: _Input, probability: Tensor, rules: LabelRules) -> list[float]:
    """Return what each look alone would call a tumour, by the rules that hold for all together."""

    def kept_ml(marked: Tensor) -> float:
        if not bool(marked.any()):
            return 0.0
        kept = whole_tumour(sampled_mask(marked, seen.grid, rules.grid), probability, rules)[0]
        return int(kept.count_nonzero()) * rules.grid.voxel_volume_ml

    return [kept_ml(marked) for marked in prediction.marked]


def _onto(native: Grid, working: Grid, maps: Tensor, regions: tuple[Region, ...]) -> dict[Region, Tensor]:
    """Return each region's map on the native grid."""
    found = sampled(maps[[PREDICTED.index(region) for region in regions]], working, native)
    return dict(zip(regions, found, strict=True))


def _halves(maps: Mapping[Region, Tensor], brain: BrainFound | None) -> dict[Region, NDArray[np.float16]]:
    """Return maps for people and tuning: where no finding can be, nothing is probable."""
    within = None if brain is None else brain.within
    shown = {region: values if within is None else values * within for region, values in maps.items()}
    return {region: values.half().cpu().numpy() for region, values in shown.items()}


def _slice_step(grid: Grid, *, spacing_known: bool) -> int:
    """Return how many slices away the neighbours lie that a slice network sees: about as far as it was trained with."""
    return max(1, round(NEIGHBOUR_MM / float(grid.spacing_mm[0]))) if spacing_known else 1
