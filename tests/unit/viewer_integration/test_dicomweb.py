"""QIDO-RS, the JSON model and frames as values."""

import fnmatch
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tests.support.raw_values import put_raw, reread
from tests.support.small_study import make_small_study
from tests.support.viewer_study import ROWS, UNALIGNED_COLUMNS, ViewerStudy, make_study
from viewer_integration.big_endian import turn_little_endian
from viewer_integration.dicom_json import DEEPEST, TooLarge, dicom_json
from viewer_integration.dicomweb import (
    Query,
    QueryError,
    StudySummary,
    instance_answer,
    instance_url,
    is_uid,
    matches,
    parse_query,
    series_answer,
    study_answer,
)
from viewer_integration.frames import FrameError, Part, bulk_parts, frame_part, multipart, multipart_type, part_type

_ROOT = "http://node/dicom-web"


@pytest.fixture(scope="module")
def study() -> ViewerStudy:
    return make_study(columns=UNALIGNED_COLUMNS)


def _header(**values: object) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = "1.2", "1.2.3", "1.2.3.4"
    ds.PatientName, ds.PatientID, ds.StudyDate, ds.Modality = "Müller^Eva", "P-1", "20240215", "MR"
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _image(pixels: npt.NDArray[np.generic], syntax: str = ExplicitVRLittleEndian) -> Dataset:
    ds = _header(SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.NumberOfFrames, ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = pixels.dtype.itemsize * 8
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def _file(ds: Dataset) -> io.BytesIO:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return io.BytesIO(file.getvalue())


# --- queries ---------------------------------------------------------------------------------------------------------


def test_a_query_of_ohif_is_read() -> None:
    query = parse_query(
        [
            ("limit", "101"),
            ("offset", "3"),
            ("fuzzymatching", "false"),
            ("includefield", "00081030,00080060"),
            ("includefield", "PatientName"),
            ("StudyInstanceUID", "1.2"),
            ("00100020", "*P*"),
        ]
    )
    assert query == Query(
        conditions=((0x0020000D, "1.2"), (0x00100020, "*P*")),
        included=frozenset({0x00081030, 0x00080060, 0x00100010}),
        limit=101,
        offset=3,
    )
    assert query.study_uids == ("1.2",)


def test_all_fields_can_be_asked_for() -> None:
    assert parse_query([("includefield", "all")]).include_all


@pytest.mark.parametrize(
    "parameter",
    [("limit", "ten"), ("offset", "-1"), ("limit", ""), ("NoSuchKeyword", "1"), ("RequestAttributesSequence.X", "1")],
)
def test_a_query_that_cannot_be_answered_is_an_error_without_its_value(parameter: tuple[str, str]) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query([parameter])
    assert "NoSuch" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PatientID", "P-1", True),
        ("PatientID", "p-1", False),
        ("PatientID", "P", False),
        ("PatientID", "P*", True),
        ("PatientID", "P?1", True),
        ("PatientID", "P.1", False),
        ("PatientName", "*müller*", True),
        ("PatientName", "*eva", True),
        ("StudyInstanceUID", "1.1,1.2", True),
        ("StudyInstanceUID", r"1.2\1.9", True),
        ("StudyInstanceUID", "1.*", False),
        ("StudyDate", "20240215", True),
        ("StudyDate", "20240101-20240301", True),
        ("StudyDate", "20240216-", False),
        ("StudyDate", "-20240215", True),
        ("ModalitiesInStudy", "SEG", True),
        ("ModalitiesInStudy", "CT", False),
        ("AccessionNumber", "A", False),
        ("AccessionNumber", "", True),
        ("PatientID", "P-1?", False),
        ("PatientID", "?-?", True),
        ("PatientID", "*", True),
        ("PatientID", "**P**-**1**", True),
        ("PatientID", "P*-*P-1", False),
        ("PatientName", "m?LLER^*", True),
    ],
)
def test_matching(name: str, value: str, expected: bool) -> None:  # noqa: FBT001 - a table
    query, header = parse_query([(name, value)]), _header()
    summary = StudySummary(modalities=("MR", "SEG"), sop_classes=("1.2",), series=2, instances=9)
    answer = study_answer(header, summary, _ROOT, query)
    assert matches(answer, header, query) is expected


_PIECES = st.text(alphabet="ab*?[.", max_size=8)


