"""Words for the parts of a tumour, as people write them into labels."""

import pytest

from inference.cases.region_names import region_of_words
from inference.regions import Region


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("Necrotic core", Region.NCR),
        ("Non-enhancing tumour core", Region.NCR),
        ("nonenhancing_tumor", Region.NCR),
        ("NCR/NET", Region.NCR),
        ("Peritumoral Edema", Region.ED),
        ("oedema", Region.ED),
        ("ED", Region.ED),
        ("Enhancing tumor", Region.ET),
        ("enhancing tumor core", Region.ET),
        ("et", Region.ET),
        ("Tumor Core", Region.TC),
        ("tumour_core", Region.TC),
        ("TC", Region.TC),
        ("Whole tumour", Region.WT),
        ("Neoplasm, Primary", Region.WT),
        ("GTV", Region.WT),
        ("gtv_1", Region.WT),
        ("Tumor", Region.WT),
        ("Brain", None),
        ("Segment 1", None),
        ("Resection cavity", None),
        ("", None),
    ],
)
def test_what_a_text_names(text: str, region: Region | None) -> None:
    assert region_of_words(text) is region
