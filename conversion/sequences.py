"""The kinds of MR series: the four roles of a tumour protocol, and everything else that a study contains."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from conversion.study import Series

__all__ = ["ABSTAINED", "PRIORS", "REFORMAT", "WEIGHTINGS", "Role", "pulse_family"]


class Role(enum.StrEnum):
    """The four sequences of a tumour protocol."""

    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"


ABSTAINED = "unknown"
"""Kind of a series whose evidence does not reach the required confidence."""

REFORMAT = "reformat"
"""Kind of a series that was reformatted (MPR) from another one; it keeps its weighting."""

WEIGHTINGS = (Role.T1, Role.T2, Role.FLAIR)
"""The weightings that determine the roles; ``T1`` means T1-weighted, before or after contrast."""

PRIORS: Mapping[str, float] = MappingProxyType(
    {
        "T1": 0.0,
        "T2": 0.0,
        "FLAIR": 0.0,
        "DWI": -1.5,
        "ADC": -2.0,
        "localizer": -1.5,
        "T2*": -2.0,
        "SWI": -2.0,
        "PD": -2.5,
        "perfusion": -2.5,
        "angiography": -2.5,
        "STIR": -3.0,
        "steady state": -3.0,
        "functional": -3.5,
        "subtraction": -3.5,
        "projection": -3.5,
        "phase": -3.5,
        "map": -3.5,
        "field map": -3.5,
        "fat image": -4.0,
        "double inversion": -4.0,
        "spectroscopy": -4.0,
        "picture": -4.0,
        "colour": -4.0,
    }
)
"""Natural log-odds of each kind before anything is known about a series, relative to T1-weighted.

Estimated from the composition of clinical tumour protocols (one to three series of each of T1, T2 and FLAIR; the other
kinds in every second to every fiftieth study). They are small compared with the weight of one header value.
"""

_FAMILIES = (
    ("EP", ("ep2d", "ep_b", "epse", "epfid", "epi", "dwise", "ep_calc")),
    ("GR", ("tfl", "fl2d", "fl3d", "ffe", "tfe", "spgr", "gre", "mprage", "bravo", "vibe", "swi", "swan", "fi2d")),
    ("GR", ("fi3d", "tfi", "ci3d", "fiesta", "merge", "tof", "lava")),
    ("SE", ("tse", "tir", "spc", "cube", "fse", "se2d", "memp", "haste", "flair", "vista")),
)


def pulse_family(series: Series) -> str:
    """Return how the echo is generated: ``SE``, ``GR``, ``EP`` (echo planar), or nothing if it is not stated.

    Turbo spin echo, and inversion recovery unless gradient echoes are stated, count as spin echo. The sequence name
    takes precedence over ScanningSequence, in which Philips calls diffusion a spin echo.
    """
    technique, stated = series.acquisition.technique, set(series.acquisition.scanning_sequence)
    named = next((family for family, words in _FAMILIES if any(word in technique for word in words)), "")
    if named == "EP" or "EP" in stated:
        return "EP"
    if "GR" in stated:
        return "GR"
    if stated & {"SE", "IR"}:
        return "SE"
    return named or ("SE" if technique == "se" else "")