@given(value=st.text(alphabet="ab[.", max_size=12), pattern=_PIECES)
@example(value="abab", pattern="*ab")
def test_wildcards_match_as_the_shell_s_do(value: str, pattern: str) -> None:
    query, header = Query(conditions=((0x00081030, pattern),)), _header(StudyDescription=value)
    shell = fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))
    assert matches(header, header, query) is shell


@pytest.mark.parametrize("pattern", ["*" * 255 + "x", "*a" * 127 + "x", "*?" * 127 + "x", "*" + "a?" * 100 + "*x"])
def test_no_pattern_takes_long(pattern: str) -> None:
    code = (
        "import sys; from pydicom import Dataset; from viewer_integration.dicomweb import matches, parse_query\n"
        "header = Dataset(); header.StudyDescription = 'a' * 1024\n"
        "print(matches(header, header, parse_query([('StudyDescription', sys.argv[1])])))"
    )
    asked = [sys.executable, "-c", code, pattern]
    found = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    "parameter",
    [("PixelData", "x"), ("7FE00008", "x"), ("7FE10010", "x"), ("StudyDescription", "*" * 257)],
)
def test_what_costs_too_much_to_search_for_is_refused(parameter: tuple[str, str]) -> None:
    with pytest.raises(QueryError):
        parse_query([parameter])
    assert parse_query([("StudyInstanceUID", ",".join(["1.2.3"] * 100))]).study_uids


@pytest.mark.parametrize("included", ["EncapsulatedDocument", "all"])
def test_a_search_reads_no_large_binary_value(tmp_path: Path, included: str) -> None:
    ds = _image(np.zeros((1, 64, 64), np.uint16))
    ds.EncapsulatedDocument = bytes(5000)
    ds.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    header = dcmread(tmp_path / "one.dcm", defer_size=1024)
    (tmp_path / "one.dcm").unlink()  # whatever is read from now on fails
    for query in (parse_query([("includefield", included)]), Query(conditions=((0x00420011, "x"),))):
        answer = instance_answer(header, ExplicitVRLittleEndian, _ROOT, query)
        assert "EncapsulatedDocument" not in answer
        assert matches(answer, header, query) is (not query.conditions)


