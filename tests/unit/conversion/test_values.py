"""One lenient reader for each kind of value: what people write is read, and nothing raises."""

import datetime as dt
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from conversion import values
from conversion.attributes import Attributes
from tests.support.raw_values import put_raw

_REPRESENTATIONS = (
    None, "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF", "OW", "PN", "SH",
    "SL", "SQ", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV", "??",
)  # fmt: skip


def _with(keyword: str, vr: str | None, value: bytes) -> Attributes:
    ds = Dataset()
    put_raw(ds, keyword, vr, value)
    return Attributes(ds)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"0.7986", 0.7986),
        (b" 0.7986\0", 0.7986),
        (b"0,7986", 0.7986),
        (b"1,250", 1.25),
        (b"-.5E-1", -0.05),
        (b"+12", 12.0),
        (b"0.8 mm", 0.8),
        (b"0.8mm", 0.8),
        (b"0.8 cm", None),
        (b"1.000,5", None),
        (b"1_000", None),
        (b"nan", None),
        (b"inf", None),
        (b"1e300", None),
        (b"0x10", None),
        (b"thin", None),
        (b".", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_a_number_is_read_as_people_write_it(written: bytes, read: float | None) -> None:
    assert _with("SliceThickness", "DS", written).number("SliceThickness") == read


def test_a_comma_that_may_part_thousands_is_not_guessed() -> None:
    assert _with("RepetitionTime", "DS", b"2,500").number("RepetitionTime") is None
    assert _with("RepetitionTime", "DS", b"2,500").quoted("RepetitionTime") == "'2,500'"
    assert _with("RepetitionTime", "DS", b"612,5").number("RepetitionTime") == 612.5


@pytest.mark.parametrize(
    ("vr", "value"),
    [
        ("DS", b"0.5\\0.75"),
        ("UT", b"0.5\\0.75"),
        ("LO", b" 0.5 \\ 0.75 "),
        ("UN", b"0.5\\0.75"),
        ("OB", b"0.5\\0.75"),
        (None, b"0.5\\0.75"),
        ("FD", struct.pack("<2d", 0.5, 0.75)),
        ("FL", struct.pack("<2f", 0.5, 0.75)),
    ],
)
def test_a_number_is_read_in_any_representation(vr: str | None, value: bytes) -> None:
    assert _with("PixelSpacing", vr, value).numbers("PixelSpacing") == (0.5, 0.75)


def test_one_number_that_is_repeated_is_one() -> None:
    assert _with("EchoTime", "DS", b"90\\90").number("EchoTime") == 90.0
    assert _with("RescaleSlope", "DS", b"1\\1.0").number("RescaleSlope") == 1.0


def test_several_numbers_are_no_single_one_and_one_bad_one_spoils_all() -> None:
    assert _with("EchoTime", "DS", b"10\\20").number("EchoTime") is None
    assert _with("PixelSpacing", "DS", b"0.5\\thin").numbers("PixelSpacing") == ()


@pytest.mark.parametrize(("vr", "value"), [("US", b"\1\0\0"), ("FD", b"\1\2\3\4"), ("SQ", b"text"), ("SS", b"\1")])
def test_what_has_the_wrong_length_is_not_read_and_quoted(vr: str, value: bytes) -> None:
    told = _with("Rows", vr, value)
    assert told.integer("Rows") == 0
    assert told.quoted("Rows")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("20100504", (2010, 5, 4)),
        ("2010.05.04", (2010, 5, 4)),
        ("2010-05-04", (2010, 5, 4)),
        ("2010/05/04", (2010, 5, 4)),
        ("20100504101500.5+0100", (2010, 5, 4)),
        ("2010-05-04T10:15:00Z", (2010, 5, 4)),
        (" 20100504 ", (2010, 5, 4)),
        ("20100230", None),
        ("04.05.2010", None),
        ("2010-5-4", (2010, 5, 4)),
        ("2010.5.14", (2010, 5, 14)),
        ("100504", None),
        ("10050400", None),
        ("2010.0504", None),
        ("2010", None),
        ("today", None),
        ("", None),
    ],
)
def test_a_date_is_read_in_the_forms_of_dicom_acr_nema_and_iso(written: str, read: tuple[int, int, int] | None) -> None:
    assert values.date(written) == (dt.date(*read) if read else None)


