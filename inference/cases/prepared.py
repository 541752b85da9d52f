"""Cases as a network wants them: resampled, normalised, cut to the head; made once and kept on disk.

A kept file is named by everything that it depends on, so one that is out of date is never found, only left over.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conversion.alignment import labels_on
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.bias_field import without_bias_field
from inference.brain_network import BrainNetwork
from inference.brain_region import BrainFound, find_brain, shows_enough
from inference.cases.array_file import read_arrays, whole, write_arrays
from inference.cases.case import AnnotatedCase, CaseReference, CaseSet, SkippedCase
from inference.cases.one_grid import EXPERT_REGIONS
from inference.cases.stored_case import StoredCase, unreadable
from inference.errors import UnreadableCase
from inference.model_bundle import load_brain
from inference.preprocessing import CHANNELS, normalise_intensity, signal_box
from inference.regions import Region
from inference.resampling import sampled, sampled_mask, working_grid
from inference.study_tensors import StudyTensors

__all__ = [
    "Preparation",
    "PreparedCase",
    "PreparedReference",
    "PreparedSet",
    "keep_prepared",
    "prepare",
    "prepare_cases",
]

VERSION = 4
"""Goes up with every change that makes other arrays of the same files."""

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How cases are prepared.

    Attributes
    ----------
    spacing_mm
        In-plane voxel size; slices keep their distance where it is larger. None leaves voxels as they are, and cases
        of unknown spacing are left so in any case.
    cubes
        Whether slices are brought to `spacing_mm` as well, for networks over volumes; these see the brain alone, so
        skull and scalp are taken away where there are any, as the node does.
    n4
        Whether the bias field is taken out of every sequence; seconds for each.
    """

    spacing_mm: float | None = 1.0
    cubes: bool = False
    n4: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedCase:
    """One case, as a stack of axial slices.

    Attributes
    ----------
    patient
        The unit of every split.
    source
        ``lgg``, ``brats``, ``msd`` or ``dicom``.
    images
        Normalised intensities in the order of `CHANNELS`, float16, shape (4, slice, row, column), read-only and mapped
        from disk, so that only what is looked at takes memory; a missing sequence is zeros.
    present
        Which of the four channels hold a real sequence.
    regions
        Masks of WT, TC, ET, bool, shape (3, slice, row, column).
    annotated
        Which of the three regions the source's experts drew.
    spacing_mm
        Of (slice, row, column); None where the source does not tell.
    stripped
        Whether `images` show the brain alone.
    """

    case_id: str
    patient: str
    source: str
    site: str
    images: NDArray[np.float16]
    present: tuple[bool, bool, bool, bool]
    regions: NDArray[np.bool_]
    annotated: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float] | None
    stripped: bool = False

    @property
    def regions_known(self) -> bool:
        """Tell whether experts drew all regions."""
        return all(self.annotated)


@dataclass(frozen=True, kw_only=True)
class PreparedReference:
    """A prepared case that is opened when its turn comes."""

    case_id: str
    patient: str
    source: str
    site: str
    path: Path

    def read(self) -> PreparedCase:
        """Open the case; raises `UnreadableCase` where its file was damaged since it was looked at."""
        try:
            arrays, kept = read_arrays(self.path)
            shape = tuple(kept["shape"])
            bits = np.unpackbits(arrays["regions"], count=len(EXPERT_REGIONS) * int(np.prod(shape)))
            bits.setflags(write=False)
            spacing = kept["spacing_mm"]
            return PreparedCase(
                case_id=self.case_id,
                patient=self.patient,
                source=self.source,
                site=self.site,
                images=arrays["images"],
                present=tuple(kept["present"]),
                regions=bits.view(bool).reshape(len(EXPERT_REGIONS), *shape),
                annotated=tuple(kept["annotated"]),
                spacing_mm=None if spacing is None else tuple(spacing),
                stripped=kept["stripped"],
            )
        except (OSError, ValueError, KeyError) as error:
            raise unreadable(f"{self.case_id}: its prepared file is damaged; prepare the cases again") from error


@dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """The prepared cases of one or several sets, and what could not be prepared."""

    cases: tuple[PreparedReference, ...]
    skipped: tuple[SkippedCase, ...]


Progress = Callable[[list[tuple[str, CaseReference]]], Iterable[tuple[str, CaseReference]]]


def prepare_cases(
    sets: Iterable[CaseSet], settings: Preparation, cache: Path, progress: Progress = iter
) -> PreparedSet:
    """Prepare every case that is not kept already.

    Parameters
    ----------
    cache
        Folder of the kept files; made when missing.
    progress
        Wraps the list of sources and cases, for a progress bar.

    Returns
    -------
    PreparedSet
        Its `skipped` holds what the sets had skipped, and cases whose files turned out to be unusable.
    """
    sets = list(sets)
    skipped = [item for one in sets for item in one.skipped]
    cases = []
    for source, case in progress([(one.source, case) for one in sets for case in one.cases]):
        try:
            cases.append(prepare(case, source, settings, cache))
        except UnreadableCase as error:
            skipped.append(SkippedCase(name=case.case_id, reason=str(error)))
    return PreparedSet(cases=tuple(cases), skipped=tuple(skipped))


