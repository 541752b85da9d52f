"""Which regions a SEG annotates, by the parts that it has."""

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.segmentation_reading import CodedValue, SegmentDescription
from inference.cases.segment_regions import annotated_regions, region_of_segment
from inference.regions import Region
from viewer_integration.codes import SEGMENTS

CODES = {(c.property_type.value, c.property_type.scheme_designator): c.region for c in SEGMENTS.values()}


def _segment(label: str, code: tuple[str, str, str] = ("85756007", "SCT", "Tissue")) -> SegmentDescription:
    value, scheme, meaning = code
    return SegmentDescription(
        number=1,
        label=label,
        category=CodedValue(),
        property_type=CodedValue(value=value, scheme=scheme, meaning=meaning),
        algorithm_type="MANUAL",
        tracking_id="",
        tracking_uid="",
    )


@pytest.mark.parametrize(
    ("label", "code", "region"),
    [
        ("Segment 1", ("79654002", "SCT", "Edema"), Region.ED),
        ("anything", ("C113842", "NCIt", "Enhancing Lesion"), Region.ET),
        ("Edema", ("85756007", "SCT", "Tissue"), Region.ED),
        ("Segment 1", ("4147007", "SCT", "Neoplasm, Primary"), Region.WT),
        ("Segment 1", ("108369006", "SCT", "Neoplasm"), Region.WT),
        ("Enhancing tumor", ("108369006", "SCT", "Neoplasm"), Region.ET),
        ("Edema", ("C113842", "99OTHER", "Something else"), Region.ED),
        ("Segment 1", ("85756007", "SCT", "Tissue"), None),
        ("Ventricles", ("80622005", "SCT", "Cerebral ventricle"), None),
    ],
)
def test_codes_decide_before_words_unless_they_only_say_neoplasm(
    label: str, code: tuple[str, str, str], region: Region | None
) -> None:
    assert region_of_segment(_segment(label, code), CODES) is region


def _mask(*on: int) -> NDArray[np.bool_]:
    mask = np.zeros((1, 1, 6), bool)
    mask[..., list(on)] = True
    return mask


NCR, ED, ET, TC, WT = _mask(0), _mask(1, 2), _mask(3), _mask(0, 3, 4), _mask(0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("parts", "known"),
    [
        (
            {Region.NCR: NCR, Region.ED: ED, Region.ET: ET},
            {Region.WT: _mask(0, 1, 2, 3), Region.TC: _mask(0, 3), Region.ET: ET},
        ),
        ({Region.ED: ED, Region.ET: ET}, {Region.WT: _mask(1, 2, 3), Region.TC: ET, Region.ET: ET}),
        ({Region.ED: ED, Region.NCR: NCR}, {Region.WT: _mask(0, 1, 2), Region.TC: NCR, Region.ET: _mask()}),
        ({Region.ED: ED}, {Region.WT: ED}),
        ({Region.WT: WT}, {Region.WT: WT}),
        ({Region.ET: ET}, {Region.ET: ET}),
        ({Region.NCR: NCR, Region.ET: ET}, {Region.TC: _mask(0, 3), Region.ET: ET}),
        ({Region.TC: TC}, {Region.TC: TC}),
        (
            {Region.WT: _mask(5), Region.TC: TC, Region.ET: ET},
            {Region.WT: _mask(0, 3, 4, 5), Region.TC: TC, Region.ET: ET},
        ),
        ({Region.TC: TC, Region.ED: ED}, {Region.WT: _mask(0, 1, 2, 3, 4), Region.TC: TC}),
    ],
    ids="+".join,
)
def test_regions_are_unions_of_their_parts_and_unknown_where_a_part_may_be_undrawn(
    parts: dict[Region, NDArray[np.bool_]], known: dict[Region, NDArray[np.bool_]]
) -> None:
    found = annotated_regions(parts)
    assert found.keys() == known.keys()
    for region, mask in known.items():
        assert np.array_equal(found[region], mask), region
