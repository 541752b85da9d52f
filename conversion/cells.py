"""Which bits of a cell hold the value, and whether it is signed: what the header says, held against the cells.

A header that says less than there is would wrap values around: the brightest tissue becomes the darkest, without a
trace in the numbers. An image is smooth where it is read rightly, so that the cells themselves tell.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed_or_not", "values_in"]

Values = NDArray[np.int64]

FEWEST_VALUES = 8
"""So many different values are no mark or padding, which have one or two."""

FEW_BITS = 8
"""Of so few bits an image can well use both ends and not the middle, and nobody stores signed values in them."""

SHARE_BELOW_NOUGHT = 0.01
"""Of an image's pixels: air, a third of a head's image, is noise about nought where values are signed."""


def values_in(bits: Values, stored: int, high_bit: int, allocated: int, *, signed: bool) -> Values:
    """Return the values in whole cells.

    Parameters
    ----------
    bits
        Cells, shape (row, column), none negative.
    stored, high_bit, allocated, signed
        What the header says of them.
    """
    shift = high_bit + 1 - stored
    low = _from(bits, 0, stored, signed=signed)
    # Some exporters write HighBit 15 over 12 bits that stand in the lower ones.
    if shift and np.array_equal(low & ((1 << allocated) - 1), bits) and (bits & ((1 << shift) - 1)).any():
        return signed_or_not(low, stored, signed=signed)
    if shift:
        return signed_or_not(_from(bits, shift, stored, signed=signed), stored, signed=signed)
    whole = _from(bits, 0, allocated, signed=signed)
    # What lies above the high bit is an old overlay, which makes an image rougher, or the rest of values too large
    # for BitsStored, without which it is torn.
    if not np.array_equal(whole, low) and _roughness(whole) < _roughness(low):
        return signed_or_not(whole, allocated, signed=signed)
    return signed_or_not(low, stored, signed=signed)


def signed_or_not(values: Values, stored: int, *, signed: bool) -> Values:
    """Return values with the sign that they have where PixelRepresentation evidently says otherwise.

    Of signed values that are read unsigned, those below nought are the greatest, and the middle of the range is empty;
    of unsigned ones that are read signed, the greatest are the least, and nothing lies between them and nought.
    """
    if stored <= FEW_BITS:
        return values
    span = 1 << stored
    quarters = (values % span) * 4 // span
    lower, upper = (0, 3) if not signed else (1, 2)
    empty = (1, 2) if not signed else (3,)
    fewest = SHARE_BELOW_NOUGHT * values.size if not signed else 0
    if np.count_nonzero(quarters == upper) <= fewest or np.isin(quarters, empty).any():
        return values
    least = min(len(np.unique(values[quarters == part])) for part in (lower, upper))
    if least < FEWEST_VALUES:
        return values
    return np.where(values < 0, values + span, values) if signed else np.where(quarters == upper, values - span, values)


def _from(bits: Values, shift: int, stored: int, *, signed: bool) -> Values:
    values = (bits >> shift) & ((1 << stored) - 1)
    return values - ((values >> (stored - 1)) << stored) if signed else values


def _roughness(values: Values) -> int:
    """Return how much neighbours differ, all together."""
    return sum(int(np.abs(np.diff(values, axis=axis)).sum()) for axis in range(values.ndim))
