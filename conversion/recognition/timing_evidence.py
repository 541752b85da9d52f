"""Evidence from repetition, echo and inversion time.

The windows are the usual ranges of clinical protocols at 1.5 and 3 T (Westbrook, MRI in Practice, 5th ed., ch. 5;
the vendors' brain protocols). Where the ranges of two kinds overlap, the table lists both.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from conversion.decision import Evidence
from conversion.sequences import pulse_family
from conversion.study import Acquisition, Series

__all__ = ["timing_evidence"]

Range = tuple[float, float]

_ANY: Range = (0.0, math.inf)
_NONE: Range = (0.0, 50.0)
"""No inversion: absent, or written as 0; the shortest useful inversion time is about 80 ms (fat at 0.3 T)."""

UNKNOWN_FAMILY = 0.7
"""Share of a window's weight where the header does not state how the echo is made."""

UNKNOWN_VALUE = 0.5
"""Share of a window's weight where the repetition time, the echo time or a decisive flip angle is missing."""

SHORTEST_SPIN_ECHO_MS = 6.0
"""No clinical spin echo is faster: a shorter echo is a gradient echo, even if the header does not state it."""

SHORT_ECHO_MS, LONG_ECHO_MS = 20.0, 60.0
"""T2 contrast needs an echo time near the T2 of tissue (70 to 110 ms); T1 contrast a far shorter one."""

AGAINST = -4.0
"""Weight of an echo time that rules a weighting out."""


@dataclass(frozen=True)
class _Window:
    """Ranges that speak for a kind; `dimensions` and `family` are empty where any will do."""

    kind: str
    weight: float
    family: str
    repetition_ms: Range
    echo_ms: Range
    inversion_ms: Range = _NONE
    dimensions: str = ""
    flip_deg: Range = _ANY
    says: str = ""


_LONG = (1800.0, 30000.0)

_WINDOWS = (
    _Window("FLAIR", 6.0, "SE", (3500, 20000), (60, 700), (1400, 3500), says="long inversion, long echo"),
    _Window("T1", 6.0, "SE", (1000, 4000), (4, 40), (500, 1350), says="inversion for T1 contrast, short echo"),
    _Window("T1", 3.0, "SE", (800, 9000), (4, 40), (260, 500), says="inversion for T1 contrast, short echo"),
    _Window("STIR", 5.0, "SE", (1500, 20000), (4, 120), (80, 260), says="inversion time that nulls fat"),
    _Window("PD", 4.5, "SE", (3500, 20000), (4, 40), (1400, 3500), says="long inversion, but a short echo"),
    _Window("perfusion", 3.0, "SE", (3500, 8000), (4, 40), (1400, 3500), says="delay and echo as in spin labelling"),
    _Window("T1", 6.0, "SE", (150, 1300), (4, 40), says="short repetition, short echo"),
    _Window("T1", 3.0, "SE", (1300, 1800), (4, 30), says="short echo, repetition as in T1 or proton density"),
    _Window("PD", 3.5, "SE", (1300, 1800), (4, 40), says="short echo, repetition as in T1 or proton density"),
    _Window("PD", 6.5, "SE", _LONG, (4, 45), says="long repetition, short echo"),
    _Window("PD", 4.5, "SE", _LONG, (45, 60), says="long repetition, medium echo"),
    _Window("T2", 2.5, "SE", _LONG, (45, 60), says="long repetition, medium echo"),
    _Window("T2", 5.0, "SE", (1800, 7500), (60, 700), says="long repetition, long echo"),
    _Window("T2", 4.0, "SE", (7500, 30000), (60, 700), says="very long repetition, long echo"),
    _Window("FLAIR", 1.5, "SE", (4000, 6000), (60, 700), says="fits T2, or FLAIR with no inversion time given"),
    _Window("FLAIR", 3.5, "SE", (6000, 20000), (70, 700), says="fits T2, or FLAIR with no inversion time given"),
    _Window("DWI", 2.5, "SE", (1800, 15000), (50, 130), dimensions="2D", says="fits T2 or diffusion"),
    _Window("DWI", 2.5, "SE", (1800, 15000), (50, 130), dimensions="-", says="fits T2 or diffusion"),
    _Window("T2", 3.0, "SE", (1000, 1800), (60, 700), says="long echo, rather short repetition"),
    _Window("T1", 6.5, "GR", (3, 4000), (1, 8), (300, 1500), says="gradient echo after an inversion"),
    _Window("PD", 5.0, "GR", (3000, 9000), (1, 8), (1800, 3500), says="gradient echo long after an inversion"),
    _Window("T1", 2.0, "GR", (3000, 9000), (1, 8), (1800, 3500), says="gradient echo long after an inversion"),
    _Window("T1", 5.0, "GR", (3, 15), (0.8, 8), dimensions="3D", flip_deg=(0, 31), says="fast gradient echo"),
    _Window("T1", 4.0, "GR", (3, 15), (0.8, 8), dimensions="-", flip_deg=(0, 31), says="fast gradient echo"),
    _Window("T1", 5.0, "GR", (1000, 3000), (1, 6), dimensions="3D", flip_deg=(0, 20), says="magnetisation prepared"),
    _Window("steady state", 6.5, "GR", (3, 13), (1, 6.5), flip_deg=(31, 90), says="balanced gradient echo"),
    _Window("T1", 4.5, "GR", (15, 80), (1, 9), dimensions="3D", says="spoiled gradient echo"),
    _Window("angiography", 4.0, "GR", (15, 40), (2, 8), dimensions="3D", says="fits T1 or time of flight"),
    _Window("T1", 5.0, "GR", (80, 900), (1, 9), dimensions="2D", flip_deg=(40, 90), says="spoiled gradient echo"),
    _Window("T1", 4.0, "GR", (80, 900), (1, 9), dimensions="-", says="spoiled gradient echo"),
    _Window("localizer", 4.5, "GR", (2, 40), (0.8, 10), dimensions="2D", says="very fast single slices"),
    _Window("T1", 1.5, "GR", (2, 40), (0.8, 10), dimensions="2D", says="very fast single slices"),
    _Window("T2*", 6.0, "GR", (80, 3000), (9, 60), says="gradient echo with a long echo time"),
    _Window("SWI", 6.0, "GR", (15, 80), (9, 60), says="gradient echo with a long echo time"),
    _Window("T2*", 4.5, "GR", (15, 80), (9, 60), says="gradient echo with a long echo time"),
    _Window("DWI", 5.5, "EP", (1500, 20000), (45, 140), says="echo planar with a long echo"),
    _Window("perfusion", 4.5, "EP", (500, 3000), (15, 55), says="fast echo planar"),
    _Window("functional", 4.5, "EP", (500, 4000), (20, 55), says="fast echo planar"),
)


