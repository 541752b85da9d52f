"""Cases prepared for a network: resampled, normalised, cropped to the head; computed once and cached on disk.

The name of a cached file is a hash of everything that it depends on, so an outdated file is never used, only left over.
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
"""Increases with every change that produces other arrays from the same files."""

_CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How cases are prepared.

    Attributes
    ----------
    spacing_mm
        In-plane voxel size; slices keep their distance where it is larger. None keeps the voxels as they are. Cases of
        unknown spacing always keep theirs.
    cubes
        Whether the distance of slices is resampled to `spacing_mm` as well, for networks over volumes. These networks
        get the brain alone, so skull and scalp are removed if present, as in the node.
    n4
        Whether the bias field of every sequence is corrected; takes seconds per sequence.
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
        Splits are made by patient.
    source
        ``lgg``, ``brats``, ``msd`` or ``dicom``.
    images
        Normalised intensities in the order of `CHANNELS`, float16, shape (4, slice, row, column), read-only and
        memory-mapped, so that only the parts in use take memory. A missing sequence is zeros.
    present
        Which of the four channels contain a real sequence.
    regions
        Masks of WT, TC, ET, bool, shape (3, slice, row, column).
    annotated
        Which of the three regions the source's experts drew.
    spacing_mm
        Of (slice, row, column); None where the source does not state it.
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
    """A prepared case that is opened only when it is needed."""

    case_id: str
    patient: str
    source: str
    site: str
    path: Path

    def read(self) -> PreparedCase:
        """Open the case; raise `UnreadableCase` if its file was damaged since it was checked."""
        try:
            arrays, facts = read_arrays(self.path)
            shape = tuple(facts["shape"])
            bits = np.unpackbits(arrays["regions"], count=len(EXPERT_REGIONS) * int(np.prod(shape)))
            bits.setflags(write=False)
            spacing = facts["spacing_mm"]
            return PreparedCase(
                case_id=self.case_id,
                patient=self.patient,
                source=self.source,
                site=self.site,
                images=arrays["images"],
                present=tuple(facts["present"]),
                regions=bits.view(bool).reshape(len(EXPERT_REGIONS), *shape),
                annotated=tuple(facts["annotated"]),
                spacing_mm=None if spacing is None else tuple(spacing),
                stripped=facts["stripped"],
            )
        except (OSError, ValueError, KeyError) as error:
            raise unreadable(f"{self.case_id}: its prepared file is damaged; prepare the cases again") from error


@dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """The prepared cases of one or several sets, and the items that could not be prepared."""

    cases: tuple[PreparedReference, ...]
    skipped: tuple[SkippedCase, ...]


Progress = Callable[[list[tuple[str, CaseReference]]], Iterable[tuple[str, CaseReference]]]


def prepare_cases(
    sets: Iterable[CaseSet], settings: Preparation, cache: Path, progress: Progress = iter
) -> PreparedSet:
    """Prepare every case that is not cached already.

    Parameters
    ----------
    cache
        Folder of the cached files; created if missing.
    progress
        Wraps the list of sources and cases, for a progress bar.

    Returns
    -------
    PreparedSet
        Its `skipped` lists what the sets skipped, and cases whose files are unusable.
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
    """Prepare one case, or use its cached file; a damaged cached file is computed again."""
    read: AnnotatedCase | None = None
    if isinstance(case, StoredCase):
        fingerprint = case.fingerprint()
    else:
        read = case.read()
        fingerprint = _content_hash(read)
    path = cache / f"{_key(case, source, settings, fingerprint)}.npz"
    if not whole(path):
        _prepare_file(path, read or case.read(), settings)
    return PreparedReference(case_id=case.case_id, patient=case.patient, source=source, site=case.site, path=path)


def _key(case: CaseReference, source: str, settings: Preparation, fingerprint: str) -> str:
    depends = [VERSION, source, case.case_id, asdict(settings), fingerprint, _brain_network().manifest.weights_sha256]
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()


