"""Reads header values as they are stored: one lenient reader for each kind, used wherever a header is read.

A file may contain any value of any VR in any attribute: text instead of numbers, a decimal comma, three bytes of an
unsigned short, text instead of a sequence. No function here raises an error for that. A reader returns the stored
value, or nothing if it cannot be read; `quoted` returns it for messages, so that nothing is guessed and nothing is
hidden. Values are read from the bytes of the file, since pydicom's own conversion raises for what breaks the standard.
"""

import datetime as dt
import math
import re
import struct
from collections.abc import Sequence
from functools import cache

from pydicom import DataElement, Dataset
from pydicom.charset import decode_bytes
from pydicom.datadict import dictionary_VR, private_dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.values import convert_SQ

__all__ = [
    "OLDEST_YEARS",
    "age_years",
    "clock_s",
    "date",
    "identifier",
    "items",
    "moment",
    "number",
    "private_tag",
    "quoted",
    "text",
    "values",
]

LARGEST = 1e12
"""No image header contains a larger number; beyond it, computing positions would overflow."""

QUOTED_CHARACTERS = 40
"""How many characters of a value a message quotes."""

_TEXTS = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
)
_ONE_TEXT = frozenset(("LT", "ST", "UR", "UT"))
"""VRs in which a backslash separates no values (PS3.5 6.2), unless the attribute can have several."""

_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_DELIMITERS = {0x09, 0x0A, 0x0C, 0x0D, 0x5C, 0x3D, 0x5E}
"""Characters that end a code extension (PS3.5 6.1.2.5.3): controls, backslash, and separators in names."""

_NO_LETTER = "\N{REPLACEMENT CHARACTER}"
"""What replaces bytes that a character set does not define. Latin-1 defines a letter for each byte, so that different
identifiers stay different. Most files that state no fitting character set are written in it."""

_PADDING = " \0"
_BLANKS = " \t\r\n\0"
_DECIMAL = re.compile(r"([+-]?)(\d*)([.,]?)(\d*)(?:[eE]([+-]?\d{1,3}))? ?([A-Za-zµ²/°]*)")
_DATE = re.compile(r"(\d{4})(?:([.\-/])(\d{1,2})\2(\d{1,2})|(\d{2})(\d{2}))(?:[T ]?(\d{2}[\d:.,+\- ]*Z?))?")
_MONTH = re.compile(r"(\d{4})(?:[.\-/]?(\d{2}))?(?:[.\-/]?00)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([.\-/])(\d{1,2})\2(\d{4})")
_CLOCK = re.compile(r"(\d{1,2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?)? ?([AaPp][Mm])?(?:[+-]\d{2}:?\d{2}|Z)?")
_AGE = re.compile(r"(\d{1,3}) ?(D|W|M|Y)(?:AYS?|EEKS?|ONTHS?|EARS?|RS?)?", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[0-9]+(?:\.[0-9]+)+")

_UNITS = {
    "mm": ("PixelSpacing", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices"),
    "ms": ("EchoTime", "EffectiveEchoTime", "RepetitionTime", "InversionTime", "InversionTimes", "TriggerTime"),
    "T": ("MagneticFieldStrength",),
    "deg": ("FlipAngle",),
}
_UNIT_OF = {keyword: unit for unit, keywords in _UNITS.items() for keyword in keywords}
"""A number may be followed by the unit of its attribute (PS3.3); with another unit it is not read."""

_NEVER_THOUSANDS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness",
                    "SpacingBetweenSlices", "EchoTime", "FlipAngle", "MagneticFieldStrength")  # fmt: skip
"""Where "1,250" can only mean 1.25: no value in a scanner is a thousand times as large."""

_UNITS_A_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}

_FIRST_YEAR = 1800
"""No date of a patient or an image is earlier: "100504" does not mean a month of the year 1005."""

OLDEST_YEARS = 123
"""No person is known to have lived longer (J. Calment, 122 years): a greater age means that the age is unknown."""