def timing_evidence(series: Series) -> tuple[Evidence, ...]:
    """Return the evidence from the times of a series, at most one item for each kind that they speak for."""
    acquisition = series.acquisition
    if not acquisition.repetition_time_ms and not acquisition.echo_time_ms:
        return ()
    best: dict[str, Evidence] = {}
    family = _family(series)
    for window in _WINDOWS:
        weight = window.weight * _fit(window, acquisition, family)
        if weight > 0 and (window.kind not in best or best[window.kind].weight < weight):
            says = f"{_times(acquisition)}: {window.says}"
            best[window.kind] = Evidence(source="timing", kind=window.kind, weight=weight, says=says)
    return (*best.values(), *_ruled_out(acquisition))


def _fit(window: _Window, acquisition: Acquisition, family: str) -> float:
    """Return the share of its weight with which a window counts; 0 where the series lies outside it."""
    dimensions = acquisition.dimensions if acquisition.dimensions in ("2D", "3D") else "-"
    if family not in ("", window.family) or window.dimensions not in ("", dimensions):
        return 0.0
    repetition, echo, flip = acquisition.repetition_time_ms, acquisition.echo_time_ms, acquisition.flip_angle_deg
    values = [(repetition, window.repetition_ms), (echo, window.echo_ms), (flip, window.flip_deg)]
    if not _within(acquisition.inversion_time_ms or 0.0, window.inversion_ms):
        return 0.0
    if any(value and not _within(value, span) for value, span in values):
        return 0.0
    missing = sum(not value and span[0] > 0 for value, span in values)
    return float(UNKNOWN_VALUE**missing * (1.0 if family else UNKNOWN_FAMILY))


def _family(series: Series) -> str:
    echo = series.acquisition.echo_time_ms
    return pulse_family(series) or ("GR" if echo and echo < SHORTEST_SPIN_ECHO_MS else "")


def _ruled_out(acquisition: Acquisition) -> Iterable[Evidence]:
    echo = acquisition.echo_time_ms
    if not echo:
        return ()
    kinds: tuple[str, ...]
    if echo < SHORT_ECHO_MS:
        kinds, says = ("T2", "FLAIR"), f"TE {echo:g} ms is too short for T2 contrast"
    elif echo > LONG_ECHO_MS:
        kinds, says = ("T1",), f"TE {echo:g} ms is too long for T1 contrast"
    else:
        return ()
    return tuple(Evidence(source="timing", kind=kind, weight=AGAINST, says=says) for kind in kinds)


def _within(value: float, span: Range) -> bool:
    return span[0] <= value <= span[1]


def _times(acquisition: Acquisition) -> str:
    """Return the times as a person would write them."""
    times = (
        ("TR", acquisition.repetition_time_ms),
        ("TE", acquisition.echo_time_ms),
        ("TI", acquisition.inversion_time_ms),
    )
    return ", ".join(
        f"{name} {value:.3g} ms" if value < 10 else f"{name} {value:.0f} ms" for name, value in times if value
    )
