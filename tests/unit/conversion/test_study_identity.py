"""By what a person recognises a study: read by the character set of its header, and shown as people write it."""

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from conversion.study_identity import MOST_CHARACTERS, StudyIdentity, readable_name, study_identity


def _header(character_set: str | list[str], **texts: bytes) -> Dataset:
    """Return a data set as it is read from a file: bytes that nobody has decoded."""
    elements = {}
    for keyword, value in texts.items():
        tag = Tag(keyword)
        elements[tag] = RawDataElement(tag, None, len(value), value, 0, is_implicit_VR=True, is_little_endian=True)
    ds = Dataset(elements)
    ds.set_original_encoding(is_implicit_vr=True, is_little_endian=True, character_encoding=character_set)
    return ds


def test_a_header_states_whose_study_it_is_and_when_it_was_made() -> None:
    texts = {
        "StudyDate": b"20261231",
        "StudyTime": b"235959.999",
        "AccessionNumber": b"A 1 ",
        "Modality": b"MR",
        "StudyDescription": b"Brain  with\rcontrast",
        "PatientName": b"DOE^JOHN^^^ ",
        "PatientID": b"P-1\0",
        "PatientBirthDate": b"1970.02.03",
        "PatientSex": b"M ",
    }
    assert study_identity(_header("iso8859", **texts)) == StudyIdentity(
        patient_name="DOE^JOHN",
        patient_id="P-1",
        birth_date="1970-02-03",
        sex="M",
        accession_number="A 1",
        study_date="2026-12-31",
        study_time="23:59",
        description="Brain with contrast",
        modality="MR",
    )


def test_a_header_that_states_nothing_is_empty() -> None:
    assert study_identity(Dataset()) == StudyIdentity()


@pytest.mark.parametrize(
    ("character_set", "name", "shown"),
    [
        ("iso8859", b"M\xfcller^J\xf6rg", "Müller, Jörg"),
        ("utf8", "Müller^Jörg".encode(), "Müller, Jörg"),
        ("iso8859", "Müller".encode(), "MÃ¼ller"),  # as its character set says, wrong or not
        (
            ["iso8859", "iso2022_jp"],
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada, Tarou (山田 太郎, やまだ たろう)",
        ),
    ],
)
def test_names_are_read_by_their_character_set(character_set: str | list[str], name: bytes, shown: str) -> None:
    assert readable_name(study_identity(_header(character_set, PatientName=name)).patient_name) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("DOE^John", "DOE, John"),
        ("DOE^John^Quincy^Dr.^Jr.", "DOE, Dr. John Quincy, Jr."),
        ("DOE^^^^Jr.", "DOE, Jr."),
        ("^John", "John"),
        ("Doe, John", "Doe, John"),
        ("DOE^John==ドウ^ジョン", "DOE, John (ドウ ジョン)"),
        ("=山田^太郎", "山田 太郎"),
        ("", ""),
        ("^^^=^", ""),
    ],
)
def test_a_name_is_shown_as_people_write_it(name: str, shown: str) -> None:
    assert readable_name(name) == shown


def test_what_is_no_date_is_shown_as_received_and_never_sorted_by() -> None:
    found = study_identity(_header("iso8859", PatientBirthDate=b"unknown", StudyDate=b"20261399", StudyTime=b"noon"))
    assert (found.birth_date, found.study_date, found.study_time) == ("unknown", "", "")


def test_no_text_breaks_a_page_or_a_database() -> None:
    name = "A\0B\N{RIGHT-TO-LEFT OVERRIDE}C\x07D^" + "E" * 10_000
    found = study_identity(_header("utf8", PatientName=name.encode())).patient_name
    assert found.startswith("A B C D^E")
    assert len(found) <= MOST_CHARACTERS
