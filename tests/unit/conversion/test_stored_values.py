"""Values in whatever form they are stored: binary numbers, converted elements, items, private blocks, and texts."""

import struct

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.config import RAISE
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.valuerep import validate_value

from conversion import values
from tests.support.raw_values import put_raw


@pytest.mark.parametrize(
    ("value", "keyword", "read"),
    [
        (7, "", 7.0),
        (1e12, "", 1e12),
        (-1.1e12, "", None),
        (float("nan"), "", None),
        (float("inf"), "", None),
        (b"12 \0", "", 12.0),
        ("90 ms", "EchoTime", 90.0),
        ("90MS", "EchoTime", 90.0),
        ("90 s", "EchoTime", None),
        ("90 ms", "FlipAngle", None),
        ("12 deg", "FlipAngle", 12.0),
        ("1.5T", "MagneticFieldStrength", 1.5),
        ("1,250", "", None),
        ("0,250", "", 0.25),
        ("1234,567", "", 1234.567),
        ("1,2500", "", 1.25),
        (",250", "", 0.25),
        ("1,250", "SliceThickness", 1.25),
    ],
)
def test_a_number_is_finite_and_in_the_unit_of_its_attribute(
    value: values.Value, keyword: str, read: float | None
) -> None:
    assert values.number(value, keyword) == read


@pytest.mark.parametrize(
    ("vr", "code", "numbers"),
    [
        ("US", "H", (1, 65535)),
        ("SS", "h", (-2, 300)),
        ("UL", "I", (70000, 1)),
        ("SL", "i", (-70000, 1)),
        ("UV", "Q", (2**40, 1)),
        ("SV", "q", (-(2**40), 1)),
        ("FL", "f", (0.5, -2.25)),
        ("FD", "d", (0.1, -1e-9)),
    ],
)
@pytest.mark.parametrize("little", [True, False])
def test_binary_numbers_are_read_in_the_order_of_their_bytes(
    vr: str, code: str, numbers: tuple[float, ...], *, little: bool
) -> None:
    ds, tag = Dataset(), Tag("LargestImagePixelValue")
    value = struct.pack(f"{'<' if little else '>'}2{code}", *numbers)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=False, is_little_endian=little)
    assert values.values(ds, "LargestImagePixelValue") == numbers
    assert values.text(ds, tag) == "\\".join(str(number) for number in numbers)


def test_a_value_that_a_program_has_set_is_read_like_that_of_a_file() -> None:
    ds = Dataset()
    ds.PixelSpacing, ds.EchoTime, ds.EchoNumbers, ds.PatientName = [0.5, "0.75"], "12.5", 3, " Phantom^Head "
    ds.ImageType, ds.AccessionNumber, ds.ReferencedImageSequence = ["ORIGINAL", "", "M"], None, [Dataset()]
    assert [values.number(value) for value in values.values(ds, "PixelSpacing")] == [0.5, 0.75]
    assert [values.number(value) for value in values.values(ds, "EchoTime")] == [12.5]
    assert values.values(ds, "EchoNumbers") == ("3",)
    assert values.text(ds, "PatientName") == "Phantom^Head"
    assert values.values(ds, "ImageType") == ("ORIGINAL", "", "M")
    assert values.values(ds, "AccessionNumber") == values.values(ds, "ReferencedImageSequence") == ()


def test_a_backslash_parts_values_except_in_a_text_that_can_only_be_one() -> None:
    ds = Dataset()
    put_raw(ds, "ImageComments", "LT", b"left\\right ")
    put_raw(ds, "ImageType", "UT", b"ORIGINAL\\ PRIMARY")
    assert values.values(ds, "ImageComments") == ("left\\right",)
    assert values.values(ds, "ImageType") == ("ORIGINAL", "PRIMARY")


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "written"),
    [
        ("PatientID", "LO", b"  A 1 \0", "  A 1"),
        ("PatientID", "UN", b" A1 ", " A1"),
        ("PatientID", None, b"A1\\B2", "A1\\B2"),
        ("PatientID", "US", b"\1\0", None),
        ("Rows", "UN", b"\1\0", None),
        ("StudyDate", "DA", b"2010.05.04", "2010.05.04"),
    ],
)
def test_a_text_that_is_passed_on_keeps_all_but_its_padding(
    keyword: str, vr: str | None, value: bytes, written: str | None
) -> None:
    ds = Dataset()
    assert values.written(ds, keyword) == ""
    put_raw(ds, keyword, vr, value)
    assert values.written(ds, keyword) == written


