"""Which bits of a cell are the value, and its sign: values are packed by hand, smooth as an image, and come back."""

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.cells import FEWEST_VALUES, signed_or_not, values_in

Values = NDArray[np.int64]


def _hill(lowest: int, highest: int, size: int = 40) -> Values:
    """Return a smooth image from one value at its edge to another in its middle."""
    bend = np.sin(np.linspace(0, np.pi, size))
    return np.round(lowest + (highest - lowest) * bend[:, None] * bend).astype(np.int64)


def _packed(values: Values, stored: int, high_bit: int, *, noise: bool = True) -> Values:
    """Return 16-bit cells with values below a high bit, and with ones in some of the bits around them."""
    shift = high_bit + 1 - stored
    cells = (values & ((1 << stored) - 1)) << shift
    if noise:
        number = np.arange(values.size, dtype=np.int64).reshape(values.shape)
        cells |= (number * 7) & ((1 << shift) - 1)
        cells |= ((number % 3 == 0).astype(np.int64) << (high_bit + 1)) & 0xFFFF
    return cells


@pytest.mark.parametrize("high_bit", [11, 12, 13, 14, 15])
@pytest.mark.parametrize(("signed", "lowest", "highest"), [(False, 20, 1900), (True, -700, 900)])
def test_a_value_lies_below_its_high_bit_among_bits_that_do_not_count(
    high_bit: int, lowest: int, highest: int, *, signed: bool
) -> None:
    values = _hill(lowest, highest)
    cells = _packed(values, 12, high_bit)
    assert not np.array_equal(cells, values)
    assert np.array_equal(values_in(cells, 12, high_bit, 16, signed=signed), values)


@pytest.mark.parametrize("signed", [False, True])
def test_cells_that_are_used_to_their_last_bit_are_the_values(*, signed: bool) -> None:
    values = _hill(-32000, 32000) if signed else _hill(0, 65000)
    assert np.array_equal(values_in(values & 0xFFFF, 16, 15, 16, signed=signed), values)


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_lower_bits_overrule_a_high_bit_above_them(*, signed: bool) -> None:
    values = _hill(1, 1999)
    assert np.array_equal(values_in(values, 12, 15, 16, signed=signed), values)


def test_small_values_in_the_upper_bits_are_not_taken_for_values_in_the_lower_ones() -> None:
    values = _hill(0, 200)
    assert np.array_equal(values_in(_packed(values, 12, 15, noise=False), 12, 15, 16, signed=False), values)


@pytest.mark.parametrize("signed", [False, True])
def test_a_value_that_needs_more_bits_than_are_stated_has_them(*, signed: bool) -> None:
    values = _hill(-6000, 6000) if signed else _hill(0, 9000)
    assert np.array_equal(values_in(values & 0xFFFF, 12, 11, 16, signed=signed), values)


def test_an_overlay_in_the_upper_bits_is_no_part_of_the_value() -> None:
    values = _hill(0, 900)
    drawn = np.zeros_like(values)
    drawn[10:14, 5:30] = 1 << 15
    assert np.array_equal(values_in(values | drawn, 12, 11, 16, signed=False), values)


@pytest.mark.parametrize("stored", [10, 12, 16])
def test_negative_values_under_an_unsigned_header_are_negative_again(stored: int) -> None:
    values = _hill(-40, 200)
    assert np.array_equal(signed_or_not(values % (1 << stored), stored, signed=False), values)


@pytest.mark.parametrize("stored", [10, 12, 16])
def test_large_values_under_a_signed_header_are_large_again(stored: int) -> None:
    span = 1 << stored
    values = _hill(0, span * 7 // 10)
    wrapped = np.where(values >= span // 2, values - span, values)
    assert wrapped.min() < 0
    assert np.array_equal(signed_or_not(wrapped, stored, signed=True), values)


@pytest.mark.parametrize("signed", [False, True])
def test_values_that_fit_their_header_stay_as_they_are(*, signed: bool) -> None:
    values = _hill(-1500, 1500) if signed else _hill(0, 4000)
    assert np.array_equal(signed_or_not(values, 12, signed=signed), values)


def test_values_of_eight_bits_are_never_signed() -> None:
    values = np.concatenate([np.arange(60), np.arange(200, 256)])
    assert np.array_equal(signed_or_not(values, 8, signed=False), values)
    assert signed_or_not(values * 2, 9, signed=False).min() == 400 - 512


@pytest.mark.parametrize(("different", "negative"), [(FEWEST_VALUES - 1, False), (FEWEST_VALUES, True)])
def test_a_bright_mark_of_few_values_is_no_negative_image(different: int, *, negative: bool) -> None:
    values = np.tile(np.arange(100), 10)
    values[:100] = 4000 + np.arange(100) % different
    assert (signed_or_not(values, 12, signed=False).min() < 0) == negative


@pytest.mark.parametrize(("bright", "negative"), [(10, False), (11, True)])
def test_a_hundredth_of_an_image_makes_it_not_negative(bright: int, *, negative: bool) -> None:
    values = np.tile(np.arange(100), 10)
    values[:bright] = 4000 + np.arange(bright)
    assert (signed_or_not(values, 12, signed=False).min() < 0) == negative


def test_one_value_in_the_middle_of_the_range_keeps_an_image_unsigned() -> None:
    values = np.tile(np.arange(100), 10)
    values[:100] = 4000 + np.arange(100) % 90
    assert signed_or_not(values, 12, signed=False).min() == 4000 - 4096
    values[500] = 2000
    assert np.array_equal(signed_or_not(values, 12, signed=False), values)
