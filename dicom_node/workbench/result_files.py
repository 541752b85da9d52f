"""Writes a result as files: masks, probabilities, the overlay picture and the findings."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conversion.alignment import AlignedVolumes, labels_on
from conversion.decision import Decision
from conversion.nifti import write_nifti
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.flags import Flag
from inference.measurements import Findings
from inference.segmentation import Segmentation
from viewer_integration.codes import SEGMENTS
from viewer_integration.overlay import write_overlay
from viewer_integration.provenance import RESEARCH_USE_ONLY

__all__ = ["FoundResult", "WorkbenchResult", "write_images", "write_native", "write_result"]


@dataclass(frozen=True, kw_only=True)
class WorkbenchResult:
    """The files written and the findings.

    Attributes
    ----------
    volumes_ml
        By region; None where the input has no voxel spacing.
    no_tumour
        A sentence stating that no tumour was found; empty where one was found.
    """

    files: tuple[Path, ...]
    sequences: tuple[str, ...]
    volumes_ml: Mapping[str, float | None]
    no_tumour: str
    flags: tuple[Flag, ...]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundResult:
    """The results to write, for any kind of input.

    Attributes
    ----------
    pixel_mm
        Edge of a pixel of an image slice, where it was stated.
    """

    image: ImageVolume
    segmentation: Segmentation
    findings: Findings
    decisions: tuple[Decision, ...]
    spacing_known: bool = True
    pixel_mm: float | None = None


def write_native(
    aligned: AlignedVolumes, segmentation: Segmentation, grids: Mapping[Role, Grid], out: Path
) -> list[Path]:
    """Write the labels on the native grid of every sequence that was used, in its scanner coordinates."""
    files = []
    for role in aligned.volumes.keys() & grids.keys():
        registration = aligned.registrations.get(role)
        matrix = registration.matrix if registration else None
        labels = labels_on(segmentation.label_volume, grids[role], matrix)
        files.append(out / f"segmentation_on_{role.lower()}.nii.gz")
        write_nifti(labels, files[-1])
    return sorted(files)


def write_images(aligned: AlignedVolumes, out: Path) -> list[Path]:
    """Write the sequences on the grid of the result."""
    files = []
    for role, volume in aligned.volumes.items():
        files.append(out / f"image_{role.lower()}.nii.gz")
        write_nifti(volume, files[-1])
    return sorted(files)


def write_result(work: FoundResult, out: Path, more: list[Path]) -> WorkbenchResult:
    """Write masks, probabilities, picture and findings beside files that were written before.

    Parameters
    ----------
    more
        Those files, to be named in the result.
    """
    labels = work.segmentation.label_volume
    files = [*more, out / "segmentation.nii.gz", out / "overlay.png", out / "findings.json"]
    write_nifti(labels, out / "segmentation.nii.gz")
    if work.segmentation.brain is not None:
        files.append(out / "brain.nii.gz")
        write_nifti(LabelVolume(grid=labels.grid, labels=work.segmentation.brain.astype(np.uint8)), files[-1])
    for kind, maps in (
        ("probability", work.segmentation.probabilities),
        ("uncertainty", work.segmentation.uncertainty),
    ):
        for region, values in maps.items():
            files.append(out / f"{kind}_{region.lower()}.nii.gz")
            write_nifti(ImageVolume(grid=labels.grid, voxels=values.astype(np.float32)), files[-1])
    write_overlay(work.image, labels, out / "overlay.png")
    content = _findings_json(work)
    (out / "findings.json").write_text(json.dumps(content, indent=1))
    return WorkbenchResult(
        files=tuple(files),
        sequences=work.segmentation.sequences,
        flags=work.findings.flags,
        volumes_ml={region: values["volume_ml"] for region, values in content["regions"].items()},
        no_tumour=work.findings.no_tumour,
        decisions=work.decisions,
    )


def _findings_json(work: FoundResult) -> dict[str, Any]:
    known = work.spacing_known
    return {
        "notice": RESEARCH_USE_ONLY,
        "model": asdict(work.segmentation.model),
        "sequences": work.segmentation.sequences,
        "regions": {
            finding.region: {
                "voxels": finding.voxels,
                "volume_ml": round(finding.volume_ml, 3) if known else None,
                "interval_ml": [round(end, 3) for end in finding.interval_ml] if finding.interval_ml else None,
                "area_mm2": round(finding.voxels * work.pixel_mm**2, 1) if work.pixel_mm else None,
                "centroid_lps_mm": finding.centroid_mm if known else None,
            }
            for finding in work.findings.regions
        },
        "labels": {str(int(label)): {"name": one.name, "rgb": one.rgb} for label, one in SEGMENTS.items()},
        "present": [int(label) for label in np.unique(work.segmentation.label_volume.labels) if label],
        "result": "no tumour found" if work.findings.no_tumour else "tumour found",
        "no_tumour": work.findings.no_tumour,
        "quality": asdict(work.segmentation.quality),
        "flags": [{"code": flag.code, "sentence": flag.sentence} for flag in work.findings.flags],
        "decisions": [asdict(decision) for decision in work.decisions],
    }
