"""Samples for the denoising autoencoder: a head at 4 mm, damaged, and the same head undamaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference.cases.prepared import PreparedCase
from inference.errors import InferenceReason, UnreadableCase
from inference.novelty import GRID_SHAPE, centred
from inference.training.augmentation import augment_intensity
from inference.training.plan import TrainingPlan
from inference.training.sampling import Sample

__all__ = ["DenoisingSampler", "reconstruction_loss"]

TURN_DEG = 12.0
SCALES = (0.9, 1.1)
SHIFT_VOXELS = 1.5
LEAVE_OUT = 0.3
"""Probability that a sequence is left out and has to be reconstructed from the others."""

MOST_BLOCKS = 3
BLOCK_VOXELS = (4, 16)
"""Edge of the boxes that are blanked: 16 to 64 mm."""

NOISE = 0.3
"""Largest standard deviation of the noise, in units of the tissue median."""


@dataclass(frozen=True, eq=False)
class _Small:
    """A case at 2 mm, so that rotating it does not blur the images at 4 mm on which the network is trained."""

    images: Tensor
    present: Tensor


class DenoisingSampler:
    """Samples of a plan. Each depends on the seed and its number alone. Patients are drawn evenly.

    Parameters
    ----------
    cases
        Prepared as isotropic voxels of 1 mm.
    """

    def __init__(self, cases: Sequence[PreparedCase], plan: TrainingPlan) -> None:
        self._plan = plan
        self._cases = [_small(case) for case in cases]

    def sample(self, number: int) -> Sample:
        """Return a damaged head, the undamaged one, and which sequences are present, shape (channel,)."""
        rng = np.random.default_rng([self._plan.seed, number])
        torch.manual_seed(int(rng.integers(2**62)))
        case = self._cases[rng.integers(len(self._cases))]
        whole = augment_intensity(_transformed(case.images)) * case.present[:, None, None, None]
        return _damaged(whole, case.present), whole, case.present


def _small(case: PreparedCase) -> _Small:
    if case.spacing_mm is None:
        sentence = f"{case.case_id}: an autoencoder needs volumes of known voxel size"
        raise UnreadableCase(InferenceReason.UNREADABLE_CASE, sentence)
    images = F.avg_pool3d(torch.from_numpy(case.images.astype(np.float32)), 2, ceil_mode=True)
    return _Small(centred(images, [2 * size for size in GRID_SHAPE]), torch.tensor(case.present, dtype=torch.float32))


def _transformed(images: Tensor) -> Tensor:
    """Return the head at `GRID_MM`, slightly rotated, scaled and shifted, and mirrored at random."""
    angles = torch.deg2rad(torch.empty(3).uniform_(-TURN_DEG, TURN_DEG))
    turn = torch.eye(3)
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        step = torch.eye(3)
        cosine, sine = torch.cos(angles[axis]), torch.sin(angles[axis])
        step[first, first], step[first, second], step[second, first], step[second, second] = cosine, -sine, sine, cosine
        turn = step @ turn
    turn = turn / torch.empty(1).uniform_(*SCALES)
    turn[:, 0] *= 1.0 if torch.rand(()) < 0.5 else -1.0
    size = torch.tensor(images.shape[:0:-1], dtype=torch.float32)
    turn = turn * size[None, :] / size[:, None]  # in units of half an edge, which differs between axes
    shift = torch.empty(3, 1).uniform_(-SHIFT_VOXELS, SHIFT_VOXELS) * 4 / size[:, None]
    grid = F.affine_grid(torch.cat([turn, shift], dim=1)[None], [1, 1, *GRID_SHAPE], align_corners=False)
    return F.grid_sample(images[None], grid, align_corners=False)[0]


def _damaged(whole: Tensor, present: Tensor) -> Tensor:
    """Return the head with noise, blanked boxes and sequences left out. At least one sequence always stays."""
    damaged = whole + torch.randn_like(whole) * float(torch.rand(())) * NOISE * (whole > 0)
    for _ in range(int(torch.randint(0, MOST_BLOCKS + 1, ()))):
        box = [_random_range(length) for length in whole.shape[1:]]
        damaged[:, box[0], box[1], box[2]] = 0
    shown = (torch.rand(len(present)) >= LEAVE_OUT).float() * present
    if not bool(shown.any()):
        shown = present
    return damaged.clamp(min=0) * shown[:, None, None, None]


def _random_range(length: int) -> slice:
    size = int(torch.randint(BLOCK_VOXELS[0], BLOCK_VOXELS[1] + 1, ()))
    start = int(torch.randint(0, max(1, length - size), ()))
    return slice(start, start + size)


def reconstruction_loss(made: Tensor, whole: Tensor, present: Tensor) -> Tensor:
    """Return the mean absolute error over the sequences that are present.

    Parameters
    ----------
    made, whole
        Shape (batch, channel, slice, row, column).
    present
        Shape (batch, channel).
    """
    by_sequence = (made - whole).abs().mean(dim=(2, 3, 4))
    return (by_sequence * present).sum() / present.sum().clamp(min=1)
