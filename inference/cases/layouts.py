"""Opens a folder of annotated cases in one of the supported layouts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from inference.cases import brats, dicom_studies, lgg, msd
from inference.cases.case import CaseSet
from inference.cases.stored_case import empty_set
from inference.regions import Region

__all__ = ["LAYOUTS", "open_cases"]

_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {"lgg": lgg.LAYOUT, "brats": brats.LAYOUT, "msd": msd.LAYOUT, "dicom": dicom_studies.LAYOUT}
)

LAYOUTS: tuple[str, ...] = tuple(_DESCRIPTIONS)

REASONS_NAMED = 3
"""Number of skipped items that an error names; the report lists all of them."""


def open_cases(
    layout: str,
    root: Path,
    *,
    codes: Mapping[tuple[str, str], Region] | None = None,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> CaseSet:
    """Find the annotated cases of a folder; each is read only when it is needed.

    Parameters
    ----------
    layout
        One of `LAYOUTS`.
    root
        The folder.
    codes
        For ``dicom``: region of a coded property type of a segment, by code value and coding scheme.
    progress
        For ``dicom``: wraps the iteration over the files while their headers are read.

    Raises
    ------
    UnreadableCase
        With NO_CASES if there is no case. The message states what was expected, where, and why items were skipped.
    """
    if layout not in _DESCRIPTIONS:
        raise empty_set(f"the layout {layout!r} is not known; use one of {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise empty_set(f"{root}: no such folder; the layout {layout} needs {_DESCRIPTIONS[layout]}")
    if layout == "dicom":
        found = dicom_studies.open_studies(root, codes=codes or {}, progress=progress)
    else:
        found = {"lgg": lgg.open_lgg, "brats": brats.open_brats, "msd": msd.open_msd}[layout](root)
    if found.cases:
        return found
    named = "; ".join(f"{item.name}: {item.reason}" for item in found.skipped[:REASONS_NAMED])
    more = f" and {len(found.skipped) - REASONS_NAMED} more" if len(found.skipped) > REASONS_NAMED else ""
    skipped = f" (skipped: {named}{more})" if named else ""
    raise empty_set(f"{root}: no case of the layout {layout} found; it needs {_DESCRIPTIONS[layout]}{skipped}")