def test_a_study_is_answered_with_what_the_standard_asks() -> None:
    summary = StudySummary(modalities=("MR", "SEG"), sop_classes=("1.5",), series=2, instances=9)
    answer = study_answer(_header(), summary, _ROOT, Query())
    assert answer.RetrieveURL == "http://node/dicom-web/studies/1.2"
    assert list(answer.ModalitiesInStudy) == ["MR", "SEG"]
    assert (answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == (2, 9)
    assert answer.InstanceAvailability == "ONLINE"
    assert "Modality" not in answer


def test_series_and_instances_have_the_fields_of_their_level_and_those_asked_for() -> None:
    header = _header(SeriesNumber=3, EchoTime=12.0, Rows=5)
    query = parse_query([("includefield", "EchoTime")])
    series = series_answer(header, 7, _ROOT, query)
    assert (series.NumberOfSeriesRelatedInstances, series.SeriesNumber, series.EchoTime) == (7, 3, 12.0)
    assert "Rows" not in series
    instance = instance_answer(header, ExplicitVRLittleEndian, _ROOT, Query())
    assert instance.RetrieveURL == instance_url(_ROOT, header)
    assert (instance.Rows, instance.AvailableTransferSyntaxUID) == (5, ExplicitVRLittleEndian)
    assert "PatientName" in instance_answer(header, ExplicitVRLittleEndian, _ROOT, Query(include_all=True))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.2.840", True), ("1..2", False), ("../1", False), ("", False), ("1." * 32 + "1", False), ("1.2\n", False)],
)
def test_uids_are_told_from_other_text(text: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_uid(text) is expected


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_the_json_model_is_complete_and_in_utf_8(study: ViewerStudy) -> None:
    answer = dicom_json(study.mr[0], "http://x/bulkdata")
    assert answer["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert answer["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Phäntom^Synthetic"}]}
    assert answer["00200032"] == {"vr": "DS", "Value": [-90.0, -90.0, 0.0]}
    assert answer["7FE00010"] == {"vr": "OW", "BulkDataURI": "http://x/bulkdata/7FE00010"}
    assert list(answer) == sorted(answer)


def test_pydicom_reads_the_json_back(study: ViewerStudy) -> None:
    text = json.dumps(dicom_json(study.seg, "http://x"), allow_nan=False)
    again = Dataset.from_json(text, lambda _uri: study.seg.PixelData)
    plain = dcmread(_file(study.seg))
    assert again.PerFrameFunctionalGroupsSequence == plain.PerFrameFunctionalGroupsSequence
    assert again.SegmentSequence == plain.SegmentSequence
    assert again.PixelData == study.seg.PixelData


def test_small_binaries_stand_inline_and_large_ones_have_an_address_even_in_sequences() -> None:
    icon = Dataset()
    icon.add_new(0x00420011, "OB", bytes(2000))
    ds = _header(IconImageSequence=[icon])
    ds.add_new(0x00091001, "OB", b"\1\2")
    answer = dicom_json(ds, "http://x/bulkdata")
    assert answer["00091001"] == {"vr": "OB", "InlineBinary": "AQI="}
    inner = {"00420011": {"vr": "OB", "BulkDataURI": "http://x/bulkdata/00880200/0/00420011"}}
    assert answer["00880200"] == {"vr": "SQ", "Value": [inner]}
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert bulk_parts(ds, "00880200/0/00420011")[0].body == bytes(2000)


def test_sequences_that_are_too_deep_are_left_empty_and_too_many_elements_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ds = Dataset()
    for _ in range(DEEPEST + 5):
        outer = Dataset()
        outer.RequestAttributesSequence = [ds]
        ds = outer
    found: Any = dicom_json(ds, "root")
    depth = 0
    while "Value" in found.get("00400275", {}):
        found, depth = found["00400275"]["Value"][0], depth + 1
    assert (depth, found["00400275"]) == (DEEPEST, {"vr": "SQ"})
    most = 1000  # as many as are given by default take seconds to write
    monkeypatch.setattr("viewer_integration.dicom_json.MOST_ELEMENTS", most)
    many = Dataset()
    many.RequestAttributesSequence = [item := Dataset()] * (most // 2)
    item.Rows, item.Columns = 1, 1
    with pytest.raises(TooLarge):
        dicom_json(many, "root")


def test_numbers_that_json_cannot_write_are_text() -> None:
    ds = Dataset()
    ds.add_new(0x00189073, "FD", [float("nan"), float("inf"), float("-inf"), 1.5])
    answer = dicom_json(ds, "")
    assert answer["00189073"] == {"vr": "FD", "Value": ["NaN", "inf", "-inf", 1.5]}
    json.dumps(answer, allow_nan=False)


# --- frames ----------------------------------------------------------------------------------------------------------


def test_frames_of_single_bits_begin_in_a_byte_of_their_own(study: ViewerStudy) -> None:
    assert ROWS * UNALIGNED_COLUMNS % 8 != 0
    expected = study.seg.pixel_array
    for number in range(1, study.seg.NumberOfFrames + 1):
        part = frame_part(study.seg, number)
        bits = np.unpackbits(np.frombuffer(part.body, np.uint8), bitorder="little")
        assert len(part.body) == -(-ROWS * UNALIGNED_COLUMNS // 8)
        found = bits[: ROWS * UNALIGNED_COLUMNS].reshape(ROWS, UNALIGNED_COLUMNS)
        np.testing.assert_array_equal(found, expected[number - 1])
        assert not bits[ROWS * UNALIGNED_COLUMNS :].any()


def test_native_frames_are_little_endian_octets() -> None:
    pixels = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    expected = Part(
        content_type="application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", body=pixels[1].tobytes()
    )
    assert frame_part(_image(pixels), 2) == expected
    turned = _image(pixels.astype(">u2"), ExplicitVRBigEndian)
    turn_little_endian(turned)
    assert frame_part(turned, 2) == expected


@pytest.mark.parametrize(("syntax", "media_type"), [(RLELossless, "image/dicom-rle"), (JPEG2000Lossless, "image/jp2")])
def test_compressed_frames_pass_as_they_are(syntax: str, media_type: str) -> None:
    pixels = np.arange(2 * 64 * 64, dtype="<u2").reshape(2, 64, 64)
    ds = _image(pixels)
    ds.compress(syntax, generate_instance_uid=False)
    part = frame_part(ds, 2)
    assert part.content_type == f"{media_type}; transfer-syntax={syntax}"
    assert [one.body for one in bulk_parts(ds, "7FE00010")][1] == part.body
    alone = _image(pixels[1:])
    alone.compress(syntax, generate_instance_uid=False)
    alone.PixelData = encapsulate([part.body])
    np.testing.assert_array_equal(pixel_array(alone), pixels[1])


def test_float_pixels_have_frames_too() -> None:
    values = np.arange(8, dtype="<f4").reshape(2, 2, 2)
    ds = _image(values.astype("<u2"))
    del ds.PixelData
    ds.FloatPixelData = values.tobytes()
    assert frame_part(ds, 2).body == values[1].tobytes()


@pytest.mark.parametrize("number", [0, 3])
def test_a_frame_that_is_not_there_is_an_error(number: int) -> None:
    with pytest.raises(FrameError, match="the instance has 2 frames"):
        frame_part(_image(np.zeros((2, 3, 4), "<u2")), number)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("NumberOfFrames", "IS", b"2,0 "),
        ("NumberOfFrames", "LO", b"2 "),
        ("Rows", "DS", b"3,0 "),
        ("Columns", "IS", b"4 "),
    ],
)
def test_a_frame_is_laid_out_as_elsewhere(keyword: str, vr: str, value: bytes) -> None:
    """By the reader of all other rooms: what stands in another representation, or with a comma, is the same number."""
    pixels = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    ds = _image(pixels)
    put_raw(ds, keyword, vr, value)
    assert frame_part(ds, 2).body == pixels[1].tobytes()


def test_colours_of_which_two_pixels_share_some_are_cut_where_a_frame_ends() -> None:
    ds = _image(np.zeros((2, 3, 4), np.uint8))
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_FULL_422", 0
    ds.PixelData = bytes(range(2 * 3 * 4 * 2))
    assert frame_part(ds, 2).body == bytes(range(24, 48))


def test_missing_and_short_pixel_data_are_errors(study: ViewerStudy) -> None:
    with pytest.raises(FrameError, match="no pixel data"):
        frame_part(study.sr, 1)
    short = _image(np.zeros((2, 3, 4), "<u2"))
    short.PixelData = short.PixelData[:-2]
    with pytest.raises(FrameError, match="ends before frame 2"):
        frame_part(short, 2)
    del short.Rows
    with pytest.raises(FrameError, match="layout of its pixel data"):
        frame_part(short, 1)


@pytest.mark.parametrize("path", ["00100010", "7fe00010", "00880200/0", "00880200/0/00420011", "../x", ""])
def test_only_binary_values_are_bulk_data(study: ViewerStudy, path: str) -> None:
    with pytest.raises(FrameError):
        bulk_parts(study.mr[0], path)


def test_the_pixel_data_are_bulk_data(study: ViewerStudy) -> None:
    assert bulk_parts(study.seg, "7FE00010")[0].body == study.seg.PixelData


def test_a_multipart_message_has_its_parts_between_boundaries() -> None:
    parts = [Part(content_type="image/jp2; transfer-syntax=1.2", body=body) for body in (b"one", b"two")]
    assert b"".join(multipart(parts, "XYZ")) == (
        b"--XYZ\r\nContent-Type: image/jp2; transfer-syntax=1.2\r\n\r\none\r\n"
        b"--XYZ\r\nContent-Type: image/jp2; transfer-syntax=1.2\r\n\r\ntwo\r\n--XYZ--\r\n"
    )
    assert multipart_type(parts[0].content_type, "XYZ") == 'multipart/related; type="image/jp2"; boundary=XYZ'


def test_a_compressed_syntax_without_a_media_type_is_octets_with_its_name() -> None:
    assert part_type("1.2.840.10008.1.2.4.53") == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.53"


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PatientBirthDate", "US", b"\1\2\3"),
        ("RequestAttributesSequence", "SQ", b"\xfe\xff\x00\xe0"),
        ("SeriesNumber", "FD", b"\1\2\3"),
    ],
)
def test_a_value_that_nobody_can_read_hides_itself_alone(keyword: str, vr: str, value: bytes) -> None:
    header = reread(make_small_study("broken value", roles=["FLAIR"])[0])
    put_raw(header, keyword, vr, value)
    summary = StudySummary(modalities=("MR",), sop_classes=("1.2",), series=1, instances=1)
    for answer in (
        study_answer(header, summary, "http://node", Query()),
        series_answer(header, 1, "http://node", Query()),
    ):
        assert keyword not in answer
        assert answer.StudyInstanceUID == header.StudyInstanceUID
        assert "0020000D" in dicom_json(answer, "")
    assert not matches(Dataset(), header, parse_query([(keyword, "1")]))
    assert "Value" not in dicom_json(header, "")[f"{Tag(keyword):08X}"]  # type: ignore[operator]
