"""Segments the tumour: from aligned volumes to labels on the reference's native grid."""

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
"""Fewer slices are no volume: a volume network halves its input four times."""

NEIGHBOUR_MM = 3.0
"""Middle of the distances, 1 to 5 mm, of the neighbouring slices that slice networks were trained on."""

OVERVIEW_MM = 1.0
"""Voxel size of the autoencoder's input, as in training."""

CORES_BESIDE = 4
"""Cores of the processor that judge the volumes while the networks run on a GPU. Where the networks run on the
processor too, it is one. Chosen; not measured on a GPU yet."""

_ALL_REGIONS = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Input:
    """The networks' input.

    Attributes
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column).
    brain_alone
        Whether it contains the brain only, as volume networks and the autoencoder were trained on.
    atlas_axes
        Whether the grid has the axes of an atlas.
    """

    grid: Grid
    channels: Tensor
    brain_alone: bool
    atlas_axes: bool = False


class Segmenter:
    """A model with the geometry around it. Between the volumes and the labels all data stay on the model's device."""

    def __init__(self, model: ModelBundle) -> None:
        self.model = model

    def segment(self, aligned: AlignedVolumes, *, spacing_known: bool = True) -> Segmentation:
        """Segment one study.

        Parameters
        ----------
        aligned
            Sequences on the reference's grid, of any orientation. A missing one is left empty, and a decision states
            it.
        spacing_known
            False for pictures: voxels are not resampled, and the slice networks are used where the model has any.

        Raises
        ------
        UnsuitableInput
            When sequences are missing that the model needs, or a volume is empty.
        """
        present = self._present(aligned)
        with self._judging_beside(aligned, wanted=spacing_known) as claims:
            return self._segment(aligned, present, claims, spacing_known=spacing_known)

    @contextmanager
    def _judging_beside(self, aligned: AlignedVolumes, *, wanted: bool) -> Iterator[list[Future[float]]]:
        """Judge contrasts and noise of the volumes on the processor while the networks run."""
        judgements: list[Callable[[], float]] = [
            *contrast_judgements(aligned.volumes),
            partial(noise_novelty, aligned.volumes),
        ]
        with ThreadPoolExecutor(1 if self.model.device.type == "cpu" else CORES_BESIDE) as pool:
            try:
                needed = judgements if wanted and self.model.autoencoder is not None else []
                yield [pool.submit(judge) for judge in needed]
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
        given = self._input(model, study, brain, aligned, spacing_known=spacing_known)
        prediction = _predict_in_box(model, given, spacing_known=spacing_known)
        trained, core_known = _core_known(model.manifest, network, present)
        regions = PREDICTED if core_known else (Region.WT,)
        native = _onto(study.grid, given.grid, prediction.probabilities, regions)
        rules = _rules(model.manifest, study, brain, native[Region.WT] if spacing_known else None)
        labels, decisions = label_study(native, rules)
        single_ml = None if bool(labels.any()) else _single_ml(prediction, given, native[Region.WT], rules)
        quality = Quality(
            input=network.input,
            looks=prediction.predictions_made,
            arithmetic=arithmetic_on(model.device),
            agreement=agreements(prediction, regions, single_ml),
        )
        if spacing_known:
            quality = replace(
                quality,
                interval_ml=volume_intervals(network, labels, native, study.grid, brain, quality.agreement[Region.WT]),
                novelty=self._novelty(study, brain, present, claims, given),
                smallest_seen_ml=smallest_seen_ml(manifest.smallest_seen_ml, present, study.grid.spacing_mm),
            )
        limits = declarations(manifest, present, core_known=core_known, trained=trained, atlas_axes=given.atlas_axes)
        autoencoder = manifest.autoencoder if spacing_known else None
        doubts = model_flags(autoencoder, network, quality, brain_missed=missed, nothing_found=single_ml is not None)
        return Segmentation(
            label_volume=LabelVolume(grid=study.grid, labels=labels.cpu().numpy()),
            regions=_ALL_REGIONS if core_known else (Region.WT,),
            probabilities=_halves(native, brain),
            uncertainty=_halves(_onto(study.grid, given.grid, prediction.spread, regions), brain),
            model=self.model.identity,
            sequences=present,
            decisions=(*limits, *decisions),
            quality=quality,
            brain=None if brain is None else brain.mask.cpu().numpy(),
            flags=(*brain_flags(self.model.brain.manifest, brain), *decided_flags(decisions), *doubts),
        )

    @torch.inference_mode()
    def novelty(self, aligned: AlignedVolumes) -> float | None:
        """Return how far a study differs from the model's training data, without segmenting it.

        It is infinite for a head without a brain, and None where the model has no measure of it.
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
            sentence = f"the study has none of {', '.join(manifest.one_of)}; model {manifest.name} needs at least one"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        if missing := [name for name in manifest.needs if name not in present]:
            sentence = f"the study lacks sequences that model {manifest.name} needs: {', '.join(missing)}"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        return present

    def _chosen(self, grid: Grid, *, spacing_known: bool, alone: bool) -> ModelBundle:
        """Return the model with the networks for such an input: volume networks where a brain was found."""
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
        return _Input(grid=grid, channels=channels, brain_alone=alone, atlas_axes=axes is not None)

    def _channels(self, study: StudyTensors, grid: Grid, brain: BrainFound | None) -> Tensor:
        """Return every sequence on a grid; where a brain is given, without skull and scalp."""
        alone = brain is not None and not brain.stripped
        inside = sampled_mask(brain.tight, study.grid, grid) if brain is not None and alone else None
        return torch.stack([_channel(study, name, grid, inside) for name in self.model.manifest.channels])

    def _novelty(
        self,
        study: StudyTensors,
        brain: BrainFound | None,
        present: tuple[str, ...],
        claims: Sequence[Future[float]],
        given: _Input | None = None,
    ) -> float | None:
        """Return the largest score of autoencoder, contrasts and noise; None without an autoencoder.

        Parameters
        ----------
        claims
            Scores of contrasts and noise, computed in parallel.
        given
            The networks' input; used again where it was the brain alone along the axes of the reference.
        """
        if self.model.autoencoder is None:
            return None
        if given is None or not given.brain_alone or self.model.manifest.space != "native":
            grid = working_grid(study.grid, OVERVIEW_MM, cubes=True)
            given = _Input(grid=grid, channels=self._channels(study, grid, brain), brain_alone=True)
        found = novelty_of(self.model, given.channels, given.grid.spacing_mm, present)
        if found is None:
            return None
        return max(found, *(judged.result() for judged in claims))


def _channel(study: StudyTensors, name: str, grid: Grid, inside: Tensor | None) -> Tensor:
    """Return a sequence as the networks' input; zeros where it is missing.

    Parameters
    ----------
    inside
        bool, shape of the grid; voxels outside are set to zero.
    """
    voxels = study.volumes.get(Role(name))
    if voxels is None:
        return torch.zeros(grid.shape, device=study.head.device)
    resampled = sampled(voxels, study.grid, grid)
    values = normalise_intensity(resampled if inside is None else torch.where(inside, resampled, 0))
    if not bool(values.any()):
        raise UnsuitableInput(InferenceReason.EMPTY_VOLUME, f"the {name} series contains no signal")
    return values


def _without_bias_fields(aligned: AlignedVolumes) -> AlignedVolumes:
    return replace(aligned, volumes={role: without_bias_field(one) for role, one in aligned.volumes.items()})


def _core_known(manifest: ModelManifest, network: NetworkManifest, present: Sequence[str]) -> tuple[bool, bool]:
    """Return whether all networks of an input were trained on the core, and whether these sequences show it."""
    trained = all(set(REGIONS) <= set(one.regions) for one in manifest.networks if one.input == network.input)
    return trained, trained and set(manifest.core_needs) <= set(present)


def _rules(
    manifest: ModelManifest, study: StudyTensors, brain: BrainFound | None, probability: Tensor | None
) -> LabelRules:
    """Return the rules for labels; without a probability of the whole tumour, halves are not compared."""
    sides = None if probability is None else BothSides(study, brain, probability)
    return LabelRules(manifest=manifest, grid=study.grid, brain=brain, sides=sides)


def _ours(model: ModelBundle) -> bool:
    """Return whether `glionode train` made the networks."""
    return all(network.manifest.architecture == "tumour-unet" for network in model.networks)


def _predict_in_box(model: ModelBundle, given: _Input, *, spacing_known: bool) -> Prediction:
    """Return the prediction in the box around the head, with zeros in the air around it."""
    if not _ours(model):  # norms of third-party networks may include the air
        return predict(model, given.channels, _slice_step(given.grid, spacing_known=spacing_known))
    box = signal_box(given.channels, share=0.0)
    found = predict(model, given.channels[:, *box], _slice_step(given.grid, spacing_known=spacing_known))

    def whole(part: Tensor) -> Tensor:
        values = part.new_zeros((len(part), *given.grid.shape))
        values[:, *box] = part
        return values

    marked = tuple(whole(mask[None])[0] for mask in found.marked)
    return replace(found, probabilities=whole(found.probabilities), spread=whole(found.spread), marked=marked)


def _single_ml(prediction: Prediction, given: _Input, probability: Tensor, rules: LabelRules) -> list[float]:
    """Return the tumour volume of each prediction by itself, by the rules that hold for all together."""

    def kept_ml(marked: Tensor) -> float:
        if not bool(marked.any()):
            return 0.0
        kept = whole_tumour(sampled_mask(marked, given.grid, rules.grid), probability, rules)[0]
        return int(kept.count_nonzero()) * rules.grid.voxel_volume_ml

    return [kept_ml(marked) for marked in prediction.marked]


def _onto(native: Grid, working: Grid, maps: Tensor, regions: tuple[Region, ...]) -> dict[Region, Tensor]:
    """Return each region's map on the native grid."""
    found = sampled(maps[[PREDICTED.index(region) for region in regions]], working, native)
    return dict(zip(regions, found, strict=True))


def _halves(maps: Mapping[Region, Tensor], brain: BrainFound | None) -> dict[Region, NDArray[np.float16]]:
    """Return maps for people and tuning, in half precision; they are zero where no finding is possible."""
    within = None if brain is None else brain.within
    masked = {region: values if within is None else values * within for region, values in maps.items()}
    return {region: values.half().cpu().numpy() for region, values in masked.items()}


def _slice_step(grid: Grid, *, spacing_known: bool) -> int:
    """Return the distance of a slice network's neighbouring slices, in slices; about the same in mm as in training."""
    return max(1, round(NEIGHBOUR_MM / float(grid.spacing_mm[0]))) if spacing_known else 1
