"""The DICOM JSON model value by value, against PS3.18 annex F and without a look at what stays on disk."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.raw_values import put_raw, reread
from viewer_integration.dicom_json import dicom_json, element_vr


def _of(keyword: str, value: object) -> object:
    ds = Dataset()
    setattr(ds, keyword, value)
    return dicom_json(ds, "root")[f"{Tag(keyword):08X}"]


def _of_bytes(keyword: str, vr: str | None, value: bytes) -> object:
    ds = Dataset()
    put_raw(ds, keyword, vr, value)
    return dicom_json(ds, "root")[f"{Tag(keyword):08X}"]


@pytest.mark.parametrize(
    ("keyword", "value", "written"),
    [
        ("StudyDate", "20240102", {"vr": "DA", "Value": ["20240102"]}),
        ("ImageType", ["ORIGINAL", "PRIMARY"], {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]}),
        ("ImageType", ["ORIGINAL", "", "M"], {"vr": "CS", "Value": ["ORIGINAL", None, "M"]}),
        ("InstanceNumber", "12", {"vr": "IS", "Value": [12]}),
        ("EchoTime", "12.50", {"vr": "DS", "Value": [12.5]}),
        ("Rows", 512, {"vr": "US", "Value": [512]}),
        ("FrameIncrementPointer", 0x00180014, {"vr": "AT", "Value": ["00180014"]}),
        ("SOPInstanceUID", "1.2.3", {"vr": "UI", "Value": ["1.2.3"]}),
        ("AccessionNumber", "", {"vr": "SH"}),
        ("PixelSpacing", None, {"vr": "DS"}),
        ("RequestAttributesSequence", [], {"vr": "SQ"}),
        ("RequestAttributesSequence", [Dataset()], {"vr": "SQ", "Value": [{}]}),
    ],
)
def test_each_kind_of_value_has_its_form(keyword: str, value: object, written: object) -> None:
    assert _of(keyword, value) == written


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("Doe^Jane", {"Alphabetic": "Doe^Jane"}),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう",
         {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}),
        ("=山田", {"Ideographic": "山田"}),
    ],
)  # fmt: skip
def test_a_name_is_an_object_of_its_groups(name: str, groups: dict[str, str]) -> None:
    written = _of("PatientName", name)
    assert isinstance(written, dict)
    assert written["vr"] == "PN"
    assert [{group: text for group, text in one.items() if text} for one in written["Value"]] == [groups]


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("EchoTime", "DS", b"12,5"),
        ("EchoTime", "DS", b"fast"),
        ("InstanceNumber", "IS", b"one"),
        ("Rows", "US", b"\1"),
    ],
)
def test_a_value_that_breaks_its_representation_is_empty_and_the_next_is_there(
    keyword: str, vr: str, value: bytes
) -> None:
    ds = Dataset()
    put_raw(ds, keyword, vr, value)
    ds.StudyDescription = "Brain"
    answer = dicom_json(ds, "root")
    assert answer[f"{Tag(keyword):08X}"] == {"vr": vr}
    assert answer["00081030"] == {"vr": "LO", "Value": ["Brain"]}


def test_the_character_set_is_that_of_the_json_whatever_the_file_has() -> None:
    assert dicom_json(Dataset(), "") == {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    (ds,) = mr_slices(np.zeros((1, 2, 2), np.uint16), axis_aligned("axial"), PatientName="Müller^Jörg")
    answer = dicom_json(reread(ds), "")
    assert answer["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert answer["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]}


def test_lengths_of_groups_are_left_out_and_the_rest_is_in_order() -> None:
    ds = Dataset()
    ds.add_new(0x00200000, "UL", 8)
    ds.StudyID, ds.PatientID, ds.Rows = "1", "P", 1
    assert list(dicom_json(ds, "")) == ["00080005", "00100020", "00200010", "00280010"]


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "written"),
    [
        ("PixelPaddingValue", "US or SS", 7, {"vr": "US", "Value": [7]}),
        ("LUTData", "US or OW", b"\1\2", {"vr": "OW", "InlineBinary": "AQI="}),
    ],
)
def test_a_representation_that_nobody_decided_is_one_of_the_two(
    keyword: str, vr: str, value: object, written: object
) -> None:
    ds = Dataset()
    ds.add_new(Tag(keyword), vr, value)
    assert dicom_json(ds, "")[f"{Tag(keyword):08X}"] == written


@pytest.mark.parametrize(("length", "kind"), [(1024, "InlineBinary"), (1026, "BulkDataURI")])
def test_binary_values_of_more_than_1_kib_are_given_by_reference(length: int, kind: str) -> None:
    ds = Dataset()
    ds.add_new(0x00420011, "OB", bytes(length))
    written = dicom_json(ds, "http://x/b")["00420011"]
    assert isinstance(written, dict)
    assert set(written) == {"vr", kind}
    assert written[kind] == ("http://x/b/00420011" if kind == "BulkDataURI" else "AAAA" * 341 + "AA==")


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009, 0x7FE00010])
def test_pixels_are_given_by_reference_however_small(tag: int) -> None:
    vr = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OB"}[tag]
    ds = Dataset()
    ds.add_new(tag, vr, bytes(8))
    assert dicom_json(ds, "b")[f"{tag:08X}"] == {"vr": vr, "BulkDataURI": f"b/{tag:08X}"}


def test_addresses_count_the_items_of_each_sequence_from_0() -> None:
    inner, outer, ds = [Dataset(), Dataset()], Dataset(), Dataset()
    inner[1].add_new(0x00420011, "OB", bytes(2000))
    outer.RequestAttributesSequence = inner
    ds.RequestAttributesSequence = [Dataset(), Dataset(), outer]
    text = json.dumps(dicom_json(ds, "b"))
    assert '"BulkDataURI": "b/00400275/2/00400275/1/00420011"' in text
    assert text.count("BulkDataURI") == 1


def test_a_long_text_is_no_bulk_data() -> None:
    assert _of("ImageComments", "x" * 5000) == {"vr": "LT", "Value": ["x" * 5000]}


def test_what_stays_on_disk_is_not_read(tmp_path: Path) -> None:
    (ds,) = mr_slices(np.zeros((1, 64, 64), np.uint16), axis_aligned("axial"))
    ds.add_new(0x00420011, "OB", bytes(4000))
    ds.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    deferred = dcmread(tmp_path / "image.dcm", defer_size=2048)
    (tmp_path / "image.dcm").unlink()
    answer = dicom_json(deferred, "b")
    assert answer["00420011"] == {"vr": "OB", "BulkDataURI": "b/00420011"}
    assert answer["7FE00010"] == {"vr": "OW", "BulkDataURI": "b/7FE00010"}
    left = deferred.get_item("PixelData", keep_deferred=True)
    assert isinstance(left, RawDataElement)
    assert left.value is None


def test_private_values_of_an_unknown_kind_are_octets() -> None:
    ds = Dataset()
    ds.add_new(0x00090010, "LO", "ACME")
    ds._dict[Tag(0x00091001)] = RawDataElement(
        Tag(0x00091001), None, 2, b"\1\2", 0, is_implicit_VR=True, is_little_endian=True
    )
    assert dicom_json(ds, "b")["00091001"] == {"vr": "UN", "InlineBinary": "AQI="}


@pytest.mark.parametrize(
    ("keyword", "vr", "found"), [("EchoTime", None, "DS"), ("EchoTime", "UN", "UN"), ("PatientName", "LO", "LO")]
)
def test_the_representation_is_the_files_own_before_the_dictionarys(keyword: str, vr: str | None, found: str) -> None:
    ds = Dataset()
    put_raw(ds, keyword, vr, b"12")
    assert element_vr(ds.get_item(keyword), Tag(keyword)) == found
    assert element_vr(None, Tag(keyword)) == ("DS" if keyword == "EchoTime" else "PN")
    assert element_vr(None, Tag(0x00091001)) == "UN"


def test_pydicom_reads_a_whole_header_back() -> None:
    (ds,) = mr_slices(np.zeros((1, 2, 2), np.uint16), axis_aligned("coronal"))
    ds.RequestAttributesSequence = [item := Dataset()]
    item.ScheduledProcedureStepID = "S1"
    del ds.PixelData
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    plain = dcmread(io.BytesIO(buffer.getvalue()))
    again = Dataset.from_json(json.dumps(dicom_json(plain, "b"), allow_nan=False))
    assert again.SpecificCharacterSet == "ISO_IR 192"
    del again.SpecificCharacterSet, plain.SpecificCharacterSet
    assert again == plain
