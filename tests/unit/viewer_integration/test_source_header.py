"""Source headers made fit for results: real headers break the standard, and a result must not."""

import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.uid import JPEG2000, UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSNearLossless

from conversion.decision import Decision
from conversion.headers import image_headers
from conversion.reading import SourceImages
from conversion.values import written
from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.raw_values import put_raw
from viewer_integration.errors import ResultReason, UnusableSource
from viewer_integration.source_header import clean_source_headers, with_demographics
from viewer_integration.study_values import put_study_values

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


def _source(headers: list[Dataset]) -> SourceImages:
    images = tuple(image for ds in headers for image in image_headers(Path("in memory"), ds))
    return SourceImages(instances=tuple(headers), images=images)


def _clean(headers: list[Dataset]) -> tuple[list[Dataset], tuple[Decision, ...]]:
    """Return each slice's header as an object made of it carries it."""
    slices, decisions = clean_source_headers(_source(headers))
    for each in slices:
        put_study_values(each.header, each.values)
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
        ("PatientBirthDate", "1970 or so"),
        ("StudyDate", "today"),
        ("StudyTime", "quarter past"),
        ("StudyID", "longer than the sixteen characters"),
        ("AccessionNumber", "longer than the sixteen characters"),
        ("PatientID", "TWO\\VALUES"),
    ],
)
def test_what_breaks_the_standard_is_kept_and_said_once(keyword: str, value: str) -> None:
    headers = _headers()
    for ds in headers:
        put_raw(ds, keyword, dictionary_VR(keyword), value.encode())
    slices, decisions = clean_source_headers(_source(headers))
    assert [str(each.header[keyword].value or "") for each in slices] == ["", "", ""], "constructors refuse it"
    cleaned, _ = _clean(headers)
    assert [written(ds, keyword) for ds in cleaned] == [value] * 3
    assert [(decision.code, decision.subject) for decision in decisions] == [("header_kept", keyword)]
    assert value not in decisions[0].reason, "a decision names no patient data"


@pytest.mark.parametrize(("keyword", "value"), [("PatientWeight", "heavy"), ("StationName", "s" * 17)])
def test_what_files_no_result_is_left_out_where_it_breaks_the_standard(keyword: str, value: str) -> None:
    headers = _headers(PatientAge="045Y", PatientWeight="71.5", StationName="MR1")
    assert keyword in _clean(headers)[0][0]
    put_raw(headers[1], keyword, dictionary_VR(keyword), value.encode())
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
    put_raw(headers[0], "PatientSex", "CS", b"0000")
    before = deepcopy(headers)
    _clean(headers)
    assert headers == before


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
    headers = _headers(SpecificCharacterSet=character_set, PatientName=name, ReferringPhysicianName=name)
    cleaned, decisions = _clean(headers)
    assert decisions == ()
    cleaned[0].file_meta = headers[0].file_meta
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
def test_pixels_that_lost_something_on_their_way_are_told(attribute: str, syntax: UID, *, said: bool) -> None:
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


def test_the_source_is_the_same_where_the_pacs_has_corrected_nothing() -> None:
    source = _source(_headers(PatientSex="O"))
    same, decisions = with_demographics(source, {"PatientID": "TEST-1 ", "PatientName": "Phantom^Synthetic"})
    assert same is source
    assert decisions == ()
    assert with_demographics(source, {}) == (source, ())


def test_results_have_the_patient_that_the_pacs_has_now_and_the_images_keep_theirs() -> None:
    headers = _headers()
    put_raw(headers[0], "AccessionNumber", "SH", b"longer than the sixteen characters")
    before = deepcopy(headers)
    current = {"PatientID": "NEW-9", "PatientName": "山田^太郎", "PatientBirthDate": "19700101", "PatientSex": "F"}
    corrected, decisions = with_demographics(_source(headers), current)
    assert [decision.reason for decision in decisions] == [
        "PatientID, PatientName, PatientSex: the PACS differs from the images; the results use the PACS's values"
    ]
    assert (decisions[0].code, decisions[0].subject) == ("demographics_corrected", "study")
    slices, _ = clean_source_headers(corrected)
    for each in slices:
        put_study_values(each.header, each.values)
        found = {keyword: str(each.header[keyword].value) for keyword in current}
        assert found == current
    assert written(slices[0].header, "AccessionNumber") == "longer than the sixteen characters"
    assert headers == before
    assert [ds.file_meta for ds in corrected.instances] == [ds.file_meta for ds in headers]


