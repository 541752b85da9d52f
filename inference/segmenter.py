"""Finds the tumour: from aligned volumes to labels on the reference's native grid."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes, resample
from conversion.decision import Decision
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.brain_region import find_brain
from inference.errors import InferenceReason, UnsuitableInput
from inference.model_bundle import ModelBundle
from inference.postprocessing import label_regions, largest_component, without_islands
from inference.prediction import predict
from inference.preprocessing import normalise_intensity
from inference.regions import Region
from inference.segmentation import Segmentation

__all__ = ["Segmenter"]

FEWEST_SLICES = 8
"""Fewer are no volume: a network over volumes halves its input four times."""

NEIGHBOUR_MM = 3.0
"""Middle of the distances, 1 to 5 mm, at which slice networks learn from neighbours."""

_PREDICTED = (Region.WT, Region.TC, Region.ET)
_ALL_REGIONS = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)


class Segmenter:
    """A model with the geometry around it."""

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
        manifest = self.model.manifest
        present = tuple(name for name in manifest.channels if Role(name) in aligned.volumes)
        if not set(present) & set(manifest.one_of):
            sentence = f"model {manifest.name} needs one of {', '.join(manifest.one_of)}"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        if missing := [name for name in manifest.needs if name not in present]:
            sentence = f"model {manifest.name} was not trained to go without {', '.join(missing)}"
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)
        model = self._chosen(aligned.grid, spacing_known=spacing_known)
        grid = _grid_for(model, aligned.grid, spacing_known=spacing_known)
        channels = [self._channel(aligned, name, grid) for name in manifest.channels]
        probabilities = predict(model, np.stack(channels), _slice_step(grid) if spacing_known else 1)
        core_known = set(manifest.core_needs) <= set(present)
        native = {
            region: resample(ImageVolume(grid=grid, voxels=values), aligned.grid).voxels
            for region, values in zip(_PREDICTED, probabilities, strict=True)
            if region is Region.WT or core_known
        }
        brain = find_brain(self.model.atlas, aligned.volumes[aligned.reference]) if spacing_known else None
        labels, decisions = self._labels(native, aligned.grid, brain)
        return Segmentation(
            label_volume=LabelVolume(grid=aligned.grid, labels=labels),
            regions=_ALL_REGIONS if core_known else (Region.WT,),
            probabilities={region: values.astype(np.float16) for region, values in native.items()},
            model=self.model.identity,
            sequences=present,
            decisions=(*_declare_missing(manifest.channels, present, core_known=core_known), *decisions),
        )

    def _chosen(self, grid: Grid, *, spacing_known: bool) -> ModelBundle:
        """Return the model with the networks for such an input: those over volumes where there is a volume."""
        kinds = {network.manifest.input for network in self.model.networks}
        stack = spacing_known and min(grid.shape) >= FEWEST_SLICES
        wanted = "volume" if "volume" in kinds and (stack or "slices" not in kinds) else "slices"
        networks = tuple(network for network in self.model.networks if network.manifest.input == wanted)
        return replace(self.model, networks=networks)

    def _channel(self, aligned: AlignedVolumes, name: str, grid: Grid) -> NDArray[np.float32]:
        volume = aligned.volumes.get(Role(name))
        if volume is None:
            return np.zeros(grid.shape, np.float32)
        values = normalise_intensity(resample(volume, grid).voxels)
        if not values.any():
            raise UnsuitableInput(InferenceReason.EMPTY_VOLUME, f"the {name} series holds no signal")
        return values

    def _labels(
        self, native: dict[Region, NDArray[np.float32]], grid: Grid, brain: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.uint8], list[Decision]]:
        manifest = self.model.manifest
        limits = dict(zip(_PREDICTED, manifest.thresholds, strict=True))
        masks = {region: values >= limits[region] for region, values in native.items()}
        wt, decisions = masks[Region.WT], []
        if brain is not None:
            outside_ml = int(np.count_nonzero(wt & ~brain)) * grid.voxel_volume_ml
            wt = wt & brain
            if outside_ml:
                reason = f"{outside_ml:.1f} ml that the network marked outside the brain were left out"
                decisions.append(Decision(code="outside_brain", subject="WT", reason=reason))
        kept = without_islands(wt, self._least_voxels(wt, grid))
        islands_ml = int(np.count_nonzero(wt & ~kept)) * grid.voxel_volume_ml
        if islands_ml:
            reason = f"{islands_ml:.1f} ml in small islands were left out"
            decisions.append(Decision(code="islands", subject="WT", reason=reason))
        if Region.TC not in masks:
            return label_regions(kept, None, None), decisions
        manifest = self.model.manifest
        core, specks = _without_specks(Region.TC, masks[Region.TC] | masks[Region.ET], manifest.minimum_core_ml, grid)
        enhancing = masks[Region.ET] & core
        enhancing, others = _without_specks(Region.ET, enhancing, manifest.minimum_enhancing_ml, grid)
        return label_regions(kept, core, enhancing), [*decisions, *specks, *others]

    def _least_voxels(self, wt: NDArray[np.bool_], grid: Grid) -> int:
        """Return the size under which a component is an island: an absolute and a relative limit."""
        absolute = self.model.manifest.minimum_lesion_ml / grid.voxel_volume_ml
        return round(max(absolute, self.model.manifest.minimum_share * largest_component(wt)))


def working_grid(reference: Grid, in_plane_mm: float, *, cubes: bool = False) -> Grid:
    """Return the stack of axial slices a network looks at, along the axes of the reference.

    Slices keep their native distance where it is larger than the in-plane spacing, so a thick stack is never
    cut into slices that nobody acquired; a network over volumes gets `cubes` all the same.
    """
    axial = reference.permuted(*reference.axial_order())
    slice_mm = in_plane_mm if cubes else max(float(axial.spacing_mm[0]), in_plane_mm)
    return axial.resampled((slice_mm, in_plane_mm, in_plane_mm))


def _without_specks(
    region: Region, mask: NDArray[np.bool_], minimum_ml: float, grid: Grid
) -> tuple[NDArray[np.bool_], list[Decision]]:
    """Return a region of the tumour without specks, which are as often vessels or noise, and what that came to."""
    kept = without_islands(mask, round(minimum_ml / grid.voxel_volume_ml))
    speck_ml = int(np.count_nonzero(mask & ~kept)) * grid.voxel_volume_ml
    if not speck_ml:
        return kept, []
    reason = f"{speck_ml:.2f} ml in specks below {minimum_ml:g} ml count as the tumour around them"
    return kept, [Decision(code="islands", subject=region, reason=reason)]


def _grid_for(model: ModelBundle, reference: Grid, *, spacing_known: bool) -> Grid:
    network = model.networks[0].manifest
    if not spacing_known:
        return reference.permuted(*reference.axial_order())
    return working_grid(reference, network.spacing_mm, cubes=network.input == "volume")


def _slice_step(grid: Grid) -> int:
    """Return how many slices away the neighbours lie that a slice network sees: about as far as it was trained with."""
    return max(1, round(NEIGHBOUR_MM / float(grid.spacing_mm[0])))


def _declare_missing(channels: tuple[str, ...], present: tuple[str, ...], *, core_known: bool) -> list[Decision]:
    decisions = [
        Decision(code="missing_sequence", subject=name, reason=f"no {name} in the study; the model ran without it")
        for name in channels
        if name not in present
    ]
    if not core_known:
        reason = "without T1 after contrast, necrosis and enhancement cannot be told apart: whole tumour only"
        decisions.append(Decision(code="whole_tumour_only", subject="regions", reason=reason))
    return decisions
