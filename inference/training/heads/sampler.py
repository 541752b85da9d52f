"""Endless heads with their brains. Sample k depends on the seed and on k alone, whichever process makes it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from inference.brightness import relative_brightness
from inference.training.heads.bodies import BodyChances, drawn_body
from inference.training.heads.contrasts import ContrastChances, drawn_contrast, painted
from inference.training.heads.coverage import CoverageChances, View, covered, stripped
from inference.training.heads.deformation import DeformationLimits, drawn_deformation, image_at, labels_at
from inference.training.heads.degradation import DegradationLimits, degraded
from inference.training.heads.implants import ImplantChances, implanted
from inference.training.heads.label_map import LabelMap
from inference.training.heads.lesion_shapes import TumourShape
from inference.training.heads.real_head import RealHead, inverted
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.white_matter_disease import WhiteMatterDisease, with_lesions

__all__ = ["HeadSampler", "Heads", "Recipe", "drawn_labels"]

ATTEMPTS = 20
"""Number of draws to find one with enough brain. The last one is taken as it is, so this always ends."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a sample besides the heads, the seed and its number.

    Attributes
    ----------
    brainless
        Share of samples without a brain, which show noise or another body.
    real
        Share of the other samples that are made from real images, if there are any. Real images have true contrasts,
        artefacts and necks; synthetic ones have every kind of them.
    inverted
        Share of the real images with dark and bright exchanged, so that the network cannot rely on their contrasts.
    axial
        Share of samples that are always stacked from foot to head. The others are stacked along a random axis.
    edge_blurred
        Share of skull-stripped heads that keep the noise and blur around the brain.
    least_brain_ml
        Samples with less brain are drawn again. This is the smallest slab in which a brain has to be found.
    """

    grid: SampleGrid = field(default_factory=SampleGrid)
    brainless: float = 0.06
    real: float = 0.35
    inverted: float = 0.15
    axial: float = 0.4
    edge_blurred: float = 0.3
    least_brain_ml: float = 64.0
    bodies: BodyChances = field(default_factory=BodyChances)
    deformation: DeformationLimits = field(default_factory=DeformationLimits)
    white_matter_disease: WhiteMatterDisease = field(default_factory=WhiteMatterDisease)
    implants: ImplantChances = field(default_factory=ImplantChances)
    contrasts: ContrastChances = field(default_factory=ContrastChances)
    degradation: DegradationLimits = field(default_factory=DegradationLimits)
    coverage: CoverageChances = field(default_factory=CoverageChances)

    @property
    def sha256(self) -> str:
        """Hash over every setting."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Heads:
    """The heads and shapes that samples are made from."""

    maps: Sequence[LabelMap]
    shapes: Sequence[TumourShape] = ()
    real: Sequence[RealHead] = ()

    def __post_init__(self) -> None:
        """Refuse an empty collection."""
        if not self.maps and not self.real:
            message = "no head to make samples from; label maps or real images are needed"
            raise ValueError(message)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all heads, label maps first."""
        return (*(head.name for head in self.maps), *(head.name for head in self.real))


class HeadSampler:
    """Samples of a recipe. Heads are drawn evenly."""

    def __init__(self, heads: Heads, recipe: Recipe, seed: int) -> None:
        self.heads, self.recipe, self.seed = heads, recipe, seed

    def sample(self, number: int) -> View:
        """Return one sample by its number: an image with brightness from 0 to 1.3, and its brain mask."""
        rng = np.random.default_rng([self.seed, number])
        if rng.random() < self.recipe.brainless:
            return self._brainless(rng)
        for _ in range(ATTEMPTS):
            view = self._drawn(rng)
            if view.brain.sum() * self.recipe.grid.cube_ml >= self.recipe.least_brain_ml:
                break
        return View(image=_shown(view.image), brain=view.brain)

    def _brainless(self, rng: np.random.Generator) -> View:
        grid = self.recipe.grid
        body = drawn_body(rng, grid, self.recipe.bodies)
        image = degraded(rng, body, int(rng.integers(3)), grid.spacing_mm, self.recipe.degradation)
        return View(image=_shown(image), brain=np.zeros(grid.shape, bool))

    def _drawn(self, rng: np.random.Generator) -> View:
        recipe, real = self.recipe, self.heads.real
        slice_axis = 0 if rng.random() < recipe.axial else int(rng.integers(3))
        spacing_mm = recipe.grid.spacing_mm
        if real and (not self.heads.maps or rng.random() < recipe.real):
            head = real[int(rng.integers(len(real)))]
            image, brain = self._deformed(rng, head)
        else:
            head = None
            image, brain = self._synthesised(rng, self.heads.maps[int(rng.integers(len(self.heads.maps)))])
        image = degraded(rng, image, slice_axis, spacing_mm, recipe.degradation)
        view = View(image=image, brain=brain)
        if head is not None and head.bare and rng.random() >= recipe.edge_blurred:
            view = stripped(view, 0)
        return covered(rng, view, slice_axis, spacing_mm, recipe.coverage, bare=head is not None and head.bare)

    def _synthesised(self, rng: np.random.Generator, head: LabelMap) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        labels, brain = drawn_labels(rng, head, self.heads.shapes, self.recipe)
        return painted(rng, labels, drawn_contrast(rng, self.recipe.contrasts)), brain

    def _deformed(self, rng: np.random.Generator, head: RealHead) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        deformation = drawn_deformation(rng, self.recipe.deformation)
        places = deformation.places(self.recipe.grid, head.middle, head.spacing_mm)
        image, brain = image_at(head.image, places), labels_at(head.brain, places)
        return (inverted(image) if rng.random() < self.recipe.inverted else image), brain


def drawn_labels(
    rng: np.random.Generator, head: LabelMap, shapes: Sequence[TumourShape], recipe: Recipe
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return the labels of a deformed head with its lesions, and its brain mask, on the recipe's grid."""
    spacing_mm = recipe.grid.spacing_mm
    places = drawn_deformation(rng, recipe.deformation).places(recipe.grid, head.middle, head.spacing_mm)
    labels, brain = labels_at(head.labels, places), labels_at(head.brain, places)
    labels = with_lesions(rng, labels, spacing_mm, recipe.white_matter_disease)
    return implanted(rng, labels, brain, shapes, spacing_mm, recipe.implants), brain


def _shown(image: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return an image with the brightness that the network receives."""
    scaled: NDArray[np.float32] = relative_brightness(torch.from_numpy(np.ascontiguousarray(image, np.float32))).numpy()
    return scaled
