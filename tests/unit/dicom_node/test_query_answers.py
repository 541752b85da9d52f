"""Answers to queries, whose values may be missing, of the wrong kind or far too large."""

from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node.peers.query_answers import LONGEST_TEXT, Answer, is_uid, json_answer, same_uid
from tests.support.raw_values import put_raw

TAGS = {"StudyInstanceUID": "0020000D", "PatientName": "00100010", "ModalitiesInStudy": "00080061"}


def _found(**values: bytes) -> Answer:
    """Return an answer by C-FIND with text values as they are encoded."""
    ds = Dataset()
    for keyword, value in values.items():
        put_raw(ds, keyword, {"PatientName": "PN", "ModalitiesInStudy": "CS"}.get(keyword, "UI"), value)
    return Answer.of(ds)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("1.2.840.10008", True),
        ("1.02", True),
        ("1." + "3" * 62, True),
        ("1." + "3" * 63, False),
        ("1", False),
        ("", False),
        ("1.2.", False),
        ("1.2 ", False),
        ("1.2\n", False),
        ("1.*", False),
    ],
)
def test_a_usable_uid_has_two_numbers_or_more_in_64_characters(text: str, *, valid: bool) -> None:
    assert is_uid(text) is valid


def test_an_answer_that_states_no_uid_is_about_what_was_asked() -> None:
    assert [same_uid(stated, "1.2") for stated in ("1.2", "", "1.20", "1.2.3")] == [True, True, False, False]
    assert _found().is_about("StudyInstanceUID", "1.2")
    assert not _found(StudyInstanceUID=b"1.3").is_about("StudyInstanceUID", "1.2")


@pytest.mark.parametrize("written", [b"1.2.3", b"1.2.3\0", b" 1.2.3 ", b"1.2.3\0\0", b"1.2.3\r\n"])
def test_padding_is_no_part_of_a_value(written: bytes) -> None:
    assert _found(StudyInstanceUID=written).uid("StudyInstanceUID") == "1.2.3"


def test_of_several_values_none_is_the_one() -> None:
    several = _found(ModalitiesInStudy=b"MR\\SR \\SEG", StudyInstanceUID=b"1.2\\1.3")
    assert several.all("ModalitiesInStudy") == ("MR", "SR", "SEG")
    assert (several.one("ModalitiesInStudy"), several.uid("StudyInstanceUID")) == ("", "")
    assert (several.all("PatientName"), several.one("PatientName")) == ((), "")


@pytest.mark.parametrize("written", [b"A" * (LONGEST_TEXT + 1), b"DOE\x1b[31m^JOHN", b"DOE\nJOHN", b"DOE\0JOHN"])
def test_a_value_that_is_too_long_or_no_line_of_text_is_none(written: bytes) -> None:
    assert _found(PatientName=b"A" * LONGEST_TEXT).one("PatientName") == "A" * LONGEST_TEXT
    assert _found(PatientName=written).all("PatientName") == ()


@pytest.mark.parametrize("written", [b"no UID", b"1.2.3/4", b"1." + b"3" * 63])
def test_what_is_no_uid_is_not_taken_for_one(written: bytes) -> None:
    assert _found(StudyInstanceUID=written).uid("StudyInstanceUID") == ""


@pytest.mark.parametrize(
    "error", [ValueError(), KeyError(), TypeError(), ZeroDivisionError(), NotImplementedError(), OSError()]
)
def test_a_value_that_cannot_be_read_is_none(error: Exception) -> None:
    def values(_keyword: str) -> tuple[str, ...]:
        raise error

    assert Answer(values=values).all("PatientName") == ()


@pytest.mark.parametrize(
    ("element", "values"),
    [
        ({"vr": "CS", "Value": ["MR", " SR"]}, ("MR", "SR")),
        ({"vr": "CS", "Value": [None, "MR"]}, ("MR",)),
        ({"vr": "IS", "Value": [7]}, ("7",)),
        ({"vr": "CS", "Value": []}, ()),
        ({"vr": "CS"}, ()),
        ({"vr": "CS", "Value": "MR"}, ()),
        ({"vr": "CS", "Value": {"0": "MR"}}, ()),
        ({"vr": "CS", "Value": [["MR"]]}, ()),
        ({"vr": "CS", "Value": ["MR", {"Alphabetic": 5j}]}, ()),
        ("MR", ()),
        (None, ()),
    ],
)
def test_an_element_of_json_is_read_or_empty_whatever_it_is(element: object, values: tuple[str, ...]) -> None:
    assert json_answer({"00080061": element}, TAGS).all("ModalitiesInStudy") == values


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ({"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}, "Yamada^Tarou"),
        ({"Ideographic": "山田^太郎"}, ""),
        ({}, ""),
        ({"Alphabetic": ["DOE"]}, ""),
        ("Doe^John", "Doe^John"),
        ("山田　太郎", "山田　太郎"),
        ("Doe\x1b[2J", ""),
        ("Doe\u202eJohn", ""),
    ],
)
def test_a_person_in_json_is_known_by_the_alphabetic_name(name: Any, shown: str) -> None:  # noqa: ANN401 - any JSON
    assert json_answer({"00100010": {"vr": "PN", "Value": [name]}}, TAGS).one("PatientName") == shown


def test_an_attribute_without_a_known_tag_is_missing() -> None:
    answer = json_answer({"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}, TAGS)
    assert (answer.uid("StudyInstanceUID"), answer.one("PatientID"), answer.one("PatientName")) == ("1.2.3", "", "")
