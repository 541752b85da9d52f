"""Which weighting a brain volume has (T1, T2, FLAIR), judged by its voxels alone.

The measurements of `tissue_features` are compared with three trained classes. Each class has its own mean; all three
share a covariance. The density is Student's t, not Gaussian, so that a volume far from all training data gets no
confidence (Lange, Little, Taylor 1989). `benchmarks/recognition.py --learn` computes the parameters;
`benchmarks/recognition.md` reports how well they perform on held-out patients.
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
"""T1 means T1-weighted before or after contrast agent: `enhancement` tells those apart."""

CONFIDENT = 0.8
"""Probability from which a weighting counts as recognised; benchmarks/recognition.md shows how it was chosen."""

MINIMUM_SLICES = 6
"""Along the shortest axis; fewer slices show too little of ventricles and cortex together."""

MINIMUM_EXTENT_MM = 60.0
"""Along every axis; in a slab of 45 mm through the skull base, T2 resembles FLAIR."""

STRAY_SHARE = 0.002
"""Largest share of speckles around a masked brain: skull stripping leaves none; diffusion images and their maps do."""

FARTHEST = 300.0
"""Squared distance to the nearest class beyond which nothing is judged. The largest of a correctly judged volume is 157
in held-out patients (220 after random changes) and 121 in studies that were not used for training. A head whose brain
has no contrast has 350 and more."""

DARK_FLUID = -0.25
"""FLAIR nulls fluid: the darkest 2 % around the ventricles lie at least this far below the brain's median (as a share
of it). The least dark of 127 patients is -0.28. The limit was set after a held-out T2 without bright fluid (patient
BraTS2021_01478) had been called FLAIR."""

BRIGHT_FLUID = 0.4
"""The same for T2 and the brightest 2 %; the least bright of 44 patients is 0.51."""

CLIP = 5.0
"""Number of standard deviations at which a single measurement is clipped."""


@dataclass(frozen=True, kw_only=True)
class TissueContrast:
    """The weighting of one volume by its voxels.

    Attributes
    ----------
    probabilities
        Of each of `WEIGHTINGS`; all equal where the volume cannot be judged.
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
    """The trained classes.

    Attributes
    ----------
    names
        The m measurements in their order.
    centre, scale
        Shape (m,): standardise a measurement.
    means
        Shape (3, m), standardised, in the order of `WEIGHTINGS`.
    precision
        Shape (m, m), inverse of the shared covariance.
    freedom
        Degrees of freedom of the t distribution.
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
    """Return the parameters that are stored beside this file."""
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

    Needs no header. Abstains, with a reason, where there is no head, too little of it, or a brain without scalp that
    skull stripping does not explain.
    """
    why_not = too_small(volume)
    slabs = None if why_not else head_slabs(volume)
    why_not = why_not or obstacle(slabs)
    measurements = None if slabs is None or why_not else measure_contrast(slabs)
    if measurements is None:
        return _abstention(why_not or "no brain of a usual size is visible")
    shares, why_not = judge(measurements, shipped_model())
    if why_not:
        return _abstention(why_not)
    named = {name: float(share) for name, share in zip(WEIGHTINGS, shares, strict=True)}
    return TissueContrast(probabilities=MappingProxyType(named), reason=_reason(measurements))


def judge(measurements: Measurements, model: ContrastModel) -> tuple[NDArray[np.float64], str]:
    """Return the probability of each weighting, and why it does not count; empty when it counts."""
    shares = model.probabilities(measurements)
    best = WEIGHTINGS[int(shares.argmax())]
    if model.distances(measurements).min() > FARTHEST:
        return shares, "its tissue contrast resembles neither T1, T2 nor FLAIR"
    if best == "FLAIR" and measurements["centre_2"] > DARK_FLUID:
        return shares, "it resembles FLAIR, but shows no dark fluid, as in proton density or with slit ventricles"
    if best == "T2" and measurements["centre_98"] < BRIGHT_FLUID:
        return shares, "it resembles T2, but shows no bright fluid, as in proton density or with slit ventricles"
    return shares, ""


def too_small(volume: ImageVolume) -> str:
    """Return why a volume is too small to be judged; empty when it is not."""
    if min(volume.grid.shape) < MINIMUM_SLICES:
        return f"too little of the brain is shown ({min(volume.grid.shape)} slices, {MINIMUM_SLICES} are needed)"
    extent = float((np.array(volume.grid.shape) * volume.grid.spacing_mm).min())
    if extent < MINIMUM_EXTENT_MM:
        return f"too little of the brain is shown ({extent:.0f} mm, {MINIMUM_EXTENT_MM:.0f} mm are needed)"
    return ""


def obstacle(slabs: HeadSlabs | None) -> str:
    """Return why slabs cannot be judged whatever their contrast; empty when they can."""
    if slabs is None:
        return "no head stands out from the background"
    if slabs.surroundings is Surroundings.UNCLEAR:
        return "no bone between brain and scalp is visible, as in diffusion images or outside the head"
    if slabs.surroundings is Surroundings.MASKED and slabs.stray_share > STRAY_SHARE:
        return "a brain without scalp, surrounded by speckles, as in diffusion images and maps computed from them"
    return ""


def _reason(measurements: Measurements) -> str:
    dark = measurements["dark_share"] >= measurements["bright_share"]
    fluid, name = ("darker", "dark") if dark else ("brighter", "bright")
    value = 1 + measurements["centre_2" if dark else "centre_98"]
    cortex = measurements[f"beside_{name}_4_mm"] - measurements[f"beside_{name}_9_mm"]
    grey = f"{abs(cortex):.0%} {'brighter' if cortex > 0 else 'darker'}"
    return f"fluid is {fluid} than brain ({value:.2f} of its median), tissue beside it {grey} than tissue further away"


def _abstention(reason: str) -> TissueContrast:
    equal = dict.fromkeys(WEIGHTINGS, 1 / len(WEIGHTINGS))
    return TissueContrast(probabilities=MappingProxyType(equal), reason=f"not judged: {reason}")
