"""A header that is read without pydicom says what pydicom reads in it, or is left to that."""

import copy
import io
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from conversion.data_set_form import EXPLICIT, IMPLICIT, Form, form_of
from dicom_node.reception.plain_header import read_plainly
from tests.support.small_study import make_small_study

WANTED = tuple(Tag(name) for name in ("SpecificCharacterSet", "SOPInstanceUID", "PatientID", "SeriesInstanceUID"))
FORMS = pytest.mark.parametrize("form", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
BIG_ENDIAN = Form(implicit_vr=False, little_endian=False)


@cache
def _made() -> Dataset:
    return make_small_study("plain", roles=["FLAIR"])[0]


def _image() -> Dataset:
    return copy.deepcopy(_made())


def _encoded(ds: Dataset, form: Form) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = form.implicit_vr, form.little_endian
    plain = Dataset(ds)
    plain.set_original_encoding(form.implicit_vr, form.little_endian, "latin_1")
    write_dataset(buffer, plain)
    return buffer.getvalue()


def _by_pydicom(content: bytes, form: Form) -> Dataset:
    return read_dataset(
        io.BytesIO(content),
        form.implicit_vr,
        form.little_endian,
        stop_when=lambda tag, _vr, _length: tag > WANTED[-1],
        specific_tags=list(WANTED),
        at_top_level=False,
    )


def _assert_alike(content: bytes, form: Form) -> bool:
    """Assert that what is read is what pydicom reads; tell whether anything is."""
    stream = io.BytesIO(content)
    read = read_plainly(stream, form, WANTED)
    if read is None:
        assert stream.tell() == 0
        return False
    assert form_of(io.BytesIO(content), len(content), form) == form
    other = _by_pydicom(content, form)
    assert {tag: read.get_item(tag) for tag in read.keys()} == {tag: other.get_item(tag) for tag in other.keys()}  # noqa: SIM118
    assert (read.original_character_set, read.original_encoding) == (
        other.original_character_set,
        other.original_encoding,
    )
    return True


@FORMS
@pytest.mark.parametrize("character_set", ["ISO_IR 100", "ISO_IR 192", "ISO_IR 6", None])
def test_an_image_as_they_mostly_are_is_read(form: Form, character_set: str | None) -> None:
    ds = _image()
    del ds.SpecificCharacterSet
    if character_set is not None:
        ds.SpecificCharacterSet = character_set
    assert _assert_alike(_encoded(ds, form), form)


@FORMS
def test_an_empty_identifier_is_read_as_empty(form: Form) -> None:
    ds = _image()
    ds.PatientID = ""
    assert _assert_alike(_encoded(ds, form), form)


@FORMS
def test_a_data_set_behind_a_header_is_read_where_it_begins(form: Form) -> None:
    stream = io.BytesIO(bytes(500) + _encoded(_image(), form))
    stream.seek(500)
    read = read_plainly(stream, form, WANTED)
    assert read is not None
    assert read.SOPInstanceUID == _image().SOPInstanceUID


@FORMS
@pytest.mark.parametrize("character_set", ["ISO_IR 13", "GB18030", ["", "ISO 2022 IR 87"]])
def test_other_character_sets_are_left_to_pydicom(form: Form, character_set: str | list[str]) -> None:
    ds = _image()
    ds.SpecificCharacterSet = character_set
    assert not _assert_alike(_encoded(ds, form), form)


@FORMS
def test_a_sequence_of_undefined_length_is_left_to_pydicom(form: Form) -> None:
    ds = _image()
    ds.ReferencedStudySequence = Sequence([Dataset()])
    assert _assert_alike(_encoded(ds, form), form)
    ds["ReferencedStudySequence"].is_undefined_length = True
    assert not _assert_alike(_encoded(ds, form), form)


@pytest.mark.parametrize("form", [None, BIG_ENDIAN])
def test_another_form_is_left_to_pydicom(form: Form | None) -> None:
    assert read_plainly(io.BytesIO(_encoded(_image(), form or EXPLICIT)), form, WANTED) is None


@FORMS
def test_what_is_in_another_form_than_was_agreed_is_left_to_pydicom(form: Form) -> None:
    other = IMPLICIT if form == EXPLICIT else EXPLICIT
    assert not _assert_alike(_encoded(_image(), other), form)


@FORMS
def test_too_few_elements_to_tell_a_form_are_left_to_pydicom(form: Form) -> None:
    ds = Dataset()
    ds.SOPInstanceUID, ds.PatientID, ds.SeriesInstanceUID, ds.Rows = "1.2.3", "P", "1.2.4", 1
    assert not _assert_alike(_encoded(ds, form), form)


@FORMS
@pytest.mark.parametrize("size", [0, 7, 100, 500])
def test_what_is_cut_short_is_left_to_pydicom(form: Form, size: int) -> None:
    assert not _assert_alike(_encoded(_image(), form)[:size], form)


@FORMS
@settings(deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=4))
def test_whatever_is_damaged_is_read_alike_or_left_to_pydicom(form: Form, changes: list[tuple[int, int]]) -> None:
    content = bytearray(_encoded(_made(), form))
    for at, value in changes:
        content[at] = value
    _assert_alike(bytes(content), form)
