"""Ablation of sequences: the Dice of a network with every useful subset of T1, T1CE, T2 and FLAIR."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from inference.cases.prepared import PreparedCase
from inference.preprocessing import CHANNELS
from inference.regions import Region
from inference.training.scoring import case_dice
from inference.unet import TumourUNet

__all__ = ["SUBSETS", "AblationRow", "ablate", "ablation_table"]

Subset = tuple[bool, bool, bool, bool]

SUBSETS: tuple[Subset, ...] = tuple(
    sorted(
        ((t1, t1ce, t2, flair) for t1, t1ce, t2, flair in product((True, False), repeat=4) if t1ce or flair),
        key=lambda subset: (-sum(subset), [not kept for kept in subset]),
    )
)
"""The twelve subsets that contain T1CE or FLAIR, the largest first. Without either, nothing is segmented."""

_CORE = (Region.TC, Region.ET)


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """The result of one subset of sequences.

    Attributes
    ----------
    cases
        Number of cases that have all of its sequences. The others are not scored.
    dice
        Mean Dice by source and region, such as ``brats WT``. Core and enhancing tumour are scored only with T1CE.
    """

    sequences: tuple[str, ...]
    cases: int
    dice: dict[str, float]


def ablate(
    network: TumourUNet,
    cases: Sequence[PreparedCase],
    progress: Callable[[Sequence[Subset]], Iterable[Subset]] = iter,
    views: int = 1,
) -> tuple[AblationRow, ...]:
    """Score every subset on the cases that have all of its sequences.

    Parameters
    ----------
    progress
        Wraps the subsets, for a progress bar.
    views
        As in the plan of the training.
    """
    return tuple(_row(network, cases, subset, views) for subset in progress(SUBSETS))


def _row(network: TumourUNet, cases: Sequence[PreparedCase], subset: Subset, views: int) -> AblationRow:
    usable = [
        case for case in cases if all(present or not kept for present, kept in zip(case.present, subset, strict=True))
    ]
    values: dict[str, list[float]] = {}
    for case in usable:
        for region, dice in case_dice(network, case, subset, views).items():
            if subset[1] or region not in _CORE:
                values.setdefault(f"{case.source} {region}", []).append(dice)
    names = tuple(name for name, kept in zip(CHANNELS, subset, strict=True) if kept)
    means = {name: float(np.mean(group)) for name, group in sorted(values.items())}
    return AblationRow(sequences=names, cases=len(usable), dice=means)


def ablation_table(rows: Sequence[AblationRow]) -> str:
    """Return the rows as a Markdown table, with a dash where a figure has no meaning."""
    columns = sorted({name for row in rows for name in row.dice})
    lines = [("sequences", "cases", *columns), ("---",) * (len(columns) + 2)]
    for row in rows:
        figures = (f"{row.dice[name]:.3f}" if name in row.dice else "-" for name in columns)
        lines.append((", ".join(row.sequences), str(row.cases), *figures))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
