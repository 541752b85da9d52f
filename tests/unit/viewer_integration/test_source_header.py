"""Source headers made fit for results: real headers break the standard, and a result must not."""

import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSNearLossless

from conversion.decision import Decision
from conversion.headers import image_headers
from conversion.reading import SourceImages
from tests.support.dicom_series import axis_aligned, mr_slices
from viewer_integration.errors import ResultReason, UnusableSource
from viewer_integration.source_header import clean_source_headers

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length", "ignore:Value")


def _headers(**attributes: object) -> list[Dataset]:
    """Return three headers as they are read from files."""
    slices = mr_slices(np.zeros((3, 4, 5), np.uint16), axis_aligned("axial"), "series", **attributes)
    headers: list[Dataset] = []
    for ds in slices:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        headers.append(dcmread(io.BytesIO(buffer.getvalue()), stop_before_pixels=True))
    return headers


def _clean(headers: list[Dataset]) -> tuple[list[Dataset], tuple[Decision, ...]]:
    images = tuple(image for ds in headers for image in image_headers(Path("in memory"), ds))
    slices, decisions = clean_source_headers(SourceImages(instances=tuple(headers), images=images))
    return [each.header for each in slices], decisions


def test_a_valid_header_keeps_everything() -> None:
    headers = _headers()
    cleaned, decisions = _clean(headers)
    assert decisions == ()
    assert [str(ds.SOPInstanceUID) for ds in cleaned] == [str(ds.SOPInstanceUID) for ds in headers]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID", "StudyTime"):
        assert str(cleaned[0][keyword].value) == str(headers[0][keyword].value) != ""


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientSex", "0000"),
        ("PatientSex", "man"),
        ("PatientBirthDate", "1970-01-01"),
        ("StudyDate", "today"),
        ("StudyTime", "quarter past"),
        ("StudyID", "longer than the sixteen characters"),
        ("AccessionNumber", "longer than the sixteen characters"),
        ("PatientID", ["TWO", "VALUES"]),
    ],
)
def test_what_breaks_the_standard_is_emptied_once_and_said(keyword: str, value: object) -> None:
    headers = _headers()
    for ds in headers:
        ds[keyword]._value = value
    cleaned, decisions = _clean(headers)
    assert [str(ds[keyword].value or "") for ds in cleaned] == ["", "", ""]
    assert [(decision.code, decision.subject) for decision in decisions] == [("header_emptied", keyword)]
    for word in value if isinstance(value, list) else [value]:
        assert str(word) not in decisions[0].reason, "a decision names no patient data"


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientAge", "0Y"), ("PatientWeight", "heavy"), ("StationName", "s" * 17)]
)
def test_what_need_not_be_there_is_left_out_where_it_breaks_the_standard(keyword: str, value: str) -> None:
    headers = _headers(PatientAge="045Y", PatientWeight="71.5", StationName="MR1")
    assert keyword in _clean(headers)[0][0]
    headers[1][keyword]._value = value
    cleaned, decisions = _clean(headers)
    assert [keyword in ds for ds in cleaned] == [True, False, True]
    assert [(decision.code, decision.subject) for decision in decisions] == [("header_emptied", keyword)]
    assert value not in decisions[0].reason, "a decision names no patient data"


def test_what_is_missing_is_there_and_empty_afterwards() -> None:
    headers = _headers()
    for ds in headers:
        for keyword in ("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate"):
            delattr(ds, keyword)
    cleaned, decisions = _clean(headers)
    assert decisions == ()
    for keyword in ("AccessionNumber", "ReferringPhysicianName", "PatientBirthDate"):
        assert keyword in cleaned[2]
        assert not cleaned[2][keyword].value


def test_the_original_is_left_alone() -> None:
    headers = _headers()
    headers[0]["PatientSex"]._value = "0000"
    before = deepcopy(headers)
    _clean(headers)
    assert headers == before
    assert headers[0].PatientSex == "0000"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 138", "שרון^דבורה"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ],
)
def test_names_of_every_character_set_become_unicode(character_set: object, name: str) -> None:
    cleaned, decisions = _clean(
        _headers(SpecificCharacterSet=character_set, PatientName=name, ReferringPhysicianName=name)
    )
    assert decisions == ()
    assert cleaned[0].SpecificCharacterSet == "ISO_IR 192"
    buffer = io.BytesIO()
    cleaned[0].save_as(buffer, enforce_file_format=True)
    assert name.encode() in buffer.getvalue()
    again = dcmread(io.BytesIO(buffer.getvalue()))
    assert (str(again.PatientName), str(again.ReferringPhysicianName)) == (name, name)


@pytest.mark.parametrize(
    "keyword", ["FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
)
def test_without_a_place_in_space_there_is_no_result(keyword: str) -> None:
    headers = _headers()
    delattr(headers[1], keyword)
    with pytest.raises(UnusableSource, match=keyword) as caught:
        _clean(headers)
    assert caught.value.reason is ResultReason.SOURCE_HEADERS


@pytest.mark.parametrize(
    ("attribute", "syntax", "said"),
    [
        ("01", ExplicitVRLittleEndian, True),
        ("00", JPEGLSNearLossless, True),
        ("00", JPEG2000, True),
        ("00", JPEG2000Lossless, False),
        ("", JPEGLosslessSV1, False),
    ],
)
def test_pixels_that_lost_something_on_their_way_are_told(attribute: str, syntax: str, *, said: bool) -> None:
    headers = _headers()
    for ds in headers:
        ds.LossyImageCompression, ds.file_meta.TransferSyntaxUID = attribute, syntax
    _, decisions = _clean(headers)
    assert [decision.code for decision in decisions] == ["lossy_source"] * said


def test_one_place_of_several_is_enough_to_refuse() -> None:
    headers = _headers()
    headers[2].PixelSpacing = None
    with pytest.raises(UnusableSource, match="PixelSpacing"):
        _clean(headers)