def test_a_text_that_a_program_has_set_is_passed_on_with_all_its_values() -> None:
    ds = Dataset()
    ds.OtherPatientNames, ds.Rows, ds.PatientID = ["A^B", "C^D "], 5, None
    assert values.written(ds, "OtherPatientNames") == "A^B\\C^D"
    assert values.written(ds, "Rows") is None
    assert values.written(ds, "PatientID") == ""


@pytest.mark.parametrize(
    ("vr", "value", "quotation"),
    [
        ("LO", b"thin ", "'thin'"),
        ("LO", "für".encode("latin-1"), "'f?r'"),
        ("LO", b"x" * 40, f"'{'x' * 40}'"),
        ("LO", b"x" * 41, f"'{'x' * 40}...'"),
        ("FD", b"\1\2\3", "3 bytes"),
        ("FD", b"\0\0\0", ""),
        ("FD", b"", ""),
        ("FD", struct.pack("<d", 2.5), "'2.5'"),
        ("SQ", b"item", "a sequence"),
    ],
)
def test_a_quotation_says_what_stands_there(vr: str, value: bytes, quotation: str) -> None:
    ds = Dataset()
    put_raw(ds, "DiffusionBValue", vr, value)
    assert values.quoted(ds, "DiffusionBValue") == quotation


@pytest.mark.parametrize("vr", ["SQ", "UN", "OB", None])
def test_items_are_read_from_a_sequence_that_an_archive_made_bytes(vr: str | None) -> None:
    ds = Dataset()
    item = b"\x08\0\x50\x11\4\0\0\0" + b"1.2\0"
    value, tag = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item, Tag("ReferencedImageSequence")
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=True, is_little_endian=True)
    (found,) = values.items(ds, "ReferencedImageSequence")
    assert values.identifier(found, "ReferencedSOPClassUID") == "1.2"


@pytest.mark.parametrize(("vr", "value"), [("LO", b"text"), ("US", b"\1\0"), ("UN", b"\xfe\xff\x00"), ("SQ", b"none")])
def test_what_is_no_sequence_has_no_items(vr: str, value: bytes) -> None:
    ds = Dataset()
    assert list(values.items(ds, "ReferencedImageSequence")) == []
    put_raw(ds, "ReferencedImageSequence", vr, value)
    assert list(values.items(ds, "ReferencedImageSequence")) == []


def test_a_private_attribute_lies_in_the_block_of_its_creator() -> None:
    ds = Dataset()
    ds.add_new(0x2001_0010, "LO", "ANOTHER")
    ds.add_new(0x2001_0090, "LO", "Philips Imaging DD 001 ")
    ds.add_new(0x2001_9003, "FL", 1000.0)
    assert values.private_tag(ds, 0x2001, "Philips Imaging DD 001", 0x03) == 0x2001_9003
    assert values.private_tag(ds, 0x2001, "ANOTHER", 0x20) == 0x2001_1020
    assert values.private_tag(ds, 0x2001, "NOBODY", 0x03) is None
    assert values.private_tag(ds, 0x2005, "NOBODY", 0x0E) == 0x2005_100E


def test_a_keyword_that_the_standard_does_not_have_is_an_error() -> None:
    assert values.tag_of("EchoTime") == 0x0018_0081
    with pytest.raises(KeyError, match="EchoTimes"):
        values.tag_of("EchoTimes")


@pytest.mark.parametrize(
    ("written", "text"),
    [("9 Years", "009Y"), ("18m", "018M"), ("122Y", "122Y"), ("002W", "002W"), ("45", ""), ("Y", ""), ("1000Y", "")],
)
def test_an_age_is_written_with_three_digits_and_its_unit(written: str, text: str) -> None:
    assert values.age_text(written) == text


def test_an_age_in_days_and_weeks_is_a_share_of_a_year() -> None:
    assert values.age_years("365D") == pytest.approx(1.0, abs=2e-3)
    assert values.age_years("026W") == pytest.approx(0.5, abs=2e-3)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "000000"), (51405.0, "141645"), (51405.25, "141645.250000"), (86399.0, "235959")]
)
def test_a_time_is_written_as_dicom_writes_it(seconds: float, text: str) -> None:
    assert values.clock_text(seconds) == text


@pytest.mark.parametrize("written", ["235959.9999999", "23:59:60"])
def test_a_time_at_the_end_of_a_day_stays_on_it(written: str) -> None:
    text = values.clock_text(values.clock_s(written) or 0.0)
    assert text == "235959.999999"
    validate_value("TM", text, RAISE)


def test_a_time_that_was_written_is_read_to_the_microsecond() -> None:
    for microseconds in np.random.default_rng(5).integers(0, 86_400_000_000, 50).tolist():
        written = values.clock_text(microseconds / 1e6)
        validate_value("TM", written, RAISE)
        assert round((values.clock_s(written) or 0.0) * 1e6) == microseconds
