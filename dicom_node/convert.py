"""`glionode convert`: every MR series of a folder as NIfTI and JSON, and a list of what was left out with reasons."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conversion.decision import Decision
from conversion.errors import ConversionError
from conversion.reading import dicom_files, read_series, read_study
from conversion.selection import SeriesSelection, select_series
from conversion.sequences import classify_contrast
from conversion.study import Series
from conversion.volume import Grid
from dicom_node.nifti import write_nifti

__all__ = ["Conversion", "convert_folder"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What a conversion wrote and what it left out.

    Attributes
    ----------
    left_out
        (subject, code, reason) of each series or file that is not among `files`.
    """

    files: tuple[Path, ...]
    left_out: tuple[tuple[str, str, str], ...]


def convert_folder(
    folder: Path, out: Path, progress: Callable[[Iterable[Series]], Iterable[Series]] = iter
) -> Conversion:
    """Convert every MR series of one study.

    Parameters
    ----------
    progress
        Wraps the iteration over series, for a progress bar.

    Raises
    ------
    ConversionError
        When the folder holds no MR study at all.
    """
    study = read_study(dicom_files(folder))
    roles = _roles(lambda: select_series(study))
    files: list[Path] = []
    left_out = [(decision.subject, decision.code, decision.reason) for decision in study.decisions]
    out.mkdir(parents=True, exist_ok=True)
    for series in progress(study.series):
        try:
            volume = read_series(series)
        except ConversionError as error:
            left_out.append((series.name, str(error.reason), str(error)))
            continue
        path = out / f"{series.number:04d}_{roles.get(series.series_uid, classify_contrast(series).kind)}.nii.gz"
        path = path.with_name(re.sub(r"[^A-Za-z0-9_.]", "_", path.name))
        if path in files:
            path = path.with_name(f"{path.name.removesuffix('.nii.gz')}_{len(files)}.nii.gz")
        write_nifti(volume, path)
        description = _describe(series, roles.get(series.series_uid), volume.grid, study.decisions)
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(description, indent=1))
        files.append(path)
    (out / "left_out.json").write_text(
        json.dumps([dict(zip(("subject", "code", "reason"), item, strict=True)) for item in left_out], indent=1)
    )
    return Conversion(files=tuple(files), left_out=tuple(left_out))


def _roles(select: Callable[[], SeriesSelection]) -> dict[str, str]:
    """Return the role of each chosen series; a study without a reference can still be converted."""
    try:
        return {series.series_uid: str(role) for role, series in select().series.items()}
    except ConversionError:
        return {}


def _describe(series: Series, role: str | None, grid: Grid, decisions: Iterable[Decision]) -> dict[str, Any]:
    contrast = classify_contrast(series)
    return {
        "series_uid": series.series_uid,
        "role": role,
        "evidence": {"kind": contrast.kind, "reason": contrast.evidence},
        "geometry": {
            "shape_slice_row_column": grid.shape,
            "spacing_mm": grid.spacing_mm.tolist(),
            "affine_lps_mm": grid.affine.tolist(),
            "frame_of_reference_uid": grid.frame_of_reference_uid,
        },
        "decisions": [asdict(decision) for decision in decisions if decision.subject == series.name],
    }
