"""What an MR series can be: the four roles of a tumour protocol, and everything else that a study holds."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from conversion.study import Series

__all__ = ["ABSTAINED", "PRIORS", "REFORMAT", "WEIGHTINGS", "Role", "pulse_family"]


class Role(enum.StrEnum):
    """The four sequences a tumour protocol consists of."""

    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"


ABSTAINED = "unknown"
"""Kind of a series whose evidence does not reach the set confidence."""

REFORMAT = "reformat"
"""Kind of a series that was computed from another one by cutting its volume anew; it keeps a weighting."""

WEIGHTINGS = (Role.T1, Role.T2, Role.FLAIR)
"""The weightings among which roles are told; ``T1`` stands for T1-weighted before and after contrast."""

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
"""Natural log-odds of each kind before anything is known of a series, relative to T1-weighted.

Estimates from the make-up of clinical tumour protocols (one to three series of each of T1, T2 and FLAIR; the other
kinds in every second to every fiftieth study); small beside what one header value weighs.
"""

_FAMILIES = (
    ("EP", ("ep2d", "ep_b", "epse", "epfid", "epi", "dwise", "ep_calc")),
    ("GR", ("tfl", "fl2d", "fl3d", "ffe", "tfe", "spgr", "gre", "mprage", "bravo", "vibe", "swi", "swan", "fi2d")),
    ("GR", ("fi3d", "tfi", "ci3d", "fiesta", "merge", "tof", "lava")),
    ("SE", ("tse", "tir", "spc", "cube", "fse", "se2d", "memp", "haste", "flair", "vista")),
)


def pulse_family(series: Series) -> str:
    """Return how the echo is made: ``SE``, ``GR``, ``EP`` (echo planar), or nothing where the header is silent.

    Turbo spin echo and inversion recovery without a word on gradient echoes count as spin echo. The name of the
    sequence goes before ScanningSequence, where Philips calls diffusion a spin echo.
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