def prepare(case: CaseReference, source: str, settings: Preparation, cache: Path) -> PreparedReference:
    """Prepare one case, or find it kept; a kept file that is damaged is made again."""
    read: AnnotatedCase | None = None
    if isinstance(case, StoredCase):
        fingerprint = case.fingerprint()
    else:
        read = case.read()
        fingerprint = _content(read)
    path = cache / f"{_key(case, source, settings, fingerprint)}.npz"
    if not whole(path):
        _keep(path, read or case.read(), settings)
    return PreparedReference(case_id=case.case_id, patient=case.patient, source=source, site=case.site, path=path)


def _key(case: CaseReference, source: str, settings: Preparation, fingerprint: str) -> str:
    depends = [VERSION, source, case.case_id, asdict(settings), fingerprint, _brain_network().manifest.weights_sha256]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _content(case: AnnotatedCase) -> str:
    """Return the SHA-256 of what a case holds."""
    digest = hashlib.sha256(case.volumes.grid.affine.tobytes())
    for role in sorted(case.volumes.volumes):
        digest.update(role.encode() + case.volumes.volumes[role].voxels.tobytes())
    for region in sorted(case.regions):
        digest.update(region.encode() + case.regions[region].tobytes())
    return digest.hexdigest()


def _keep(path: Path, case: AnnotatedCase, settings: Preparation) -> None:
    grid = _grid(case, settings)
    present = tuple(Role(name) in case.volumes.volumes for name in CHANNELS)
    study = StudyTensors.of(case.volumes, _CPU)
    brain = find_brain(_brain_network(), study) if case.spacing_known else None
    shown = None
    if brain is not None and settings.cubes and not brain.stripped:
        shown = sampled_mask(brain.tight, study.grid, grid)
    images = torch.stack([_channel(case, Role(name), grid, settings, shown) for name in CHANNELS])
    regions = np.stack([_region(case, region, grid) for region in EXPERT_REGIONS])
    box = signal_box(images, torch.from_numpy(regions.any(axis=0)))
    kept = {
        "present": present,
        "annotated": tuple(region in case.regions for region in EXPERT_REGIONS),
        "spacing_mm": grid.spacing_mm.tolist() if case.spacing_known else None,
        "stripped": shown is not None or _brain_alone(case, study, brain),
    }
    _write(path, images[:, *box].numpy(), regions[:, *box], kept)


def keep_prepared(case: PreparedCase, path: Path) -> PreparedReference:
    """Keep a case that was made of another prepared one."""
    kept = {name: getattr(case, name) for name in ("present", "annotated", "spacing_mm", "stripped")}
    _write(path, case.images, case.regions, kept)
    return PreparedReference(case_id=case.case_id, patient=case.patient, source=case.source, site=case.site, path=path)


def _write(path: Path, images: NDArray[np.floating], regions: NDArray[np.bool_], kept: dict[str, object]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        "images": images.astype(np.float16),
        "regions": np.packbits(regions),
    }
    write_arrays(path, arrays, kept | {"shape": images.shape[1:]})


@functools.cache
def _brain_network() -> BrainNetwork:
    return load_brain(_CPU)


def _brain_alone(case: AnnotatedCase, study: StudyTensors, brain: BrainFound | None) -> bool:
    """Tell a case without skull and scalp; a piece too small to show a brain has none either."""
    if brain is not None or not case.spacing_known:
        return brain is not None and brain.stripped
    return not shows_enough(study)


def _grid(case: AnnotatedCase, settings: Preparation) -> Grid:
    """Return the stack of axial slices a network is to see; the same rule as for segmenting."""
    native = case.volumes.grid
    if settings.spacing_mm is None or not case.spacing_known:
        return native.permuted(*native.axial_order())
    return working_grid(native, settings.spacing_mm, cubes=settings.cubes)


def _channel(case: AnnotatedCase, role: Role, grid: Grid, settings: Preparation, shown: Tensor | None) -> Tensor:
    volume: ImageVolume | None = case.volumes.volumes.get(role)
    if volume is None:
        return torch.zeros(grid.shape)
    given = without_bias_field(volume) if settings.n4 else volume
    voxels = sampled(torch.tensor(given.voxels), given.grid, grid)
    return normalise_intensity(voxels if shown is None else torch.where(shown, voxels, 0))


def _region(case: AnnotatedCase, region: Region, grid: Grid) -> NDArray[np.bool_]:
    mask = case.regions.get(region)
    if mask is None:
        return np.zeros(grid.shape, bool)
    return np.asarray(labels_on(LabelVolume(grid=case.volumes.grid, labels=mask.astype(np.uint8)), grid).labels, bool)