def test_a_year_alone_is_its_last_day_where_the_latest_is_asked() -> None:
    assert values.date("2010", latest=True) == dt.date(2010, 12, 31)
    assert values.date("2010.02", latest=True) == dt.date(2010, 2, 28)
    assert values.date("201013", latest=True) is None
    assert values.date("100504", latest=True) is None
    assert values.date("20100000", latest=True) == dt.date(2010, 12, 31)
    assert values.date("2010.05.00", latest=True) == dt.date(2010, 5, 31)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("04.05.2010", (2010, 5, 4)),
        ("05/04/2010", (2010, 5, 4)),
        ("25.12.2010", (2010, 12, 25)),
        ("12/25/2010", (2010, 12, 25)),
        ("4-5-2010", (2010, 5, 4)),
        ("31.31.2010", None),
        ("04.05/2010", None),
    ],
)
def test_a_date_that_may_be_two_days_is_the_later_where_the_latest_is_asked(
    written: str, read: tuple[int, int, int] | None
) -> None:
    assert values.date(written, latest=True) == (dt.date(*read) if read else None)
    assert values.date(written) is None


def test_a_date_and_time_is_parted_in_every_form_of_a_date() -> None:
    assert values.moment("20100504101500.5") == ("20100504", "101500.5")
    assert values.moment("2010-5-4T10:15:00") == ("2010-5-4", "10:15:00")
    assert values.moment("2010-05-04") == ("2010-05-04", "")


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("141645", 51405.0),
        ("14:16:45", 51405.0),
        ("141645.25", 51405.25),
        ("141645,25", 51405.25),
        ("14", 50400.0),
        ("1416", 51360.0),
        ("9:05", 32700.0),
        ("141645+0100", 51405.0),
        ("02:16:45 PM", 51405.0),
        ("12:00 am", 0.0),
        ("14:16:45 PM", None),
        ("25:00", None),
        ("1460", None),
        ("noon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_a_time_is_read_with_and_without_colons(written: str, seconds: float | None) -> None:
    assert values.clock_s(written) == seconds


@pytest.mark.parametrize(
    ("written", "years"),
    [
        ("009Y", 9.0),
        ("9Y", 9.0),
        ("09Y", 9.0),
        (" 9y ", 9.0),
        ("9 Years", 9.0),
        ("018M", 1.5),
        ("122Y", 122.0),
        ("999Y", None),
        ("9", None),
        ("Y", None),
    ],
)
def test_an_age_is_read_with_fewer_digits(written: str, years: float | None) -> None:
    assert values.age_years(written) == years


@pytest.mark.parametrize("written", [b"1.2.3\0", b" 1.2.3", b"1.2.3"])
def test_blanks_and_nuls_around_a_uid_mean_nothing(written: bytes) -> None:
    ds = Dataset()
    put_raw(ds, "StudyInstanceUID", "UI", written)
    assert values.identifier(ds, "StudyInstanceUID") == "1.2.3"


@pytest.mark.parametrize("written", [b"1.2.3\\1.2.4", b"MR Image Storage", b"1." * 40 + b"1", b"", b"7"])
def test_what_is_no_single_uid_is_none(written: bytes) -> None:
    ds = Dataset()
    put_raw(ds, "StudyInstanceUID", "UI", written)
    assert values.identifier(ds, "StudyInstanceUID") == ""


def test_a_quotation_is_short_and_plain() -> None:
    said = _with("PixelSpacing", "DS", b"\x1b[31m" + b"x" * 100).quoted("PixelSpacing")
    assert said.isprintable()
    assert len(said) < 60


@pytest.mark.parametrize("told", ["ISO_IR 192", "ISO_IR 6", "no such set", "ISO_IR 13"])
def test_text_in_another_character_set_than_is_told_loses_no_letter(told: str) -> None:
    found = []
    for stated in ("M\u00dcL-1", "M\u00d6L-1"):
        ds = Dataset()
        ds.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=told)
        put_raw(ds, "PatientID", "LO", stated.encode("latin-1"))
        found.append(values.text(ds, "PatientID"))
        assert values.written(ds, "PatientID") == found[-1]
    assert len(set(found)) == 2
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in found)


def test_text_of_a_character_set_that_is_none_is_still_text() -> None:
    ds = Dataset()
    ds.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=["no such set"])
    put_raw(ds, "SeriesDescription", "LO", "T1 für".encode())
    assert Attributes(ds).text("SeriesDescription").startswith("T1 f")


@given(st.sampled_from(_REPRESENTATIONS), st.binary(max_size=40), st.sampled_from(["PixelSpacing", "ImageType", "Rows",
       "StudyDate", "PerFrameFunctionalGroupsSequence", "StudyInstanceUID", "PatientAge"]))  # fmt: skip
def test_nothing_that_stands_in_a_header_raises(vr: str | None, value: bytes, keyword: str) -> None:
    told = _with(keyword, vr, value)
    assert np.all(np.isfinite(told.numbers(keyword)))
    assert told.quoted(keyword).isprintable()
    assert told.integer(keyword) in range(-(2**31), 2**31)
    assert isinstance(told.texts(keyword), tuple)
    assert isinstance(told.items(keyword), tuple)
    assert told.private_float(0x2001, "Philips Imaging DD 001", 3) is None
