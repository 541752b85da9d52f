"""Whether a condition holds for the values of an attribute."""

import re
from collections.abc import Sequence

from dicom_node.routing.rule import Condition, Operator
from viewer_integration.wildcards import fits

__all__ = ["holds"]

_AGE = re.compile(r"(\d{3})([DWMY])")
_IN_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
"""Units of an age string (PS3.5 6.2, VR AS)."""


def holds(condition: Condition, values: Sequence[str]) -> bool:
    """Return whether a condition holds for at least one value; `Operator.ABSENT` for none.

    Parameters
    ----------
    values
        Of all images that are looked at; empty ones count as absent.
    """
    present = [value.strip().lower() for value in values if value.strip()]
    if condition.operator is Operator.ABSENT:
        return not present
    wanted = condition.value.strip().lower()
    return any(_compares(condition.operator, value, wanted) for value in present)


def _compares(operator: Operator, value: str, wanted: str) -> bool:
    match operator:
        case Operator.EQUALS:
            return value == wanted
        case Operator.CONTAINS:
            return wanted in value
        case Operator.MATCHES:
            return fits(value, wanted)
        case Operator.ONE_OF:
            return value in {one.strip() for one in wanted.split(",")}
        case _:
            number = _number(value)
            if number is None:
                return False
            return number >= float(wanted) if operator is Operator.AT_LEAST else number <= float(wanted)


def _number(value: str) -> float | None:
    """Return a number, a date as one, or an age in years; None where it is neither."""
    if age := _AGE.fullmatch(value.upper()):
        return int(age[1]) * _IN_YEARS[age[2]]
    try:
        return float(value)
    except ValueError:
        return None