def test_a_value_that_the_pacs_has_emptied_is_empty() -> None:
    corrected, decisions = with_demographics(_source(_headers()), {"PatientBirthDate": ""})
    assert [decision.code for decision in decisions] == ["demographics_corrected"]
    slices, _ = clean_source_headers(corrected)
    assert [each.header.PatientBirthDate for each in slices] == [""] * 3


def test_images_that_share_their_uids_are_counted_in_the_sentence() -> None:
    headers = _headers()
    headers[2].SOPInstanceUID = headers[0].SOPInstanceUID
    with pytest.raises(UnusableSource, match=r"share SOP Instance UIDs.*\(3 images, 2 UIDs\); give each") as caught:
        clean_source_headers(_source(headers))
    assert caught.value.reason is ResultReason.SOURCE_HEADERS


@pytest.mark.parametrize("thickness", [None, "0", "-3", "thin"])
def test_a_thickness_that_is_none_is_assumed_and_said(thickness: str | None) -> None:
    headers = _headers()
    for ds in headers:
        put_raw(ds, "SliceThickness", "DS", (thickness or "").encode())
    slices, decisions = clean_source_headers(_source(headers))
    assert [(decision.code, decision.subject) for decision in decisions] == [("thickness_assumed", "SliceThickness")]
    assert all("SliceThickness" not in each.header for each in slices)


def test_the_place_is_written_in_decimals_that_the_standard_allows() -> None:
    headers = _headers()
    for ds in headers:
        put_raw(ds, "ImagePositionPatient", "DS", b"1,5\\-2.25000000000000000000\\1e-20")
        put_raw(ds, "PixelSpacing", "DS", b"0.8333333333333333333333333")
    slices, decisions = clean_source_headers(_source(headers))
    assert decisions == ()
    for each in slices:
        assert [float(value) for value in each.header.ImagePositionPatient] == [1.5, -2.25, 1e-20]
        assert [float(value) for value in each.header.PixelSpacing] == pytest.approx([5 / 6, 5 / 6], abs=1e-12)
        for keyword in ("ImagePositionPatient", "PixelSpacing", "ImageOrientationPatient", "SliceThickness"):
            assert all(len(part) <= 16 for part in (written(each.header, keyword) or "").split("\\"))


@pytest.mark.parametrize(
    ("stated", "kept"),
    [("NASION", "NASION"), (" SN ", "SN"), ("no:code", ""), ("seventeen letters", ""), ("", "")],
)
def test_a_position_indicator_is_kept_where_it_is_one(stated: str, kept: str) -> None:
    (first, *_), _ = clean_source_headers(_source(_headers(PositionReferenceIndicator=stated)))
    assert first.header.PositionReferenceIndicator == kept


def test_ratio_and_method_of_a_loss_are_kept_where_they_can_be_read() -> None:
    headers = _headers(LossyImageCompression="01", LossyImageCompressionRatio=["12.5", "3"])
    for ds in headers:
        put_raw(ds, "LossyImageCompressionMethod", "CS", b"ISO_10918_1\\not:one\\iso_10918_1")
    (first, *_), decisions = clean_source_headers(_source(headers))
    assert [float(ratio) for ratio in first.header.LossyImageCompressionRatio] == [12.5, 3.0]
    assert written(first.header, "LossyImageCompressionMethod") == "ISO_10918_1"
    assert [decision.reason for decision in decisions] == [
        "the images of the reference series were compressed with loss; their values are approximate"
    ]


def test_what_the_images_came_in_is_named_where_it_may_have_lost_something() -> None:
    headers = _headers()
    headers[1].file_meta.TransferSyntaxUID = JPEG2000
    headers[2].file_meta.TransferSyntaxUID = JPEGLSNearLossless
    _, (decision,) = clean_source_headers(_source(headers))
    assert decision.reason == (
        "the images of the reference series were compressed with loss (received as JPEG 2000 Image Compression, "
        "JPEG-LS Lossy (Near-Lossless) Image Compression); their values are approximate"
    )