Value = str | int | float | bytes


def values(ds: Dataset, where: str | int | BaseTag) -> tuple[Value, ...]:
    """Return the values of an attribute, by keyword or tag; none if it is absent, empty, a sequence or unreadable.

    Texts are returned without the blanks and NULs around them, which are not significant (PS3.5 6.2).
    """
    element = _element(ds, where)
    if element is None:
        return ()
    found = _from_bytes(ds, element) if isinstance(element, RawDataElement) else _from_value(element.value)
    return found if any(value != "" for value in found) else ()


def items(ds: Dataset, where: str | int | BaseTag) -> Sequence[Dataset]:
    """Return the items of a sequence; none if the value is not a sequence, or cannot be read."""
    element = _element(ds, where)
    value: object = element.value if element is not None else None
    try:
        if isinstance(element, RawDataElement) and isinstance(value, bytes) and element.VR in ("SQ", "UN", "OB", None):
            known = _known_vr(ds, element.tag)
            if "SQ" in (element.VR, element.VR or known):
                value = ds[element.tag].value
            elif known in ("SQ", "UN"):  # in implicit VR then (PS3.5 6.2.2)
                value = convert_SQ(value, is_implicit_VR=True, is_little_endian=True)
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for what is no sequence; it then has no items
        return ()
    return value if isinstance(value, DicomSequence) else ()


def text(ds: Dataset, where: str | int | BaseTag) -> str:
    """Return an attribute as one text; several values stay separated by a backslash, as in the file."""
    return "\\".join(_as_text(value) for value in values(ds, where))


def written(ds: Dataset, where: str | int | BaseTag) -> str | None:
    """Return a text as it is stored in the file, without trailing padding; None if the value is not text.

    For values that are passed on unchanged: leading blanks stay, and so do values that the standard forbids.
    """
    element = _element(ds, where)
    if element is None or element.value is None:
        return ""
    if isinstance(element, RawDataElement):
        textual = (element.VR if element.VR not in (None, "UN", "OB") else _known_vr(ds, element.tag)) in _TEXTS
        return _decoded(element.value, ds).rstrip(_PADDING) if textual and isinstance(element.value, bytes) else None
    parts = element.value if isinstance(element.value, MultiValue | list | tuple) else [element.value]
    return "\\".join(str(part) for part in parts).rstrip(_PADDING) if element.VR in _TEXTS else None


def identifier(ds: Dataset, where: str | int | BaseTag) -> str:
    """Return a UID (PS3.5 9.1); empty if the value is not a UID, or more than one."""
    found = text(ds, where)
    return found if len(found) <= 64 and _IDENTIFIER.fullmatch(found) else ""


def quoted(ds: Dataset, where: str | int | BaseTag) -> str:
    """Return the value of an attribute for a message: in quotation marks, shortened, printable ASCII only.

    Not for attributes with patient data. Empty if there is no value.
    """
    element = _element(ds, where)
    if element is None or element.value in (None, "", b"") or (_length(element.value) == 0):
        return ""
    if element.VR == "SQ" or isinstance(element.value, DicomSequence):
        return "a sequence"
    value = text(ds, where)
    if not value:
        stored = element.value if isinstance(element.value, bytes) else b""
        return f"{len(stored)} bytes" if stored.strip(b" \0") else ""
    plain = "".join(letter if " " <= letter <= "~" else "?" for letter in value)
    return f"'{plain[:QUOTED_CHARACTERS]}{'...' if len(plain) > QUOTED_CHARACTERS else ''}'"


