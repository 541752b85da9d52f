"""Endless training samples; sample k depends on the seed and on k alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from inference.cases.prepared import PreparedCase
from inference.training.augmentation import (
    add_remains,
    add_synthetic_head,
    augment_intensity,
    drop_sequences,
    thicken_slices,
)
from inference.training.plan import TrainingPlan
from inference.training.windows import FURTHEST_NEIGHBOUR, Window, slice_window, volume_window

__all__ = ["Sample", "Sampler"]

Sample = tuple[Tensor, Tensor, Tensor]
"""Images (channel, slice, row, column), regions likewise, and which regions were annotated, shape (region,)."""

STRIPPED_SOURCES = frozenset({"brats", "msd"})
"""Sets whose volumes hold the brain alone."""


class Sampler(IterableDataset[Sample]):
    """Samples of a plan, sets drawn by their share and patients evenly within a set.

    Parameters
    ----------
    first
        Number of the first sample, where a training goes on.
    every
        Distance of the numbers, so that several processes take turns.
    """

    def __init__(self, cases: Sequence[PreparedCase], plan: TrainingPlan, first: int = 0, every: int = 1) -> None:
        self._plan, self._first, self._every = plan, first, every
        sources = sorted({case.source for case in cases})
        self._by_source = [[case for case in cases if case.source == source] for source in sources]
        self._shares = _shares(sources, [len(group) for group in self._by_source], plan.source_share)

    def __iter__(self) -> Iterator[Sample]:
        """Yield samples without end."""
        number = self._first
        while True:
            yield self.sample(number)
            number += self._every

    def sample(self, number: int) -> Sample:
        """Return one sample by its number."""
        rng = np.random.default_rng([self._plan.seed, number])
        torch.manual_seed(int(rng.integers(2**62)))
        cases = self._by_source[rng.choice(len(self._shares), p=self._shares)]
        case = cases[rng.integers(len(cases))]
        present = torch.tensor(case.present)
        window = self._window(case, rng)
        images = window.images
        if case.source in STRIPPED_SOURCES and rng.random() < self._plan.head_share:
            images = (add_remains if self._volumes else add_synthetic_head)(images, present)
        if self._volumes:
            images = thicken_slices(images)
        images, present = drop_sequences(augment_intensity(images), present, self._plan.drop)
        annotated = torch.tensor(case.annotated, dtype=torch.float32)
        if not bool(present[1]):  # without contrast, neither enhancement nor the core can be learned
            annotated[1:] = 0
        return images * present[:, None, None, None], window.regions, annotated

    @property
    def _volumes(self) -> bool:
        return bool(self._plan.network["dimensions"] == 3)

    def _window(self, case: PreparedCase, rng: np.random.Generator) -> Window:
        if self._volumes:
            return volume_window(case, self._plan.crop)
        tumour = np.flatnonzero(case.regions[0].any(axis=(1, 2)))
        slices = case.images.shape[1]
        wanted = tumour.size and rng.random() < self._plan.tumour_share
        middle = int(rng.choice(tumour)) if wanted else int(rng.integers(slices))
        furthest = FURTHEST_NEIGHBOUR if case.source in STRIPPED_SOURCES else 1
        context = int(self._plan.network.get("context", 0))
        return slice_window(case, middle, context, self._plan.crop[1:], int(rng.integers(1, furthest + 1)))


def _shares(sources: list[str], counts: list[int], wanted: dict[str, float]) -> list[float]:
    """Return the share of each set: as wanted, the rest by the number of patients."""
    left = 1 - sum(wanted.get(source, 0.0) for source in sources)
    others = sum(count for source, count in zip(sources, counts, strict=True) if source not in wanted)
    shares = [
        wanted[source] if source in wanted else left * count / others
        for source, count in zip(sources, counts, strict=True)
    ]
    total = sum(shares)
    return [share / total for share in shares]
