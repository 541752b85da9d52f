"""Values of study, patient and equipment one by one: what is copied, what is rewritten, and what is left out."""

from copy import deepcopy

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR

from conversion.values import written
from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.raw_values import put_raw, reread
from viewer_integration.study_values import StudyValues, put_study_values, study_values

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR", "ignore:The value length", "ignore:Value")

REQUIRED = {
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
}


def _of(keyword: str, value: bytes, vr: str = "") -> StudyValues:
    ds = Dataset()
    put_raw(ds, keyword, vr or dictionary_VR(keyword), value)
    return study_values(ds)


def _put(values: StudyValues) -> Dataset:
    ds = Dataset()
    ds.update(values.conforming)
    put_study_values(ds, values)
    return ds


def test_an_empty_header_has_every_required_attribute_empty_and_nothing_else() -> None:
    """Patient and General Study modules: type 2 (PS3.3 C.7.1.1, C.7.2.1)."""
    found = study_values(Dataset())
    assert {element.keyword for element in found.conforming} == REQUIRED
    assert all(not element.value for element in found.conforming)
    assert (found.as_they_are, found.decisions) == ((), ())


@pytest.mark.parametrize(
    ("keyword", "stored", "form"),
    [
        ("StudyDate", b"20240102", "20240102"),
        ("StudyDate", b"2024.01.02", "20240102"),
        ("PatientBirthDate", b"1970-12-31", "19701231"),
        ("StudyTime", b"10:15", "101500"),
        ("StudyTime", b"10:15:30.25", "101530.250000"),
        ("StudyTime", b"101530.25", "101530.25"),
        ("StudyTime", b"1015", "1015"),
        ("PatientAge", b"45Y", "045Y"),
        ("PatientAge", b"6 months", "006M"),
        ("PatientWeight", b"71,5", "71.5"),
        ("PatientWeight", b"71.5 kg", None),
        ("PatientSize", b"1.75 ", "1.75"),
        ("PatientID", b" 007 ", " 007"),
        ("SoftwareVersions", b"syngo\\VB20", "syngo\\VB20"),
    ],
)
def test_a_readable_value_is_written_in_the_form_of_dicom(keyword: str, stored: bytes, form: str | None) -> None:
    found = _of(keyword, stored)
    assert (written(found.conforming, keyword) or None) == form
    assert [decision.code for decision in found.decisions] == ([] if form else ["header_emptied"])
    assert found.as_they_are == ()


@pytest.mark.parametrize("weight", [b"1,250", b"nan", b"70-75", b"heavy"])
def test_a_number_that_nobody_can_be_sure_of_is_left_out(weight: bytes) -> None:
    found = _of("PatientWeight", weight)
    assert "PatientWeight" not in _put(found)
    (decision,) = found.decisions
    assert decision.reason == "the images' PatientWeight breaks the standard, so the result does not contain it"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("AccessionNumber", "A" * 20),
        ("StudyDescription", "d" * 65),
        ("EthnicGroup", "e" * 17),
        ("PatientAge", "middle-aged"),
        ("StudyTime", "25:00"),
        ("PatientSex", "X"),
        ("StudyID", "1\\2"),
    ],
)
def test_what_people_search_by_is_kept_to_the_letter(keyword: str, value: str) -> None:
    found = _of(keyword, value.encode())
    assert not found.conforming.get(keyword)
    assert written(_put(found), keyword) == value
    (decision,) = found.decisions
    reason = f"the images' {keyword} breaks the standard; the result keeps it, so that both are filed together"
    assert (decision.code, decision.subject, decision.reason) == ("header_kept", keyword, reason)


@pytest.mark.parametrize(
    ("keyword", "value"), [("Manufacturer", b"m" * 65), ("StationName", b"s" * 17), ("InstitutionAddress", b"a" * 1025)]
)
def test_what_describes_the_scanner_is_left_out_where_it_breaks_the_standard(keyword: str, value: bytes) -> None:
    assert keyword in _of(keyword, value[:-1]).conforming
    found = _of(keyword, value)
    assert keyword not in _put(found)
    assert [(decision.code, decision.subject) for decision in found.decisions] == [("header_emptied", keyword)]


@pytest.mark.parametrize("name", ["Doe^Jane", "", "no carets", "x" * 90, "a=b=c=d"])
def test_a_name_waits_until_the_object_is_made_and_no_decision_tells_of_it(name: str) -> None:
    found = _of("PatientName", name.encode())
    assert not found.conforming.PatientName
    assert str(_put(found).PatientName) == name
    assert found.decisions == ()


def test_of_all_attributes_those_of_patient_study_and_scanner_are_carried() -> None:
    ds = Dataset()
    ds.PatientComments, ds.ClinicalTrialProtocolID, ds.StudyDescription = "c", "t", "d"
    ds.StationName, ds.SeriesDescription, ds.EchoTime, ds.StudyInstanceUID = "s", "not this", 12.0, "1.2"
    ds.add_new(0x00110010, "LO", "ACME")
    ds.add_new(0x00101FFF, "LO", "in the patient's group, but in no dictionary")
    carried = {element.keyword for element in study_values(ds).conforming} - REQUIRED
    assert carried == {"PatientComments", "ClinicalTrialProtocolID", "StudyDescription", "StationName"}


def test_a_binary_value_of_the_wrong_size_is_left_out() -> None:
    assert _of("PregnancyStatus", b"\x04\0").conforming.PregnancyStatus == 4
    found = _of("PregnancyStatus", b"\x04")
    assert "PregnancyStatus" not in _put(found)
    assert [decision.code for decision in found.decisions] == ["header_emptied"]


@pytest.mark.parametrize(("vr", "value"), [("SQ", b"rubbish"), ("LO", b"DOG")])
def test_what_should_be_a_sequence_and_is_none_is_left_out(vr: str, value: bytes) -> None:
    found = _of("PatientSpeciesCodeSequence", value, vr)
    assert "PatientSpeciesCodeSequence" not in _put(found)
    assert [decision.subject for decision in found.decisions] == ["PatientSpeciesCodeSequence"]


def test_texts_within_sequences_become_unicode_and_the_image_keeps_its_own() -> None:
    (ds,) = mr_slices(np.zeros((1, 2, 2), np.uint16), axis_aligned("axial"), SpecificCharacterSet="ISO_IR 126")
    ds.OtherPatientIDsSequence = [item := Dataset()]
    item.PatientID = "Ωμέγα"
    ds = reread(ds)
    before = deepcopy(ds)
    (found,) = study_values(ds).conforming.OtherPatientIDsSequence
    made = Dataset()
    made.SpecificCharacterSet, made.OtherPatientIDsSequence, made.file_meta = "ISO_IR 192", [found], ds.file_meta
    made.SOPClassUID, made.SOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    assert reread(made).OtherPatientIDsSequence[0].PatientID == "Ωμέγα"
    found.PatientID = "changed"
    assert ds == before


def test_values_are_put_over_those_that_stood_there() -> None:
    ds = Dataset()
    ds.AccessionNumber, ds.PatientName, ds.StudyID = "made", "made", "kept"
    put_study_values(ds, _of("AccessionNumber", b"A" * 17))
    assert (ds.AccessionNumber, str(ds.PatientName), ds.StudyID) == ("A" * 17, "made", "kept")