def _content_hash(case: AnnotatedCase) -> str:
    """Return the SHA-256 of the contents of a case."""
    digest = hashlib.sha256(case.volumes.grid.affine.tobytes())
    for role in sorted(case.volumes.volumes):
        digest.update(role.encode() + case.volumes.volumes[role].voxels.tobytes())
    for region in sorted(case.regions):
        digest.update(region.encode() + case.regions[region].tobytes())
    return digest.hexdigest()


def _prepare_file(path: Path, case: AnnotatedCase, settings: Preparation) -> None:
    grid = _grid(case, settings)
    present = tuple(Role(name) in case.volumes.volumes for name in CHANNELS)
    study = StudyTensors.of(case.volumes, _CPU)
    brain = find_brain(_brain_network(), study) if case.spacing_known else None
    brain_mask = None
    if brain is not None and settings.cubes and not brain.stripped:
        brain_mask = sampled_mask(brain.tight, study.grid, grid)
    images = torch.stack([_channel(case, Role(name), grid, settings, brain_mask) for name in CHANNELS])
    regions = np.stack([_region(case, region, grid) for region in EXPERT_REGIONS])
    box = signal_box(images, torch.from_numpy(regions.any(axis=0)))
    facts = {
        "present": present,
        "annotated": tuple(region in case.regions for region in EXPERT_REGIONS),
        "spacing_mm": grid.spacing_mm.tolist() if case.spacing_known else None,
        "stripped": brain_mask is not None or _skull_stripped(case, study, brain),
    }
    _write(path, images[:, *box].numpy(), regions[:, *box], facts)


def keep_prepared(case: PreparedCase, path: Path) -> PreparedReference:
    """Store a case that was derived from another prepared case."""
    facts = {name: getattr(case, name) for name in ("present", "annotated", "spacing_mm", "stripped")}
    _write(path, case.images, case.regions, facts)
    return PreparedReference(case_id=case.case_id, patient=case.patient, source=case.source, site=case.site, path=path)


def _write(path: Path, images: NDArray[np.floating], regions: NDArray[np.bool_], facts: dict[str, object]) -> None:
    arrays: dict[str, NDArray[np.generic]] = {
        "images": images.astype(np.float16),
        "regions": np.packbits(regions),
    }
    write_arrays(path, arrays, facts | {"shape": images.shape[1:]})


@functools.cache
def _brain_network() -> BrainNetwork:
    return load_brain(_CPU)


def _skull_stripped(case: AnnotatedCase, study: StudyTensors, brain: BrainFound | None) -> bool:
    """Tell whether a case has no skull and scalp; a piece too small to show a brain counts as having none."""
    if brain is not None or not case.spacing_known:
        return brain is not None and brain.stripped
    return not shows_enough(study)


def _grid(case: AnnotatedCase, settings: Preparation) -> Grid:
    """Return the grid of axial slices for the network, by the same rule as for segmentation."""
    native = case.volumes.grid
    if settings.spacing_mm is None or not case.spacing_known:
        return native.permuted(*native.axial_order())
    return working_grid(native, settings.spacing_mm, cubes=settings.cubes)


def _channel(case: AnnotatedCase, role: Role, grid: Grid, settings: Preparation, brain_mask: Tensor | None) -> Tensor:
    volume: ImageVolume | None = case.volumes.volumes.get(role)
    if volume is None:
        return torch.zeros(grid.shape)
    corrected = without_bias_field(volume) if settings.n4 else volume
    voxels = sampled(torch.tensor(corrected.voxels), corrected.grid, grid)
    return normalise_intensity(voxels if brain_mask is None else torch.where(brain_mask, voxels, 0))


def _region(case: AnnotatedCase, region: Region, grid: Grid) -> NDArray[np.bool_]:
    mask = case.regions.get(region)
    if mask is None:
        return np.zeros(grid.shape, bool)
    return np.asarray(labels_on(LabelVolume(grid=case.volumes.grid, labels=mask.astype(np.uint8)), grid).labels, bool)
