"""How a data set is written is seen from its first elements: against pydicom's own writer, and by hand."""

import io
import struct

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from conversion.data_set_form import (
    ELEMENTS,
    EXPLICIT,
    IMPLICIT,
    UNDEFINED_LENGTH,
    ElementHead,
    Form,
    element_at,
    form_of,
)

BIG = Form(implicit_vr=False, little_endian=False)
FORMS = [EXPLICIT, IMPLICIT, BIG]


def _header() -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet, ds.SOPClassUID, ds.SOPInstanceUID = "ISO_IR 100", MRImageStorage, "1.2.3.4"
    ds.StudyDate, ds.Modality, ds.PatientID, ds.SeriesNumber = "20240102", "MR", "TEST-1", 7
    ds.Rows, ds.Columns, ds.EchoTime = 256, 192, 90.0
    return ds


def _written(ds: Dataset, form: Form) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = form.implicit_vr, form.little_endian
    write_dataset(stream, ds)
    return stream.getvalue()


def _form(content: bytes, stated: Form | None = None) -> Form | None:
    return form_of(io.BytesIO(content), len(content), stated)


def _implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


@pytest.mark.parametrize(
    ("form", "syntax"),
    [(EXPLICIT, ExplicitVRLittleEndian), (IMPLICIT, ImplicitVRLittleEndian), (BIG, ExplicitVRBigEndian)],
)
def test_a_form_has_the_transfer_syntax_of_the_standard(form: Form, syntax: UID) -> None:
    assert form.transfer_syntax == syntax


@pytest.mark.parametrize("stated", [None, *FORMS])
@pytest.mark.parametrize("form", FORMS)
def test_a_data_set_is_read_in_its_own_form_whatever_is_stated(form: Form, stated: Form | None) -> None:
    assert _form(_written(_header(), form), stated) == form


@pytest.mark.parametrize("form", FORMS)
def test_a_data_set_of_one_element_and_nothing_else_is_enough(form: Form) -> None:
    ds = Dataset()
    ds.Modality = "MR"
    assert _form(_written(ds, form)) == form


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_of_undefined_length_ends_the_look_at_its_first_item(form: Form) -> None:
    ds, item = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID = "1.2.3"
    ds.SOPClassUID, ds.ReferencedStudySequence, ds.Rows = MRImageStorage, [item], 256
    ds["ReferencedStudySequence"].is_undefined_length = True
    assert _form(_written(ds, form)) == form


def test_what_precedes_the_data_set_is_passed_over_and_the_place_is_kept() -> None:
    content = b"\0" * 128 + b"DICM" + _written(_header(), IMPLICIT)
    stream = io.BytesIO(content)
    stream.seek(132)
    assert form_of(stream, len(content), EXPLICIT) == IMPLICIT
    assert stream.tell() == 132


@pytest.mark.parametrize("content", [b"", b"\x08\x00", b"JFIF" * 40, bytes(200), b"\xff" * 200])
def test_bytes_of_no_form_have_none(content: bytes) -> None:
    assert [_form(content, stated) for stated in (None, *FORMS)] == [None] * 4


def test_a_data_set_begins_with_a_group_that_can_be_first() -> None:
    ds = Dataset()
    ds.Rows = 256
    assert _form(_written(ds, EXPLICIT)) is None
    ds.Modality = "MR"
    assert _form(_written(ds, EXPLICIT)) == EXPLICIT


def test_elements_out_of_order_are_read_as_stated_and_not_without_a_statement() -> None:
    content = _implicit(0x0008_0060, b"MR") + _implicit(0x0008_0016, b"1.2\0")
    assert _form(content, IMPLICIT) == IMPLICIT
    assert _form(content) is None


def test_an_element_that_reaches_beyond_the_end_is_read_as_stated_and_not_without_a_statement() -> None:
    content = _implicit(0x0008_0060, b"MR", 400)
    assert _form(content, IMPLICIT) == IMPLICIT
    assert _form(content) is None
    assert _form(content, EXPLICIT) is None


def test_only_what_can_hold_items_has_no_length() -> None:
    head = struct.pack("<HH2sHI", 0x0008, 0x0060, b"UT", 0, UNDEFINED_LENGTH)
    assert _form(head + _implicit(0xFFFE_E000, b"")) is None
    assert _form(head.replace(b"UT", b"SQ") + _implicit(0xFFFE_E000, b"")) == EXPLICIT
    assert _form(head.replace(b"UT", b"SQ") + _implicit(0x0008_0060, b"")) is None


@pytest.mark.parametrize(("right", "form"), [(ELEMENTS, IMPLICIT), (ELEMENTS - 1, None)])
def test_the_first_elements_decide(right: int, form: Form | None) -> None:
    content = b"".join(_implicit(0x0008_0100 + k, b"ab") for k in range(right)) + _implicit(0x0008_0001, b"")
    assert _form(content) == form


@pytest.mark.parametrize(
    ("form", "content", "head"),
    [
        (IMPLICIT, _implicit(0x0028_0010, b"\0\1"), ElementHead(tag=0x0028_0010, vr=b"", length=2, value_at=8)),
        (EXPLICIT, b"\x28\0\x10\0US\2\0\0\1", ElementHead(tag=0x0028_0010, vr=b"US", length=2, value_at=8)),
        (BIG, b"\0\x28\0\x10US\0\2\1\0", ElementHead(tag=0x0028_0010, vr=b"US", length=2, value_at=8)),
        (
            EXPLICIT,
            b"\xe0\x7f\x10\0OW\0\0\0\0\1\0",
            ElementHead(tag=0x7FE0_0010, vr=b"OW", length=65536, value_at=12),
        ),
        (BIG, b"\x7f\xe0\0\x10OW\0\0\0\1\0\0", ElementHead(tag=0x7FE0_0010, vr=b"OW", length=65536, value_at=12)),
    ],
)
def test_the_head_of_an_element_is_read(form: Form, content: bytes, head: ElementHead) -> None:
    assert element_at(io.BytesIO(content), form, 0) == head
    moved = element_at(io.BytesIO(b"abc" + content), form, 3)
    assert moved is not None
    assert moved.value_at == head.value_at + 3


@pytest.mark.parametrize("content", [b"\x28\0\x10\0US\2", b"\x28\0\x10\0us\2\0\0\1", b"\xe0\x7f\x10\0OW\0\0\0\0"])
def test_what_is_cut_off_or_names_no_vr_is_no_explicit_element(content: bytes) -> None:
    assert element_at(io.BytesIO(content), EXPLICIT, 0) is None
