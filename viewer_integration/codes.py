"""Lists every coded concept and display colour that the node writes.

Codes are from SNOMED CT (SCT), the DICOM dictionary (DCM, PS3.16 Annex D), the NCI Thesaurus (NCIt) and UCUM. A
test compares each with pydicom's dictionary. The colours are those that radiologists know from BraTS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code

from inference.regions import Label, Region

__all__ = [
    "ARTIFICIAL_INTELLIGENCE",
    "BRAIN",
    "COMMENT",
    "DEVICE",
    "IMAGING_MEASUREMENTS",
    "MILLILITRE",
    "MORPHOLOGICALLY_ABNORMAL",
    "MR_IMAGING",
    "ONCOLOGY_REPORT",
    "QUALITATIVE_EVALUATIONS",
    "REGION_CONCEPTS",
    "SEGMENTS",
    "SERIES_ROLE",
    "VOLUME",
    "SegmentConcept",
]

BRAIN = Code("12738006", "SCT", "Brain")
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
VOLUME = Code("118565006", "SCT", "Volume")
MILLILITRE = Code("ml", "UCUM", "milliliter")
DEVICE = Code("121007", "DCM", "Device")
COMMENT = Code("121106", "DCM", "Comment")
ONCOLOGY_REPORT = Code("126001", "DCM", "Oncology Measurement Report")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MR_IMAGING = Code("25056-3", "LN", "MRI unspecified body region")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
"""Section of TID 1500 (row 12) for what is not a measurement; pydicom's dictionary does not contain it."""
SERIES_ROLE = CodedConcept("SERIES-ROLE", "99GLIONODE", "Series used as sequence")
"""A private code, since no dictionary contains one for it."""

ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

_NECROSIS = Code("6574001", "SCT", "Necrosis")
_EDEMA = Code("79654002", "SCT", "Edema")
_ENHANCING = Code("C113842", "NCIt", "Enhancing Lesion")
_NEOPLASM = Code("108369006", "SCT", "Neoplasm")


@dataclass(frozen=True, kw_only=True)
class SegmentConcept:
    """How one label is encoded in a SEG.

    Attributes
    ----------
    rgb
        Recommended display colour, 0 to 255.
    """

    label: Label
    region: Region
    name: str
    property_type: Code
    rgb: tuple[int, int, int]


SEGMENTS: Mapping[Label, SegmentConcept] = MappingProxyType(
    {
        concept.label: concept
        for concept in (
            SegmentConcept(
                label=Label.NCR, region=Region.NCR, name="Necrotic core", property_type=_NECROSIS, rgb=(220, 50, 47)
            ),
            SegmentConcept(label=Label.ED, region=Region.ED, name="Edema", property_type=_EDEMA, rgb=(60, 180, 75)),
            SegmentConcept(
                label=Label.ET, region=Region.ET, name="Enhancing tumor", property_type=_ENHANCING, rgb=(255, 215, 0)
            ),
            SegmentConcept(
                label=Label.WHOLE_TUMOUR,
                region=Region.WT,
                name="Whole tumor",
                property_type=_NEOPLASM,
                rgb=(230, 120, 30),
            ),
        )
    }
)

REGION_CONCEPTS: Mapping[Region, tuple[str, CodedConcept]] = MappingProxyType(
    {
        **{
            concept.region: (concept.name, CodedConcept.from_code(concept.property_type))
            for concept in SEGMENTS.values()
        },
        # A private code, since no dictionary contains one for the tumour core.
        Region.TC: ("Tumor core", CodedConcept("TC", "99GLIONODE", "Tumor core")),
    }
)
"""Name and finding type of each region in a report."""
