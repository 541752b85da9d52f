"""Endless training samples. Sample k depends on the seed and on k alone, whichever process makes it."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from inference.cases.prepared import PreparedCase
from inference.forward import VIEW_STEP
from inference.training.augmentation import (
    add_remains,
    add_rim,
    add_synthetic_head,
    augment_intensity,
    cut_tight,
    drop_sequences,
    keep_subset,
    thicken_rows,
    thicken_slices,
)
from inference.training.plan import TrainingPlan
from inference.training.tumours.carved import carved, with_cavity
from inference.training.windows import FURTHEST_NEIGHBOUR, VIEWS, View, Volume, Window, slice_window, volume_window

__all__ = ["Batches", "MakesSamples", "Sample", "Sampler"]

Sample = tuple[Tensor, Tensor, Tensor]
"""Images (channel, slice, row, column), regions (region, slice, row, column), and which regions were annotated, shape
(region,)."""

THIN_MM = 1.5
"""Stacks with slices closer than this also simulate thick slices, by neighbours that are further away."""

CARVED_SHIFT = 6.0
"""Standard deviation, in slices along the view, between the original position of a tumour and where it is implanted."""


class Sampler:
    """Samples of a plan. Data sets are drawn by their share, and patients evenly within a set.

    Parameters
    ----------
    device
        Device on which volumes are transformed and augmented. All cases stay there, 30 to 60 MB each. Slices are made
        on the CPU.
    """

    def __init__(self, cases: Sequence[PreparedCase], plan: TrainingPlan, device: torch.device | None = None) -> None:
        self._plan, self._device = plan, device or torch.device("cpu")
        self._kept: dict[str, Volume] = {}
        self._tumours: dict[tuple[str, str, int], NDArray[np.intp]] = {}
        implants = plan.views > 1 and any(plan.carved_share)
        self._donors = [
            case for case in cases if implants and all(case.present) and case.regions_known and case.regions[0].any()
        ]
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
        regions = window.regions
        if case.stripped and self._plan.views > 1 and rng.random() < self._plan.tight_share:
            images, shown = cut_tight(images)
            regions = regions * shown
        if self._volumes:
            images = thicken_slices(images)
        elif self._plan.views > 1:
            images = thicken_rows(images)
        images = augment_intensity(images)
        if rng.random() < self._plan.subset_share:
            images, present = keep_subset(images, present)
        else:
            images, present = drop_sequences(images, present, self._plan.drop)
        annotated = torch.tensor(case.annotated, dtype=torch.float32)
        if not bool(present[1]):  # without contrast agent, neither enhancement nor the core is visible
            annotated[1:] = 0
        return images * present.to(images.device)[:, None, None, None], regions, annotated

    def _surround(self, images: Tensor, present: Tensor) -> Tensor:
        """Add remains of the head around a brain for networks over volumes, or a skull and scalp for slices."""
        if self._volumes:
            return add_remains(images, present)
        return add_rim(images, present) if self._plan.views > 1 else add_synthetic_head(images, present)

    @property
    def _volumes(self) -> bool:
        return bool(self._plan.network["dimensions"] == 3)

    def _volume(self, case: PreparedCase) -> Volume:
        if self._device.type == "cpu":  # a case is memory-mapped: to read it costs less than to keep all of them
            return Volume.of(case, self._device)
        if case.case_id not in self._kept:
            self._kept[case.case_id] = Volume.of(case, self._device)
        return self._kept[case.case_id]

    def _window(self, case: PreparedCase, rng: np.random.Generator) -> Window:
        if self._volumes:
            return volume_window(self._volume(case), self._plan.crop)
        flat = case.spacing_mm is None  # the slice distance of such a stack is unknown
        view = VIEWS[rng.integers(1 if flat else self._plan.views)]
        tumour = self._tumour_slices(case, view)
        if flat or self._plan.views == 1:
            return self._slices(case, view, self._middle(case, view, tumour, rng), rng)
        other = self._donor(case, rng)
        if other is None:
            window = self._slices(case, view, self._middle(case, view, tumour, rng), rng)
        else:
            window = self._with_tumour_of(other, case, view, rng)
        return with_cavity(window) if rng.random() < self._plan.cavity_share else window

    def _middle(self, case: PreparedCase, view: View, tumour: NDArray[np.intp], rng: np.random.Generator) -> int:
        on_tumour = tumour.size and rng.random() < self._plan.tumour_share
        return int(rng.choice(tumour)) if on_tumour else int(rng.integers(case.images.shape[view.axes[0] + 1]))

    def _slices(
        self, case: PreparedCase, view: View, middle: int, rng: np.random.Generator, *, everywhere: bool = False
    ) -> Window:
        furthest = FURTHEST_NEIGHBOUR if case.spacing_mm is not None and case.spacing_mm[0] <= THIN_MM else 1
        flat = case.spacing_mm is None
        step = VIEW_STEP if self._plan.views > 1 and not flat else int(rng.integers(1, furthest + 1))
        context = int(self._plan.network.get("context", 0))
        return slice_window(case, middle, context, self._plan.crop[1:], step, view, everywhere=everywhere)

    def _donor(self, case: PreparedCase, rng: np.random.Generator) -> PreparedCase | None:
        """Return the case whose tumour is implanted into this one, or None if this one stays unchanged."""
        share = self._plan.carved_share[int(case.regions_known and self._tumour_slices(case, VIEWS[0]).size > 0)]
        if not case.regions_known or not self._donors or rng.random() >= share:
            return None
        return self._donors[rng.integers(len(self._donors))]

    def _with_tumour_of(self, other: PreparedCase, case: PreparedCase, view: View, rng: np.random.Generator) -> Window:
        """Return slices of a case with another case's tumour implanted at about its original height."""
        source_slice = int(rng.choice(self._tumour_slices(other, view)))
        sizes = [one.images.shape[view.axes[0] + 1] for one in (other, case)]
        middle = round((source_slice + rng.normal(0, CARVED_SHIFT)) / sizes[0] * sizes[1])
        onto = self._slices(case, view, min(max(middle, 0), sizes[1] - 1), rng)
        return carved(onto, self._slices(other, view, source_slice, rng, everywhere=True))

    def _tumour_slices(self, case: PreparedCase, view: View) -> NDArray[np.intp]:
        """Return the slices of a view that show tumour."""
        key = (case.source, case.case_id, view.axes[0])
        if key not in self._tumours:
            others = tuple(axis for axis in range(3) if axis != view.axes[0])
            widest = case.regions[list(case.annotated).index(True)]  # the largest region that was annotated
            self._tumours[key] = np.flatnonzero(widest.any(axis=others))
        return self._tumours[key]


class MakesSamples(Protocol):
    """A source of samples that always makes the same sample from the same number."""

    def sample(self, number: int) -> Sample:
        """Return one sample by its number."""


class Batches(IterableDataset[Sample]):
    """An endless stream of batches. Batch k contains the samples from k times the batch size on.

    Loaders take turns by complete batches, so their number changes nothing.

    Parameters
    ----------
    first
        Number of the first batch, for a training that is resumed.
    every
        Distance between batch numbers, so that several training processes take turns.
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
    """Return the share of each data set: as given in the plan, the rest in proportion to the number of patients."""
    left = 1 - sum(wanted.get(source, 0.0) for source in sources)
    others = sum(count for source, count in zip(sources, counts, strict=True) if source not in wanted)
    shares = [
        wanted[source] if source in wanted else left * count / others
        for source, count in zip(sources, counts, strict=True)
    ]
    total = sum(shares)
    return [share / total for share in shares]