def number(value: Value, keyword: str = "") -> float | None:
    """Return a finite number, also with a decimal comma or its unit; None if it is not a number, or ambiguous.

    Parameters
    ----------
    keyword
        The attribute of the value. It determines which unit may follow, and whether "1,250" can mean 1250.
    """
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) and abs(value) <= LARGEST else None
    found = _DECIMAL.fullmatch(_as_text(value).strip(_BLANKS))
    if found is None or not (found[2] or found[4]):
        return None
    sign, whole, point, rest, exponent, unit = found.groups()
    if unit and unit.lower() != _UNIT_OF.get(keyword, "").lower():
        return None
    grouped = point == "," and len(rest) == 3 and 0 < len(whole) <= 3 and not whole.startswith("0")
    if grouped and keyword not in _NEVER_THOUSANDS:
        return None
    read = float(f"{sign}{whole or 0}.{rest or 0}e{exponent or 0}")
    return read if abs(read) <= LARGEST else None


def date(written: str, *, latest: bool = False) -> dt.date | None:
    """Return a date in the form of DICOM, of ACR-NEMA (PS3.5 6.2) or of ISO 8601; a time after it is ignored.

    Parameters
    ----------
    latest
        Read a year or a month, also with zeros for the unknown part, as its last day, and "04.05.2010", which is
        ambiguous, as the later day.
    """
    found = _DATE.fullmatch(written.strip())
    day = _day(found[1], found[3] or found[5], found[4] or found[6]) if found is not None else None
    if day is not None or not latest:
        return day
    if (month := _MONTH.fullmatch(written.strip())) is not None:
        first = _day(month[1], "12" if month[2] in (None, "00") else month[2], "1")
        return (first + dt.timedelta(days=31)).replace(day=1) - dt.timedelta(days=1) if first else None
    if (last := _YEAR_LAST.fullmatch(written.strip())) is not None:
        days = (_day(last[4], last[1], last[3]), _day(last[4], last[3], last[1]))
        return max((day for day in days if day is not None), default=None)
    return None


def _day(year: str, month: str, day: str) -> dt.date | None:
    try:
        found = dt.date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found if _FIRST_YEAR <= found.year < dt.MAXYEAR else None


def clock_s(written: str) -> float | None:
    """Return a time as seconds since midnight; colons, fraction, am or pm and time zone are optional."""
    found = _CLOCK.fullmatch(written.strip())
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups()[:3])
    half = (found[5] or "").lower()
    if hours > 23 or minutes > 59 or seconds > 60 or (half and not 1 <= hours <= 12):
        return None
    hours = hours % 12 + (12 if half == "pm" else 0) if half else hours
    return hours * 3600.0 + minutes * 60.0 + seconds + float(f"0.{found[4] or 0}")


_LAST_MICROSECOND = 24 * 3600 * 1_000_000 - 1
"""Of a day; a leap second is written like it, since hour 24 is no time (PS3.5, VR TM)."""


def clock_text(seconds: float) -> str:
    """Return seconds since midnight as DICOM writes a time (PS3.5, VR TM); what rounds to midnight stays on its day."""
    whole, micro = divmod(min(round(seconds * 1e6), _LAST_MICROSECOND), 1_000_000)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}" + (f".{micro:06d}" if micro else "")


def moment(written: str) -> tuple[str, str]:
    """Split a date with time (PS3.5, VR DT; ISO 8601) into both, for `date` and `clock_s`; empty if it is not one."""
    found = _DATE.fullmatch(written.strip())
    if found is None:
        return "", ""
    return written.strip()[: max(found.end(4), found.end(6))], found[7] or ""


def age_years(written: str) -> float | None:
    """Return an age in years; DICOM writes it with three digits (PS3.5, VR AS), people with fewer.

    None if it cannot be read, or if no person is that old: 999Y is written for an unknown age.
    """
    found = _AGE.fullmatch(written.strip())
    years = int(found[1]) / _UNITS_A_YEAR[found[2].upper()] if found else None
    return years if years is not None and years <= OLDEST_YEARS else None


def age_text(written: str) -> str:
    """Return an age as DICOM writes it (PS3.5, VR AS); empty if it is not an age."""
    found = _AGE.fullmatch(written.strip())
    return f"{int(found[1]):03d}{found[2].upper()}" if found else ""


