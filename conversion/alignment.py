"""All sequences of a study on one grid: the native grid of the reference series."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.registration import Registration, register
from conversion.sequences import Role
from conversion.simpleitk_bridge import from_simpleitk, like_grid, to_simpleitk
from conversion.volume import Grid, ImageVolume

__all__ = ["AlignedVolumes", "align", "already_aligned", "resample"]


@dataclass(frozen=True, kw_only=True)
class AlignedVolumes:
    """The sequences of a study, every one on the reference's grid.

    Attributes
    ----------
    volumes
        By role; the reference's own voxels are untouched.
    registrations
        How each other sequence was moved.
    """

    reference: Role
    volumes: Mapping[Role, ImageVolume]
    registrations: Mapping[Role, Registration]
    decisions: tuple[Decision, ...]

    @property
    def grid(self) -> Grid:
        """The reference's native grid."""
        return self.volumes[self.reference].grid


def align(volumes: Mapping[Role, ImageVolume], reference: Role, threads: int = 4) -> AlignedVolumes:
    """Register every sequence to the reference and resample it onto the reference's grid.

    Parameters
    ----------
    volumes
        By role, each on its own native grid.
    threads
        Registrations at a time.

    Raises
    ------
    RegistrationFailed
        When a sequence cannot be brought into the reference's space.
    """
    fixed = volumes[reference]
    moving = {role: volume for role, volume in volumes.items() if role is not reference}
    with ThreadPoolExecutor(max_workers=threads) as pool:
        found = pool.map(lambda volume: register(fixed, volume), moving.values())
        registrations = dict(zip(moving, found, strict=True))
    aligned, decisions = {reference: fixed}, []
    for role, registration in registrations.items():
        aligned[role] = resample(moving[role], fixed.grid, registration.matrix)
        reason = (
            f"moved by {registration.move_mm:.1f} mm and {registration.rotation_deg:.1f}° onto {reference}; mutual "
            f"information {-registration.metric_before:.3f} before, {-registration.metric_after:.3f} after"
        )
        decisions.append(Decision(code="registered", subject=str(role), reason=reason))
    return AlignedVolumes(
        reference=reference,
        volumes=MappingProxyType(aligned),
        registrations=MappingProxyType(registrations),
        decisions=tuple(decisions),
    )


def already_aligned(volumes: Mapping[Role, ImageVolume], reference: Role) -> AlignedVolumes | None:
    """Return the volumes as they are when they share one grid, as research data sets do; else None."""
    if not all(volume.grid.equals(volumes[reference].grid) for volume in volumes.values()):
        return None
    reason = "all sequences share one grid, so nothing was registered or resampled"
    decision = Decision(code="already_aligned", subject="study", reason=reason)
    return AlignedVolumes(
        reference=reference, volumes=MappingProxyType(dict(volumes)), registrations={}, decisions=(decision,)
    )


def resample(volume: ImageVolume, grid: Grid, matrix: NDArray[np.float64] | None = None) -> ImageVolume:
    """Sample a volume on another grid by linear interpolation; outside it, 0.

    Parameters
    ----------
    grid
        Where samples are taken.
    matrix
        Shape (4, 4), LPS mm of `grid` to LPS mm of `volume`; by default they are the same.
    """
    transform = sitk.AffineTransform(3)
    if matrix is not None:
        transform.SetMatrix([float(value) for value in matrix[:3, :3].ravel()])
        transform.SetTranslation([float(value) for value in matrix[:3, 3]])
    target = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    like_grid(target, grid)
    return from_simpleitk(sitk.Resample(to_simpleitk(volume), target, transform, sitk.sitkLinear, 0.0), grid)
