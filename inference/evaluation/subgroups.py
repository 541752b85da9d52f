"""What cases have in common: where they come from, what the model was given, how large the lesion is."""

from collections.abc import Sequence

import numpy as np

from inference.evaluation.figures import Measure
from inference.evaluation.result import REGIONS, CaseResult, Subgroup
from inference.evaluation.summary import region_means
from inference.regions import Region

__all__ = ["BANDS_ML", "make_subgroups"]

BANDS_ML = (1.0, 10.0, 50.0)
"""Limits of the whole tumour's size: under 1 ml a result is flagged; the others part the known sets in about thirds."""

_THIRDS = ("smallest third", "middle third", "largest third")


def make_subgroups(cases: Sequence[CaseResult], seed: int) -> tuple[Subgroup, ...]:
    """Sort the cases that have figures by site, by sequences and by size; an unknown site makes no group."""
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
    """Return the size group of each case: bands in ml, or thirds of voxel counts where no voxel size is known."""
    found, counted = {}, {}
    for case in cases:
        figures = case.regions.get(Region.WT)
        if figures is None:
            continue
        volume_ml = figures.values[Measure.REFERENCE]
        if figures.counts.reference == 0:
            found[case.case_id] = "no tumour"
        elif volume_ml is None:
            counted[case.case_id] = figures.counts.reference
        else:
            found[case.case_id] = _band(volume_ml)
    limits = np.quantile(list(counted.values()), (1 / 3, 2 / 3)) if counted else np.zeros(2)
    return found | {name: _THIRDS[int(np.searchsorted(limits, voxels))] for name, voxels in counted.items()}


def _band(volume_ml: float) -> str:
    place = sum(volume_ml >= limit for limit in BANDS_ML)
    return _bands()[place]


def _bands() -> tuple[str, ...]:
    low, middle, high = (f"{limit:g}" for limit in BANDS_ML)
    return (f"under {low} ml", f"{low} to {middle} ml", f"{middle} to {high} ml", f"{high} ml and more")


def _size_order(of_case: dict[str, str]) -> list[str]:
    return [name for name in ("no tumour", *_bands(), *_THIRDS) if name in of_case.values()]
