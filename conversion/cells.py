"""Determines which bits of a cell hold the value, and its sign: the header is checked against the cells.

If the header states too few bits, values wrap around: the brightest tissue becomes the darkest, and the numbers do not
show it. An image that is read correctly is smooth, so the cells themselves show which reading is right.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["signed_or_not", "values_in"]

Values = NDArray[np.int64]

FEWEST_VALUES = 8
"""At least this many different values are image content; a mark or padding has one or two."""

FEW_BITS = 8
"""With so few bits an image can use both ends of the range and not the middle; signed values are not stored in them."""

SHARE_BELOW_ZERO = 0.01
"""Share of an image's pixels. If values are signed, air (a third of an image of a head) is noise around zero."""


def values_in(bits: Values, stored: int, high_bit: int, allocated: int, *, signed: bool) -> Values:
    """Return the values that complete cells hold.

    Parameters
    ----------
    bits
        Cells, shape (row, column), none negative.
    stored, high_bit, allocated, signed
        Format of the cells as the header states it.
    """
    shift = high_bit + 1 - stored
    low = _from(bits, 0, stored, signed=signed)
    # Some exporters state HighBit 15 for 12-bit values that are stored in the lower bits.
    if shift and np.array_equal(low & ((1 << allocated) - 1), bits) and (bits & ((1 << shift) - 1)).any():
        return signed_or_not(low, stored, signed=signed)
    if shift:
        return signed_or_not(_from(bits, shift, stored, signed=signed), stored, signed=signed)
    all_bits = _from(bits, 0, allocated, signed=signed)
    # Bits above the high bit are either an old overlay, which makes the image rougher, or part of values that exceed
    # BitsStored; without that part the image has jumps.
    if not np.array_equal(all_bits, low) and _roughness(all_bits) < _roughness(low):
        return signed_or_not(all_bits, allocated, signed=signed)
    return signed_or_not(low, stored, signed=signed)


def signed_or_not(values: Values, stored: int, *, signed: bool) -> Values:
    """Return values with their true sign where PixelRepresentation is evidently wrong.

    If signed values are read as unsigned, the negative ones become the largest, and the middle of the range is empty.
    If unsigned values are read as signed, the largest become the smallest, and nothing lies between them and zero.
    """
    if stored <= FEW_BITS:
        return values
    span = 1 << stored
    quarters = (values % span) * 4 // span
    lower, upper = (0, 3) if not signed else (1, 2)
    empty = (1, 2) if not signed else (3,)
    fewest = SHARE_BELOW_ZERO * values.size if not signed else 0
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
    """Return the sum of the absolute differences between neighbours."""
    return sum(int(np.abs(np.diff(values, axis=axis)).sum()) for axis in range(values.ndim))
