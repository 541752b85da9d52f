"""Which of two T1-weighted volumes of a patient was acquired after contrast agent, by their co-registered difference.

Both are resampled onto one grid, corrected for shading, and normalised to the median and the spread of their brain.
Then the voxels inside the brain that are bright in only one volume are counted: vessels, choroid plexus and tumour
after contrast agent. Fat is left out, because fat saturation and other sequences change it more than contrast agent
changes anything.
"""

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from conversion.alignment import resample
from conversion.errors import RegistrationFailed
from conversion.recognition.head_region import (
    BrainRegion,
    Surroundings,
    axial_voxels,
    brain_region,
    distance_mm,
    enlarged,
    largest_part,
    shrunk,
)
from conversion.recognition.shading import without_shading
from conversion.registration.register import confirm, register
from conversion.volume import ImageVolume

__all__ = ["CONFIDENT", "Enhancement", "Evidence", "after_contrast", "enhancement", "enhancement_evidence"]

CONFIDENT = 0.8
"""Probability from which the order counts as known; benchmarks/recognition.md shows how it was chosen."""

SURE = 0.9
"""Probability from which volumes in one frame of reference need no registration. In 32 patients the second volume was
displaced by 1 mm and 1 degree up to 8 mm and 5 degrees: no order was wrong, and the lowest probability was 0.57."""

WORKING_MM = (3.0, 1.25, 1.25)
SMOOTHING_MM = 0.8
SHADING_MM = (5.0, 22.0, 22.0)

BESIDE_SKIN_MM = 10.0
BRAIN_TISSUE = (0.5, 1.4)
"""Shares of the brain's median. Brighter voxels may be fat, and count only if they are connected to brain."""

OPENING_MM = 3.0
CLOSING_MM = 3.5
RIM_MM = 3.0
MINIMUM_VOXELS = 5000
"""23 ml of brain in both volumes."""

FLOOR = 3e-4
"""Share of the brain added to every count: about one vessel. Two counts near zero are no evidence."""

OUTSTANDING, ORDINARY = 3.0, 1.5
"""Bright in one volume and not in the other, in spreads above the median (median to 84th percentile)."""

RATIOS = (1.6, 1.2)
"""The same as shares of the median."""

GAIN = 0.5
"""Logarithm of the ratio of the volumes. Tissue that is darker than the brain in both does not count."""

SCALES = (2.884, 2.79, 2.999, 2.017)
WEIGHTS = (1.444, 1.264, 1.72, 0.901)
"""Logistic regression over pairs of 118 patients (benchmarks/recognition.py --learn)."""

CUT = 3.0

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Enhancement:
    """The result of comparing two volumes.

    Attributes
    ----------
    second_is_after
        Probability that the second volume is the one after contrast agent; 0.5 is no evidence either way.
    reason
        One sentence for a radiologist.
    """

    second_is_after: float
    reason: str

    @property
    def known(self) -> bool:
        """Whether the order counts as known."""
        return self._certainty >= CONFIDENT

    @property
    def surely(self) -> bool:
        """Whether the order is so certain that a better registration would not change it."""
        return self._certainty >= SURE

    @property
    def _certainty(self) -> float:
        return max(self.second_is_after, 1 - self.second_is_after)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Logarithms of how much more the second volume has than the first; swapped volumes change every sign.

    Attributes
    ----------
    values
        Of outstanding voxels in one volume only, outstanding voxels, local gain, and bright voxels in one volume only.
    brighter, darker
        Shares of the brain with local gain, in the second and in the first volume.
    """

    values: tuple[float, float, float, float]
    brighter: float
    darker: float


def enhancement(first: ImageVolume, second: ImageVolume, *, registered: bool = False) -> Enhancement:
    """Decide which volume was acquired after contrast agent; swapped volumes give exactly the opposite probability.

    The volumes may differ in grid, coil and gain. Both must be T1-weighted and of one patient. If they share a frame of
    reference, they are first compared without registration. They are registered if the order is then uncertain and
    their anatomy does not match: misplacement brightens as much as it darkens, so it makes the order less certain but
    does not reverse it.

    Parameters
    ----------
    registered
        Whether the volumes are already co-registered.
    """
    frame = first.grid.frame_of_reference_uid
    if not registered and frame and frame == second.grid.frame_of_reference_uid:
        found = _described(enhancement_evidence(first, second, registered=True))
        if found.surely or not confirm(first, second):
            return found
    try:
        return _described(enhancement_evidence(first, second, registered=registered))
    except RegistrationFailed:
        return Enhancement(second_is_after=0.5, reason="not judged: the volumes could not be registered")


def _described(evidence: Evidence | None) -> Enhancement:
    if evidence is None:
        return Enhancement(second_is_after=0.5, reason="not judged: the volumes have too little brain in common")
    reason = (
        f"{evidence.brighter:.2%} of the brain is clearly brighter in the second volume, "
        f"{evidence.darker:.2%} in the first"
    )
    return Enhancement(second_is_after=after_contrast(evidence), reason=reason)


def after_contrast(evidence: Evidence) -> float:
    """Return the probability that the second volume is the one after contrast agent."""
    clipped = np.clip(np.array(evidence.values) / SCALES, -CUT, CUT)
    return float(1 / (1 + np.exp(-clipped @ np.array(WEIGHTS))))


def enhancement_evidence(first: ImageVolume, second: ImageVolume, *, registered: bool = False) -> Evidence | None:
    """Register two volumes, unless that is done, and compare them; None where they have too little brain in common.

    Raises
    ------
    RegistrationFailed
        When the volumes cannot be registered and share no frame of reference.
    """
    swapped = _rank(first) > _rank(second)
    if swapped:
        first, second = second, first
    pair = _on_one_grid(first, second, registered=registered)
    if pair is None:
        return None
    evidence = _evidence(*pair)
    if not swapped:
        return evidence
    a, b, c, d = evidence.values
    return Evidence(values=(-a, -b, -c, -d), brighter=evidence.darker, darker=evidence.brighter)


def _rank(volume: ImageVolume) -> tuple[float, ...]:
    """Return a key that orders two volumes, so that the order of the arguments changes only the sign."""
    size = -round(volume.grid.voxel_volume_ml, 9)
    return size, float(volume.voxels.mean(dtype=np.float64)), float(volume.voxels.std(dtype=np.float64))


def _on_one_grid(first: ImageVolume, second: ImageVolume, *, registered: bool) -> tuple[Floats, Floats] | None:
    """Return brain voxels of both volumes: shading removed, median 1."""
    resampled = resample(second, first.grid, np.eye(4) if registered else _matrix(first, second))
    spacing = axial_voxels(first)[1]
    factors = [max(1, int(goal / value + 0.35)) for goal, value in zip(WORKING_MM, spacing, strict=True)]
    fine = (float(spacing[0] * factors[0]), float(spacing[1] * factors[1]), float(spacing[2] * factors[2]))
    volumes = [shrunk(axial_voxels(volume)[0], (factors[0], factors[1], factors[2])) for volume in (first, resampled)]
    regions = [brain_region(shrunk(voxels, (1, 2, 2)), (fine[0], fine[1] * 2, fine[2] * 2)) for voxels in volumes]
    if regions[0] is None or regions[1] is None:
        return None
    slices, brain = _common(regions[0], regions[1], volumes[0].shape, fine)
    flat = []
    for voxels, region in zip(volumes, regions, strict=True):
        values = voxels[slices] - np.float32(region.zero if region else 0)
        values = scipy.ndimage.gaussian_filter(
            values, (0, SMOOTHING_MM / fine[1], SMOOTHING_MM / fine[2]), truncate=3.0
        )
        if brain.sum() < MINIMUM_VOXELS or not np.median(values[brain]) > 0:
            return None
        flat.append((values, _flattened(values, brain, fine)))
    for _, values in flat:
        brain = brain & _connected(values, brain, fine[1:])
    brain &= distance_mm(brain, fine[1:]) > RIM_MM
    if brain.sum() < MINIMUM_VOXELS or any(not np.median(values[brain]) > 0 for values, _ in flat):
        return None
    one, two = (_flattened(values, brain, fine)[brain] for values, _ in flat)
    return one, two


def _matrix(first: ImageVolume, second: ImageVolume) -> NDArray[np.float64]:
    """Register; where that fails within one frame of reference, use the scanner's own geometry."""
    try:
        return register(first, second).matrix
    except RegistrationFailed:
        if first.grid.frame_of_reference_uid != second.grid.frame_of_reference_uid:
            raise
        return np.eye(4)