def private_tag(ds: Dataset, group: int, creator: str, element: int) -> BaseTag | None:
    """Return the tag of a creator's private attribute; in the first block if no creator is named (PS3.5 7.8.1)."""
    # With integers, since pydicom's tags compare themselves in Python.
    named = [tag for tag in ds.keys() if tag >> 16 == group and 0x10 <= tag & 0xFFFF <= 0xFF]  # noqa: SIM118
    for tag in named:
        if text(ds, tag) == creator:
            return Tag(group, (tag.element << 8) + element)
    return Tag(group, 0x1000 + element) if Tag(group, 0x10) not in named else None


@cache
def tag_of(keyword: str) -> BaseTag:
    """Return the tag of a keyword of the standard; raises KeyError if there is none."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)  # otherwise a misspelt keyword would look like an absent attribute
    return Tag(tag)


def _element(ds: Dataset, where: str | int | BaseTag) -> DataElement | RawDataElement | None:
    tag = tag_of(where) if isinstance(where, str) else Tag(where)
    if tag not in ds.keys():  # noqa: SIM118 - most are absent, and only this checks it without converting
        return None
    try:
        return ds.get_item(tag)
    except Exception:  # noqa: BLE001 - a value that stayed on disk is converted on access, which may fail
        return None


def _from_bytes(ds: Dataset, raw: RawDataElement) -> tuple[Value, ...]:
    if not isinstance(raw.value, bytes) or raw.VR == "SQ":
        return ()
    known = _known_vr(ds, raw.tag)
    for vr in dict.fromkeys((raw.VR, known)):
        if vr in _NUMBERS:
            size = struct.calcsize(_NUMBERS[vr])
            if len(raw.value) % size == 0:
                count = len(raw.value) // size
                return struct.unpack(f"{'<' if raw.is_little_endian else '>'}{count}{_NUMBERS[vr]}", raw.value)
        elif vr in _TEXTS:
            whole = vr in _ONE_TEXT and known in _ONE_TEXT
            decoded = _decoded(raw.value, ds)
            return tuple(part.strip(_BLANKS) for part in ([decoded] if whole else decoded.split("\\")))
    return (raw.value,) if raw.value and known not in _NUMBERS else ()


def _known_vr(ds: Dataset, tag: BaseTag) -> str:
    """Return the VR of an attribute in the dictionaries; the first one if they list several."""
    try:
        if not tag.is_private:
            return dictionary_VR(tag)[:2]
        creator = text(ds, Tag(tag.group, tag.element >> 8)) if tag.element > 0xFF else ""
        return private_dictionary_VR(tag, creator)[:2] if creator else "LO" if tag.element <= 0xFF else "UN"
    except KeyError:
        return "UN"


def _decoded(value: bytes, ds: Dataset) -> str:
    stated = ds.original_character_set or "iso8859"
    encodings = [stated] if isinstance(stated, str) else list(stated)
    try:
        if value.isascii() and b"\x1b" not in value:
            return value.decode("ascii")
        decoded = decode_bytes(value, encodings, _DELIMITERS)
    except Exception:  # noqa: BLE001 - an invalid character set, or one that the text is not in
        return value.decode("latin-1")
    return value.decode("latin-1") if _NO_LETTER in decoded else decoded


def _from_value(value: object) -> tuple[Value, ...]:
    """Return the values of an element that pydicom has converted, or that a program has set."""
    if value is None or isinstance(value, DicomSequence):
        return ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(part for each in value for part in (_from_value(each) or ("",)))
    if isinstance(value, int | float | bytes) and type(value) in (int, float, bytes, bool):
        return (value,)
    return (str(value).strip(_BLANKS),)


def _as_text(value: Value) -> str:
    return value.decode("ascii", "ignore").strip(_BLANKS) if isinstance(value, bytes) else str(value)


def _length(value: object) -> int:
    return len(value) if isinstance(value, MultiValue | DicomSequence | list | tuple) else 1
