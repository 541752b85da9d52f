"""Subgroups of cases: by site, by the sequences given to the model, and by lesion size."""

from collections.abc import Sequence

import numpy as np

from inference.evaluation.figures import Measure
from inference.evaluation.result import REGIONS, CaseResult, Subgroup
from inference.evaluation.summary import region_means
from inference.regions import Region

__all__ = ["BANDS_ML", "make_subgroups"]

BANDS_ML = (1.0, 10.0, 50.0)
"""Limits of whole tumour volume. Below 1 ml a result is flagged; the others divide the known sets into about thirds."""

_THIRDS = ("smallest third", "middle third", "largest third")


def make_subgroups(cases: Sequence[CaseResult], seed: int) -> tuple[Subgroup, ...]:
    """Group the cases that have figures by site, by sequences and by size. Cases of unknown site form no group."""
    known = [case for case in cases if case.dice is not None]
    sizes = _sizes(known)
    keys: list[tuple[str, dict[str, str]]] = [
        ("site", {case.case_id: case.site for case in known if case.site}),
        ("sequences", {case.case_id: ", ".join(case.sequences) or "none" for case in known}),
        ("lesion size", sizes),
    ]
    groups = []
    for kind, of_case in keys:
        names = _size_order(of_case) if kind == "lesion size" else sorted(set(of_case.values()))
        for name in names:
            members = [case for case in known if of_case.get(case.case_id) == name]
            means = {region: region_means(members, region, seed) for region in REGIONS}
            regions = {region: found for region, found in means.items() if found is not None}
            groups.append(Subgroup(kind=kind, name=name, cases=len(members), regions=regions))
    return tuple(groups)


def _sizes(cases: Sequence[CaseResult]) -> dict[str, str]:
    """Return the size group of each case: a band in ml, or a third of the voxel counts where no voxel size is known."""
    groups, counted = {}, {}
    for case in cases:
        figures = case.regions.get(Region.WT)
        if figures is None:
            continue
        volume_ml = figures.values[Measure.REFERENCE]
        if figures.counts.reference == 0:
            groups[case.case_id] = "no tumour"
        elif volume_ml is None:
            counted[case.case_id] = figures.counts.reference
        else:
            groups[case.case_id] = _band(volume_ml)
    limits = np.quantile(list(counted.values()), (1 / 3, 2 / 3)) if counted else np.zeros(2)
    return groups | {name: _THIRDS[int(np.searchsorted(limits, voxels))] for name, voxels in counted.items()}


def _band(volume_ml: float) -> str:
    place = sum(volume_ml >= limit for limit in BANDS_ML)
    return _bands()[place]


def _bands() -> tuple[str, ...]:
    low, middle, high = (f"{limit:g}" for limit in BANDS_ML)
    return (f"under {low} ml", f"{low} to {middle} ml", f"{middle} to {high} ml", f"{high} ml and more")


def _size_order(of_case: dict[str, str]) -> list[str]:
    return [name for name in ("no tumour", *_bands(), *_THIRDS) if name in of_case.values()]
