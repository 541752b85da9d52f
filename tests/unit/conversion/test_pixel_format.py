"""The format of stored values as a header states it: bits, sign, padding, and what of it is told."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.pixel_format import (
    PixelFormat,
    is_coloured,
    pixel_format,
    remarks,
    unknown_interpretation,
)
from tests.support.raw_values import put_raw

PLAIN = PixelFormat(rows=6, columns=8, frames=1, allocated=16, stored=12, high_bit=11, signed=False)
SIGNED = replace(PLAIN, signed=True)


def _header(**attributes: object) -> Dataset:
    ds = Dataset()
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 6, 8, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def test_a_header_is_read_as_it_stands() -> None:
    assert pixel_format(_header()) == PLAIN
    assert pixel_format(_header(PixelRepresentation=1, NumberOfFrames=30)) == replace(SIGNED, frames=30)
    assert pixel_format(_header(PhotometricInterpretation="MONOCHROME1")) == replace(PLAIN, turned_over=True)


def test_a_high_bit_that_is_not_stated_is_that_of_the_lowest_bits() -> None:
    ds = _header(BitsStored=10)
    del ds.HighBit
    assert pixel_format(ds).high_bit == 9


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({}, ""),
        ({"rows": 4096, "columns": 4096}, ""),
        ({"stored": 16, "high_bit": 15}, ""),
        ({"high_bit": 15}, ""),
        ({"rows": 0}, "its header states 0 x 8 pixels"),
        ({"rows": -6}, "its header states -6 x 8 pixels"),
        ({"rows": 4097, "columns": 4096}, "its header states 4097 x 4096 pixels"),
        ({"allocated": 12}, "integers of 8, 16 or 32 bits (BitsAllocated 12, BitsStored 12, HighBit 11)"),
        ({"allocated": 64}, "integers of 8, 16 or 32 bits (BitsAllocated 64, BitsStored 12, HighBit 11)"),
        ({"stored": 0}, "contradicts itself about the bits (BitsAllocated 16, BitsStored 0, HighBit 11)"),
        ({"high_bit": 10}, "contradicts itself about the bits (BitsAllocated 16, BitsStored 12, HighBit 10)"),
        ({"high_bit": 16}, "contradicts itself about the bits (BitsAllocated 16, BitsStored 12, HighBit 16)"),
    ],
)
def test_a_format_that_cannot_be_says_why(changes: dict[str, int], flaw: str) -> None:
    found = replace(PLAIN, **changes).flaw  # type: ignore[arg-type]
    assert found.endswith(flaw)
    assert bool(found) == bool(flaw)


def test_the_smallest_value_is_that_of_twos_complement() -> None:
    assert PLAIN.least == 0
    assert SIGNED.least == -2048
    assert replace(SIGNED, allocated=8, stored=8, high_bit=7).least == int(np.iinfo(np.int8).min)


@pytest.mark.parametrize(("allocated", "size"), [(8, 48), (16, 96), (32, 192)])
def test_the_bytes_of_a_frame_are_those_of_its_cells(allocated: int, size: int) -> None:
    assert replace(PLAIN, allocated=allocated).frame_bytes == size


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_cells_are_read_whichever_sign_the_decoder_gave_them(dtype: type[np.generic]) -> None:
    values = np.arange(-900, 900, 37).reshape(7, 7)
    cells = ((values & 0xFFF) << 4).astype(np.uint16).view(dtype)
    assert np.array_equal(replace(SIGNED, high_bit=15).values_of(cells), values)
    assert np.array_equal(SIGNED.values_of(values.astype(np.int16)), values)


def test_decoded_values_get_their_true_sign() -> None:
    values = np.arange(-300, 300, 5).reshape(10, 12)
    assert np.array_equal(PLAIN.signed_values((values % 4096).astype(np.uint16)), values)
    assert np.array_equal(SIGNED.signed_values(values.astype(np.int16)), values)


@pytest.mark.parametrize("stated", [PLAIN, SIGNED])
def test_inversion_exchanges_the_ends_of_the_stored_range(stated: PixelFormat) -> None:
    every = np.arange(stated.least, stated.least + 4096)
    assert np.array_equal(stated.turn_over(every), every[::-1])


def test_padding_is_every_value_of_its_range_and_no_other() -> None:
    values = np.array([[-2001, -2000, -1999], [-1998, -1997, 900]])
    assert PLAIN.is_padding(values) is None
    found = replace(SIGNED, padding=(-2000, -1998)).is_padding(values)
    assert found is not None
    assert found.tolist() == [[False, True, True], [True, False, False]]


def test_padding_among_tissue_is_where_it_reaches_the_edge() -> None:
    values = np.where(np.arange(400).reshape(20, 20) % 2, 100, 500)
    values[:3, 4:6] = values[9:12, 9:12] = values[3, 6] = 300
    found = replace(PLAIN, padding=(300, 300)).is_padding(values)
    assert found is not None
    assert np.argwhere(found).tolist() == [[row, column] for row in range(3) for column in (4, 5)]


@pytest.mark.parametrize(("outliers", "everywhere"), [(10, True), (30, False)])
def test_a_few_outliers_beyond_padding_do_not_put_it_among_tissue(outliers: int, *, everywhere: bool) -> None:
    values = np.full((20, 20), 100)
    values[9:12, 9:12] = 3000
    values.ravel()[20 : 20 + outliers] = 4000
    found = replace(PLAIN, padding=(3000, 3000)).is_padding(values)
    assert found is not None
    assert np.count_nonzero(found) == (9 if everywhere else 0)


@pytest.mark.parametrize(
    ("representation", "stored", "vr", "written", "padding"),
    [
        (0, 12, "US", (4095,), (4095, 4095)),
        (0, 12, "SS", (-1,), (4095, 4095)),
        (1, 12, "SS", (-2000,), (-2000, -2000)),
        (1, 12, "US", (2096,), (-2000, -2000)),
        (1, 12, "US", (63536,), (-2000, -2000)),
        (1, 12, None, (-2000,), (-2000, -2000)),
        (1, 16, "US", (63536,), (-2000, -2000)),
        (1, 16, None, (-2000,), (-2000, -2000)),
        (1, 16, "US", (63536, 63538), (-2000, -1998)),
        (1, 16, "US", (63538, 63536), (-2000, -1998)),
        (1, 16, "US", (63536, 5), (-2000, 5)),
    ],
)
def test_padding_has_the_sign_of_the_pixels_whichever_vr_it_has(
    representation: int, stored: int, vr: str | None, written: tuple[int, ...], padding: tuple[int, int]
) -> None:
    ds = _header(PixelRepresentation=representation, BitsStored=stored, HighBit=stored - 1)
    for keyword, value in zip(("PixelPaddingValue", "PixelPaddingRangeLimit"), written, strict=False):
        put_raw(ds, keyword, vr, struct.pack("<H", value & 0xFFFF))
    assert pixel_format(ds).padding == padding


def test_a_limit_of_padding_without_a_value_is_none() -> None:
    assert pixel_format(_header(PixelPaddingRangeLimit=7)).padding is None


@pytest.mark.parametrize(
    ("photometric", "samples", "coloured", "unknown"),
    [
        ("MONOCHROME2", 1, False, ""),
        ("monochrome1", 1, False, ""),
        ("", 1, False, ""),
        ("MONOCHROME2", 3, True, ""),
        ("RGB", 3, True, ""),
        ("PALETTE COLOR", 1, True, ""),
        ("YBR_FULL_422", 3, True, ""),
        ("MONOCHROME", 1, True, "'MONOCHROME'"),
        ("GREY", 3, True, ""),
    ],
)
def test_colours_and_unknown_interpretations_are_told(
    photometric: str, samples: int, unknown: str, *, coloured: bool
) -> None:
    ds = _header(SamplesPerPixel=samples)
    put_raw(ds, "PhotometricInterpretation", "CS", photometric.encode())
    assert is_coloured(Attributes(ds)) is coloured
    assert unknown_interpretation(Attributes(ds)) == unknown


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({}, []),
        ({"PixelPaddingValue": 0}, []),
        ({"PixelPaddingValue": 63488, "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}, ["-2048"]),
        ({"PixelPaddingValue": 32768, "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}, []),
        ({"PixelPaddingValue": 5, "PixelPaddingRangeLimit": 2}, ["2 to 5"]),
    ],
)
def test_padding_is_told_where_it_is_not_the_darkest_value_anyway(attributes: dict[str, int], told: list[str]) -> None:
    ds = _header()
    for keyword, value in attributes.items():
        ds.add_new(keyword, "US", value)
    sentences = [f"stored values of {which} are padding according to the header" for which in told]
    found = list(remarks(ds))
    assert [code for code, _ in found] == ["padding"] * len(told)
    assert all(reason.startswith(said) for (_, reason), said in zip(found, sentences, strict=True))


@pytest.mark.parametrize("place", ["instance", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_real_world_value_mapping_is_told_wherever_it_stands(place: str) -> None:
    ds, groups = _header(PhotometricInterpretation="MONOCHROME1"), Dataset()
    (ds if place == "instance" else groups).RealWorldValueMappingSequence = [Dataset()]
    if place != "instance":
        setattr(ds, place, [Dataset(), groups])
    assert [code for code, _ in remarks(ds)] == ["turned_over", "real_world_values"]
