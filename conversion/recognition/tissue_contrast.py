"""Which weighting a brain volume has (T1, T2, FLAIR), judged by its voxels alone.

The measurements of `tissue_features` are compared with those of three learned classes. A class is a mean and a
covariance that all three share; its density falls off like Student's, not like Gauss', so that a volume far from
everything seen gets no confidence (Lange, Little, Taylor 1989). `benchmarks/recognition.py --learn` makes the
parameters, `benchmarks/recognition.md` says how well they do on patients they have not seen.
"""

import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from conversion.recognition.head_region import HeadSlabs, Surroundings, head_slabs
from conversion.recognition.tissue_features import Measurements, measure_contrast
from conversion.volume import ImageVolume

__all__ = [
    "CONFIDENT",
    "WEIGHTINGS",
    "ContrastModel",
    "TissueContrast",
    "judge",
    "obstacle",
    "shipped_model",
    "tissue_contrast",
    "too_small",
]

WEIGHTINGS = ("FLAIR", "T1", "T2")
"""T1 stands for T1 before and after contrast agent: `enhancement` tells those apart."""

CONFIDENT = 0.8
"""Probability from which a weighting counts as recognised; benchmarks/recognition.md shows how it was chosen."""

MINIMUM_SLICES = 6
"""Along the shortest axis; less shows too little of ventricles and cortex together."""

MINIMUM_EXTENT_MM = 60.0
"""Along every axis; a slab of 45 mm through the skull base makes T2 look like FLAIR."""

STRAY_SHARE = 0.002
"""Speckles around a masked brain: a skull strip leaves none, diffusion and maps made of it do."""

FARTHEST = 300.0
"""Squared distance to the nearest class beyond which nothing is judged; the farthest rightly judged volume of a patient
held out is 157 (changed at random 220), of the studies never learned from 121. A head whose brain has no contrast is
350 and more."""

DARK_FLUID = -0.25
"""FLAIR nulls fluid: the darkest 2 % around the ventricles lie at least this far below the brain's median (as a share
of it). The least dark of 127 patients is -0.28. Set after a T2 without bright fluid (patient BraTS2021_01478, held out)
had been called FLAIR."""

BRIGHT_FLUID = 0.4
"""The same for T2 and the brightest 2 %; the least bright of 44 patients is 0.51."""

CLIP = 5.0
"""Standard deviations at which a single measurement is cut off."""


@dataclass(frozen=True, kw_only=True)
class TissueContrast:
    """What the voxels of one volume say.

    Attributes
    ----------
    probabilities
        Over `WEIGHTINGS`; all equal where the volume cannot be judged.
    reason
        One sentence for a radiologist.
    """

    probabilities: Mapping[str, float]
    reason: str

    @property
    def weighting(self) -> str | None:
        """The recognised weighting, or None below `CONFIDENT`."""
        best = max(self.probabilities, key=lambda name: self.probabilities[name])
        return best if self.probabilities[best] >= CONFIDENT else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastModel:
    """The learned classes.

    Attributes
    ----------
    names
        The m measurements in their order.
    centre, scale
        Shape (m,): standardise a measurement.
    means
        Shape (3, m), standardised, in the order of `WEIGHTINGS`.
    precision
        Shape (m, m), inverse of the classes' covariance.
    freedom
        Degrees of freedom of the density's tails.
    """

    names: tuple[str, ...]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    means: NDArray[np.float64]
    precision: NDArray[np.float64]
    freedom: float

    def distances(self, measurements: Measurements) -> NDArray[np.float64]:
        """Return the squared Mahalanobis distance to each class."""
        values = np.array([measurements[name] for name in self.names])
        away = np.clip((values - self.centre) / self.scale, -CLIP, CLIP) - self.means
        return np.asarray(np.einsum("ki,ij,kj->k", away, self.precision, away))

    def probabilities(self, measurements: Measurements) -> NDArray[np.float64]:
        """Return the probability of each class."""
        logs = -0.5 * self.freedom * np.log1p(self.distances(measurements) / self.freedom)
        shares = np.exp(logs - logs.max())
        return np.asarray(shares / shares.sum())


