"""The identity of an instance is read in whatever form its data set is written, and nothing behind it is read."""

import contextlib
import io
import zlib
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from dicom_node.reception import identity
from dicom_node.reception.identity import InboxRefusal, check_identity, read_file_identity, read_identity
from tests.support.raw_values import put_raw, reread

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
WRITTEN = {"explicit": (False, True), "implicit": (True, True), "big endian": (False, False)}
"""For each form whether its VRs are implicit, and whether it is little endian."""


@pytest.fixture
def image() -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet, ds.ImageType = "ISO_IR 100", ["ORIGINAL", "PRIMARY", "M"]
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, "1.2.3.4.5"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.Modality = "20240102", "100000", "A1", "MR"
    ds.PatientName, ds.PatientID = "SMALL^STUDY", "SMALL-1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.StudyID = "1.2.3.4", "1.2.3.4.9", "1"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.PixelRepresentation, ds.PixelData = 2, 2, 16, 0, bytes(8)
    return ds


def _encoded(ds: Dataset, form: str) -> bytes:
    """Return a data set in a form; ``deflated`` is explicit and compressed without a header (PS3.5 A.5)."""
    if form == "deflated":
        return _deflated(_encoded(ds, "explicit"))
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = WRITTEN[form]
    write_dataset(buffer, ds)
    return buffer.getvalue()


def _deflated(plain: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()


def _stated(ds: Dataset) -> dict[str, str]:
    return {keyword: str(ds[keyword].value) for keyword in (*UIDS, "SOPClassUID", "PatientID")}


@pytest.mark.parametrize("form", [*WRITTEN, "deflated"])
@pytest.mark.parametrize(
    "negotiated",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        JPEG2000Lossless,
        "1.2.3.4",
    ],
)
def test_a_data_set_is_read_as_it_is_written_whatever_was_negotiated(
    image: Dataset, form: str, negotiated: str
) -> None:
    encoded = _encoded(image, form)
    stream = io.BytesIO(b"head" + encoded)
    stream.seek(4)
    found = read_identity(stream, len(encoded), negotiated)
    assert _stated(found) == _stated(image)
    assert {element.keyword for element in found} <= {*_stated(image), "SpecificCharacterSet"}


def test_a_patient_id_is_read_in_its_character_set(image: Dataset) -> None:
    image.SpecificCharacterSet, image.PatientID = "ISO_IR 192", "Größe-1"
    encoded = _encoded(image, "implicit")
    assert read_identity(io.BytesIO(encoded), len(encoded), ImplicitVRLittleEndian).PatientID == "Größe-1"


@pytest.mark.parametrize(("limit", "is_found"), [(2**16, True), (2**12, False)])
def test_a_large_data_set_is_read_as_far_as_headers_may_reach(
    image: Dataset, monkeypatch: pytest.MonkeyPatch, limit: int, *, is_found: bool
) -> None:
    monkeypatch.setattr(identity, "_HEADERS_BYTES", limit)
    image.add_new(0x00090010, "LO", "GLIONODE TESTS")
    image.add_new(0x00091001, "OB", bytes(60_000))  # before the UIDs
    image.PixelData = bytes(100_000)
    stream = io.BytesIO(_encoded(image, "explicit"))
    found = Dataset()
    with contextlib.suppress(InboxRefusal):
        found = read_identity(stream, len(stream.getvalue()), ExplicitVRLittleEndian)
    assert ("StudyInstanceUID" in found) is is_found
    assert stream.tell() <= limit + 1024


@pytest.mark.parametrize("negotiated", [DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_deflated_data_set_that_was_cut_is_refused(image: Dataset, negotiated: str) -> None:
    cut = _encoded(image, "deflated")[:-20]
    with pytest.raises(InboxRefusal, match="the deflated data set is incomplete") as caught:
        read_identity(io.BytesIO(cut), len(cut), negotiated)
    assert caught.value.code == "unreadable_data_set"


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0\0"])
def test_what_pads_a_deflated_data_set_is_let_be(image: Dataset, padding: bytes) -> None:
    padded = _encoded(image, "deflated") + padding
    found = read_identity(io.BytesIO(padded), len(padded), DeflatedExplicitVRLittleEndian)
    assert _stated(found) == _stated(image)


def test_a_deflated_data_set_is_limited_by_what_it_inflates_to(image: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAXIMUM_INFLATED_BYTES", 2**20)
    plain = _encoded(image, "explicit")
    largest, larger = (_deflated(plain + bytes(2**20 - len(plain) + more)) for more in (0, 1))
    read_identity(io.BytesIO(largest), len(largest), DeflatedExplicitVRLittleEndian)
    assert len(larger) < 5000
    with pytest.raises(InboxRefusal, match="assumed to be damaged: it is larger than 1 MiB"):
        read_identity(io.BytesIO(larger), len(larger), DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("noise", [b"\xff" * 400, b"no DICOM at all" * 20])
def test_noise_is_refused_in_a_sentence_and_read_no_further(noise: bytes) -> None:
    with pytest.raises(InboxRefusal, match=r"is damaged or incomplete: it cannot be read as DICOM \(\w+\)") as caught:
        read_identity(io.BytesIO(noise), len(noise), DeflatedExplicitVRLittleEndian)
    assert caught.value.code == "unreadable_data_set"


def test_a_file_that_cannot_be_read_is_a_fault_of_the_disk_and_not_of_the_data_set(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as write_only, pytest.raises(OSError, match="read"):
        read_identity(write_only, 100, ExplicitVRLittleEndian)


def test_of_a_file_its_meta_information_is_read_as_well(image: Dataset) -> None:
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    found = read_file_identity(buffer.getvalue())
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert _stated(found) == _stated(image)
    assert {"StudyID", "PixelData", "PatientName"} & {element.keyword for element in found} == set()


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(InboxRefusal, match="cannot be read as DICOM"):
        read_file_identity(b"no DICOM")


@pytest.mark.parametrize("uid", ["1.2", "1.2.03", "0.0", ".".join(["1"] * 32), "1." + "2" * 62])
def test_a_uid_of_the_standard_and_one_with_leading_zeros_are_taken_as_they_are(image: Dataset, uid: str) -> None:
    image = reread(image)
    put_raw(image, "StudyInstanceUID", "UI", uid.encode())
    assert check_identity(image, str(image.SOPInstanceUID)) == (uid, str(image.SeriesInstanceUID))


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("uid", ["", "1", "1.2.", ".1.2", "1..2", "1.2/3", "../1.2", "1.2a", "1.²", "1." + "2" * 63])
def test_what_is_no_uid_is_refused_by_its_keyword(image: Dataset, keyword: str, uid: str) -> None:
    image, stated = reread(image), str(image.SOPInstanceUID)
    put_raw(image, keyword, "UI", uid.encode("latin-1"))
    with pytest.raises(InboxRefusal, match=f"the data set has no valid {keyword}: it is damaged, incomplete") as caught:
        check_identity(image, stated)
    assert caught.value.code == "invalid_uid"


def test_a_data_set_that_is_another_instance_than_the_request_states_is_refused(image: Dataset) -> None:
    with pytest.raises(InboxRefusal, match="SOP Instance UID differs from that of the request") as caught:
        check_identity(image, f"{image.SOPInstanceUID}.1")
    assert caught.value.code == "uid_mismatch"
