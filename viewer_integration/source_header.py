"""Source headers made fit for derived objects: a copy is cleaned, never the original."""

from collections.abc import Sequence
from copy import deepcopy

from pydicom.config import RAISE
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from conversion.decision import Decision
from viewer_integration.errors import ResultReason, UnusableSource

__all__ = ["clean_source_headers"]

_COPIED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that a derived object takes over from its source."""

UNICODE = "ISO_IR 192"
"""Character set of every result: it holds the text of every source, whatever set that came in (PS3.3 C.12.1.1.2)."""

_REQUIRED = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def clean_source_headers(headers: Sequence[Dataset]) -> tuple[list[Dataset], tuple[Decision, ...]]:
    """Return copies in which every attribute a derived object takes over is valid.

    Parameters
    ----------
    headers
        Instances of the reference series, without pixels.

    Returns
    -------
    tuple
        Cleaned copies in the same order, and a `Decision` for each attribute that was emptied.

    Raises
    ------
    UnusableSource
        When an attribute that places the image in space is missing.
    """
    decisions: dict[str, Decision] = {}
    cleaned = []
    for header in headers:
        ds = deepcopy(header)
        for keyword in _REQUIRED:
            if not ds.get(keyword):
                sentence = f"the reference series has no {keyword}, so no result can be placed on it"
                raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence)
        ds.decode()
        ds.SpecificCharacterSet = UNICODE
        for keyword in _COPIED:
            valid = _valid(ds, keyword)
            setattr(ds, keyword, str(ds.get(keyword) or "") if valid else "")
            if not valid:
                reason = f"the source's {keyword} breaks the standard, so the result leaves it empty"
                decisions[keyword] = Decision(code="header_emptied", subject=keyword, reason=reason)
        cleaned.append(ds)
    return cleaned, tuple(decisions.values())


def _valid(ds: Dataset, keyword: str) -> bool:
    if isinstance(ds.get(keyword), MultiValue):
        return False
    value = str(ds.get(keyword) or "")
    if keyword == "PatientSex":
        return value in ("", "M", "F", "O")
    if not value:
        return True
    try:
        validate_value(str(ds[keyword].VR), value, RAISE)
    except ValueError:
        return False
    return True