@functools.cache
def shipped_model() -> ContrastModel:
    """Return the parameters that lie beside this file."""
    path = importlib.resources.files("conversion.recognition") / "tissue_contrast.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return ContrastModel(
            names=tuple(str(name) for name in stored["names"]),
            centre=stored["centre"].astype(float),
            scale=stored["scale"].astype(float),
            means=stored["means"].astype(float),
            precision=stored["precision"].astype(float),
            freedom=float(stored["freedom"]),
        )


def tissue_contrast(volume: ImageVolume) -> TissueContrast:
    """Judge the weighting of one volume; gain, offset, orientation and resolution do not matter.

    Needs no header. Abstains, with a reason, where there is no head, too little of it, or a brain without scalp that no
    skull strip explains.
    """
    why_not = too_small(volume)
    slabs = None if why_not else head_slabs(volume)
    why_not = why_not or obstacle(slabs)
    measurements = None if slabs is None or why_not else measure_contrast(slabs)
    if measurements is None:
        return _abstention(why_not or "no brain of a usual size is seen")
    shares, why_not = judge(measurements, shipped_model())
    if why_not:
        return _abstention(why_not)
    named = {name: float(share) for name, share in zip(WEIGHTINGS, shares, strict=True)}
    return TissueContrast(probabilities=MappingProxyType(named), reason=_reason(measurements))


def judge(measurements: Measurements, model: ContrastModel) -> tuple[NDArray[np.float64], str]:
    """Return the probability of each weighting, and why it does not count or nothing."""
    shares = model.probabilities(measurements)
    best = WEIGHTINGS[int(shares.argmax())]
    if model.distances(measurements).min() > FARTHEST:
        return shares, "the contrast of its tissues is like none of T1, T2 and FLAIR"
    if best == "FLAIR" and measurements["centre_2"] > DARK_FLUID:
        return shares, "it resembles FLAIR, but no dark fluid is seen, as in proton density or with slit ventricles"
    if best == "T2" and measurements["centre_98"] < BRIGHT_FLUID:
        return shares, "it resembles T2, but no bright fluid is seen, as in proton density or with slit ventricles"
    return shares, ""


def too_small(volume: ImageVolume) -> str:
    """Return why a volume is too small to be judged, or nothing."""
    if min(volume.grid.shape) < MINIMUM_SLICES:
        return f"{min(volume.grid.shape)} slices show too little of a brain, {MINIMUM_SLICES} are needed"
    extent = float((np.array(volume.grid.shape) * volume.grid.spacing_mm).min())
    if extent < MINIMUM_EXTENT_MM:
        return f"{extent:.0f} mm show too little of a brain, {MINIMUM_EXTENT_MM:.0f} mm are needed"
    return ""


def obstacle(slabs: HeadSlabs | None) -> str:
    """Return why slabs cannot be judged whatever their contrast, or nothing."""
    if slabs is None:
        return "no head stands out from a background"
    if slabs.surroundings is Surroundings.UNCLEAR:
        return "no bone between brain and scalp is seen, as in diffusion images or outside the head"
    if slabs.surroundings is Surroundings.MASKED and slabs.stray_share > STRAY_SHARE:
        return "a brain without scalp amid speckles, as in diffusion images and maps made of them"
    return ""


def _reason(measurements: Measurements) -> str:
    dark = measurements["dark_share"] >= measurements["bright_share"]
    fluid, name = ("darker", "dark") if dark else ("brighter", "bright")
    value = 1 + measurements["centre_2" if dark else "centre_98"]
    cortex = measurements[f"beside_{name}_4_mm"] - measurements[f"beside_{name}_9_mm"]
    grey = f"{abs(cortex):.0%} {'brighter' if cortex > 0 else 'darker'}"
    return f"fluid {fluid} than brain ({value:.2f} of its median), tissue beside it {grey} than tissue away from it"


def _abstention(reason: str) -> TissueContrast:
    equal = dict.fromkeys(WEIGHTINGS, 1 / len(WEIGHTINGS))
    return TissueContrast(probabilities=MappingProxyType(equal), reason=f"not judged: {reason}")
