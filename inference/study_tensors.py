"""A study's volumes on the device of a model, where they stay until the labels are computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid

__all__ = ["StudyTensors"]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyTensors:
    """The sequences of a study on one grid and one device.

    Attributes
    ----------
    volumes
        float32, shape of the grid (slice, row, column).
    """

    reference: Role
    grid: Grid
    volumes: Mapping[Role, Tensor]

    @classmethod
    def of(cls, aligned: AlignedVolumes, device: torch.device) -> Self:
        """Return copies of a study's volumes on a device."""
        volumes = {role: torch.tensor(volume.voxels, device=device) for role, volume in aligned.volumes.items()}
        return cls(reference=aligned.reference, grid=aligned.grid, volumes=volumes)

    @property
    def head(self) -> Tensor:
        """The reference's voxels."""
        return self.volumes[self.reference]
