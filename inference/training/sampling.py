"""Endless training samples; sample k depends on the seed and on k alone, whichever process makes it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from inference.cases.prepared import PreparedCase
from inference.forward import VIEW_STEP
from inference.training.augmentation import (
    add_remains,
    add_rim,
    add_synthetic_head,
    augment_intensity,
    drop_sequences,
    thicken_rows,
    thicken_slices,
)
from inference.training.plan import TrainingPlan
from inference.training.windows import FURTHEST_NEIGHBOUR, VIEWS, Volume, Window, slice_window, volume_window

__all__ = ["Batches", "MakesSamples", "Sample", "Sampler"]

Sample = tuple[Tensor, Tensor, Tensor]
"""Images (channel, slice, row, column), regions likewise, and which regions were annotated, shape (region,)."""

THIN_MM = 1.5
"""Slices closer than this stand in for thick ones too, by neighbours that lie further away."""


class Sampler:
    """Samples of a plan, sets drawn by their share and patients evenly within a set.

    Parameters
    ----------
    device
        Where volumes are turned and changed; all cases stay there, 30 to 60 MB each. Slices are made on the CPU.
    """

    def __init__(self, cases: Sequence[PreparedCase], plan: TrainingPlan, device: torch.device | None = None) -> None:
        self._plan, self._device = plan, device or torch.device("cpu")
        self._kept: dict[str, Volume] = {}
        sources = sorted({case.source for case in cases})
        self._by_source = [[case for case in cases if case.source == source] for source in sources]
        self._shares = _shares(sources, [len(group) for group in self._by_source], plan.source_share)

    def sample(self, number: int) -> Sample:
        """Return one sample by its number."""
        rng = np.random.default_rng([self._plan.seed, number])
        torch.manual_seed(int(rng.integers(2**62)))
        cases = self._by_source[rng.choice(len(self._shares), p=self._shares)]
        case = cases[rng.integers(len(cases))]
        present = torch.tensor(case.present)
        window = self._window(case, rng)
        images = window.images
        if case.stripped and rng.random() < self._plan.head_share:
            images = self._surround(images, present)
        if self._volumes:
            images = thicken_slices(images)
        elif self._plan.views > 1:
            images = thicken_rows(images)
        images, present = drop_sequences(augment_intensity(images), present, self._plan.drop)
        annotated = torch.tensor(case.annotated, dtype=torch.float32)
        if not bool(present[1]):  # without contrast, neither enhancement nor the core can be learned
            annotated[1:] = 0
        return images * present.to(images.device)[:, None, None, None], window.regions, annotated

    def _surround(self, images: Tensor, present: Tensor) -> Tensor:
        """Draw around a brain what networks for volumes see of the head, or what networks for slices see."""
        if self._volumes:
            return add_remains(images, present)
        return add_rim(images, present) if self._plan.views > 1 else add_synthetic_head(images, present)

    @property
    def _volumes(self) -> bool:
        return bool(self._plan.network["dimensions"] == 3)

    def _volume(self, case: PreparedCase) -> Volume:
        if self._device.type == "cpu":  # a case is mapped from disk, and reading it costs less than keeping all
            return Volume.of(case, self._device)
        if case.case_id not in self._kept:
            self._kept[case.case_id] = Volume.of(case, self._device)
        return self._kept[case.case_id]

    def _window(self, case: PreparedCase, rng: np.random.Generator) -> Window:
        if self._volumes:
            return volume_window(self._volume(case), self._plan.crop)
        flat = case.spacing_mm is None  # of such a stack nobody knows how far apart its slices are
        view = VIEWS[rng.integers(1 if flat else self._plan.views)]
        others = tuple(axis for axis in range(3) if axis != view.axes[0])
        tumour = np.flatnonzero(case.regions[0].any(axis=others))
        wanted = tumour.size and rng.random() < self._plan.tumour_share
        middle = int(rng.choice(tumour)) if wanted else int(rng.integers(case.images.shape[view.axes[0] + 1]))
        furthest = FURTHEST_NEIGHBOUR if case.spacing_mm is not None and case.spacing_mm[0] <= THIN_MM else 1
        step = VIEW_STEP if self._plan.views > 1 and not flat else int(rng.integers(1, furthest + 1))
        return slice_window(case, middle, int(self._plan.network.get("context", 0)), self._plan.crop[1:], step, view)


class MakesSamples(Protocol):
    """Whatever makes a sample of its number, and the same one every time."""

    def sample(self, number: int) -> Sample:
        """Return one sample by its number."""


class Batches(IterableDataset[Sample]):
    """Batches without end: batch k holds the samples from k times the batch size on.

    Loaders take turns by whole batches, so their number changes nothing.

    Parameters
    ----------
    first
        Number of the first batch, where a training goes on.
    every
        Distance of the numbers, so that several trainers take turns.
    """

    def __init__(self, sampler: MakesSamples, batch_size: int, first: int = 0, every: int = 1) -> None:
        self._sampler, self._size, self._first, self._every = sampler, batch_size, first, every

    def __iter__(self) -> Iterator[Sample]:
        """Yield the batches of this loader."""
        loader = get_worker_info()
        place, loaders = (loader.id, loader.num_workers) if loader else (0, 1)
        number = self._first + place * self._every
        while True:
            samples = [self._sampler.sample(number * self._size + k) for k in range(self._size)]
            images, regions, annotated = (torch.stack(parts) for parts in zip(*samples, strict=True))
            yield images, regions, annotated
            number += loaders * self._every


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
