"""Every coded concept against the dictionary, and the colours of the segments."""

from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.coding import Code

from inference.regions import Label, Region
from viewer_integration import codes

IN_DICTIONARY = [
    value for value in vars(codes).values() if isinstance(value, Code) and value.scheme_designator != "UCUM"
]


@pytest.mark.parametrize("code", IN_DICTIONARY, ids=lambda code: str(code.meaning))
def test_a_code_has_the_meaning_the_dictionary_gives_it(code: Code) -> None:
    scheme: dict[str, Any] = dict(concepts[code.scheme_designator])
    meanings = {entries[code.value][0] for entries in scheme.values() if code.value in entries}
    assert code.meaning in meanings


def test_the_root_of_the_report_is_what_viewers_show_in_full() -> None:
    assert codes.ONCOLOGY_REPORT[:2] == ("126001", "DCM")
    assert len(IN_DICTIONARY) >= 12


def test_the_section_for_what_is_no_measurement_is_that_of_tid_1500() -> None:
    section = codes.QUALITATIVE_EVALUATIONS
    assert (section.value, section.scheme_designator) == ("C0034375", "UMLS")
    assert codes.SERIES_ROLE.scheme_designator == "99GLIONODE"


def test_volumes_are_in_millilitres_of_ucum() -> None:
    assert codes.MILLILITRE[:2] == ("ml", "UCUM")
    assert codes.VOLUME[:2] == ("118565006", "SCT")


def test_segments_are_final() -> None:
    assert [(label, s.label, s.region, s.name) for label, s in codes.SEGMENTS.items()] == [
        (Label.NCR, Label.NCR, Region.NCR, "Necrotic core"),
        (Label.ED, Label.ED, Region.ED, "Edema"),
        (Label.ET, Label.ET, Region.ET, "Enhancing tumor"),
        (Label.WHOLE_TUMOUR, Label.WHOLE_TUMOUR, Region.WT, "Whole tumor"),
    ]
    assert {s.name: s.property_type.value for s in codes.SEGMENTS.values()} == {
        "Necrotic core": "6574001",
        "Edema": "79654002",
        "Enhancing tumor": "C113842",
        "Whole tumor": "108369006",
    }


def test_every_region_has_a_concept_and_the_home_made_one_says_so() -> None:
    assert set(codes.REGION_CONCEPTS) == set(Region)
    for region, (name, concept) in codes.REGION_CONCEPTS.items():
        assert (concept.scheme_designator == "99GLIONODE") == (region is Region.TC)
        assert name
    assert codes.REGION_CONCEPTS[Region.TC][0] == "Tumor core"


def test_colours_can_be_told_apart() -> None:
    colours = [segment.rgb for segment in codes.SEGMENTS.values()]
    for first in range(len(colours)):
        for second in range(first):
            assert sum(abs(a - b) for a, b in zip(colours[first], colours[second], strict=True)) > 60


@pytest.mark.parametrize(
    ("label", "strong", "weak"), [(Label.NCR, "r", "gb"), (Label.ED, "g", "rb"), (Label.ET, "rg", "b")]
)
def test_colours_are_those_of_brats(label: Label, strong: str, weak: str) -> None:
    """Red necrosis, green edema, and yellow where it enhances."""
    parts = dict(zip("rgb", codes.SEGMENTS[label].rgb, strict=True))
    assert all(0 <= part <= 255 for part in parts.values())
    assert min(parts[name] for name in strong) > 2 * max(parts[name] for name in weak)


def test_a_region_is_called_the_same_in_both_objects() -> None:
    for segment in codes.SEGMENTS.values():
        name, concept = codes.REGION_CONCEPTS[segment.region]
        assert name == segment.name
        assert (concept.value, concept.scheme_designator, concept.meaning) == segment.property_type[:3]
    findings = [(concept.value, concept.scheme_designator) for _, concept in codes.REGION_CONCEPTS.values()]
    assert len(set(findings)) == len(findings) == 5