def _common(
    first: BrainRegion, second: BrainRegion, shape: tuple[int, ...], spacing: tuple[float, float, float]
) -> tuple[NDArray[np.intp], Mask]:
    """Return the slices that both regions use and the brain of both there, in fine voxels."""
    slices, a, b = np.intersect1d(first.slices, second.slices, return_indices=True)
    both = first.brain[a] & second.brain[b]
    plane = (spacing[1] * 2, spacing[2] * 2)
    if Surroundings.MASKED not in (first.surroundings, second.surroundings):
        both &= distance_mm(first.head[a] & second.head[b], plane) > BESIDE_SKIN_MM
    return slices, enlarged(both, (len(slices), *shape[1:]), plane, spacing[1:])


def _flattened(values: Floats, brain: Mask, spacing: tuple[float, float, float]) -> Floats:
    sigmas = (SHADING_MM[0] / spacing[0], SHADING_MM[1] / spacing[1], SHADING_MM[2] / spacing[2])
    return without_shading(values, brain, sigmas)


def _connected(values: Floats, brain: Mask, plane: tuple[float, float]) -> Mask:
    """Return connected brain tissue, with the vessels inside it and without the fat around it."""
    tissue = brain & (values > BRAIN_TISSUE[0]) & (values < BRAIN_TISSUE[1])
    core = largest_part(distance_mm(tissue, plane) > OPENING_MM)
    grown = distance_mm(~core, plane) <= CLOSING_MM
    return np.stack([scipy.ndimage.binary_fill_holes(flat) for flat in grown])


def _evidence(first: Floats, second: Floats) -> Evidence:
    spreads = [(v - np.median(v)) / (np.percentile(v, 84) - np.median(v) + 0.01) for v in (first, second)]
    gain = np.log(np.maximum(second, 0.1) / np.maximum(first, 0.1))
    gain -= np.median(gain)
    tissue = np.maximum(first, second) > 1
    brighter, darker = float(np.mean((gain > GAIN) & tissue)), float(np.mean((gain < -GAIN) & tissue))
    return Evidence(
        values=(
            _more(*(((a > OUTSTANDING) & (b < ORDINARY)) for a, b in (spreads[::-1], spreads))),
            _more(spreads[1] > OUTSTANDING, spreads[0] > OUTSTANDING),
            float(np.log((brighter + FLOOR) / (darker + FLOOR))),
            _more(*(((a > RATIOS[0]) & (b < RATIOS[1])) for a, b in ((second, first), (first, second)))),
        ),
        brighter=brighter,
        darker=darker,
    )


def _more(second: Mask, first: Mask) -> float:
    return float(np.log((second.mean() + FLOOR) / (first.mean() + FLOOR)))
