"""Selects the instances of a DICOM series that can form a volume; the others are kept, named and not used.

A series contains whatever a scanner, a workstation or an archive stored under its UID: a screenshot, a report or a
mosaic may be among its images. Each instance is judged by itself, so that the order of files does not matter.
"""

import re
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Many
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.likeness import same_place
from conversion.pixel_format import is_coloured, unknown_interpretation
from conversion.study import Vector
from conversion.values import identifier, items

__all__ = ["MR_IMAGES", "NOT_USED", "Instance", "of_one_kind", "usable_instances"]

MR_IMAGES = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
"""SOP classes that are read."""

NOT_USED = ("not_mr", "mosaic", "animal", "colour_image")
"""Codes of the decisions made here."""

Instance = tuple[Path, Dataset]

_HUMAN = re.compile(
    r"(homo( sapiens){0,2}|humans?( being)?|hum|man|patient|mensch|(der )?mensch(lich)?|humain|être humain|umano|"
    r"essere umano|humano|ser humano|mens|menneske|människa|człowiek|человек|人|ヒト|사람)[. ]*(\(.*\))?",
    re.IGNORECASE,
)
"""Species of a person, matched as a whole; "non-human primate" and "patient: dog" do not match."""
_HUMAN_CODES = ("337915000", "L-85B00", "9606")
"""Homo sapiens in SNOMED CT and SNOMED RT (PS3.16 CID 7454), and in the NCBI taxonomy."""

_NO_WORD = ("", "none", "n/a", "na", "unknown", "not applicable", "-")


def usable_instances(group: Many[Instance], decisions: list[Decision]) -> list[Instance]:
    """Return the MR images of a series, and record a decision on everything else in it."""
    other: dict[tuple[str, str], list[Dataset]] = {}
    usable = []
    for path, ds in group:
        refusal = _not_usable(ds)
        if refusal is None:
            usable.append((path, ds))
        else:
            other.setdefault(refusal, []).append(ds)
    if pictures := _pictures(usable):
        for _, ds in pictures:
            other.setdefault(_decision("colour_image", _why_picture(ds)), []).append(ds)
        left_out = {path for path, _ in pictures}
        usable = [(path, ds) for path, ds in usable if path not in left_out]
    for (code, reason), found in other.items():
        attributes = Attributes(found[0])
        decisions.append(
            Decision(
                code=code,
                subject=f"series {attributes.integer('SeriesNumber')}",
                reason=f"{len(found)} instance(s) {reason}",
                series_uid=attributes.text("SeriesInstanceUID"),
            )
        )
    return usable


def of_one_kind(group: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Yield the instances of each SOP class: classic and enhanced images together form no volume."""
    kinds: dict[str, list[Instance]] = {}
    for path, ds in group:
        kinds.setdefault(identifier(ds, "SOPClassUID"), []).append((path, ds))
    yield from kinds.values()


def _not_usable(ds: Dataset) -> tuple[str, str] | None:
    """Return the code and the reason why an instance is not used; None if it is."""
    attributes = Attributes(ds)
    sop_class = UID(identifier(ds, "SOPClassUID"))
    if sop_class not in MR_IMAGES:
        modality = f"modality {attributes.text('Modality') or '?'}"
        if not sop_class and (value := attributes.quoted("SOPClassUID")):
            reason = f"have {value} as SOP Class UID, which is not a UID ({modality}), so their type is unknown"
            return _decision("not_mr", reason)
        what = f"{sop_class.name or 'no SOP class'}, {modality}"
        return _decision("not_mr", f"of {what} are kept and not used: only MR images are used")
    if "MOSAIC" in attributes.texts("ImageType"):
        reason = (
            "contain all slices in one image (a mosaic), as in diffusion and functional series; mosaics are not read"
        )
        return _decision("mosaic", reason)
    animal = _animal(attributes, ds)
    if animal:
        return _decision("animal", f"show an animal ({animal}) and are not used: the models were trained on humans")
    return None


def _decision(code: str, reason: str) -> tuple[str, str]:
    return code, reason


def _pictures(group: Many[Instance]) -> list[Instance]:
    """Return the colour images of a series, except those at the position of a slice that would then be missing.

    These stay in the series, so that it is refused when it is read instead of being read with a gap.
    """
    coloured = [one for one in group if is_coloured(Attributes(one[1]))]
    if len(coloured) == len(group):
        return coloured
    measured = [place for _, ds in group if not is_coloured(Attributes(ds)) and (place := _place(ds)) is not None]
    found = []
    for path, ds in coloured:
        place = _place(ds)
        if place is None or any(same_place(place, other) for other in measured):
            found.append((path, ds))
    return found


def _why_picture(ds: Dataset) -> str:
    if unknown := unknown_interpretation(Attributes(ds)):
        return (
            f"have {unknown} as PhotometricInterpretation, which is invalid, so it is unknown whether their lowest "
            "value is black; kept and not used"
        )
    return "are colour images, which measure nothing; kept and not used"


def _place(ds: Dataset) -> Vector | None:
    return Attributes(ds).vector("ImagePositionPatient")


def _animal(attributes: Attributes, ds: Dataset) -> str:
    """Return the attribute that states an animal, if any (PS3.3 C.7.1.1; C.7.6.2.1.1, Anatomical Orientation)."""
    for layer in (attributes, *Attributes.of_frames(ds)):
        if layer.text("AnatomicalOrientationType").upper() == "QUADRUPED":
            return "AnatomicalOrientationType QUADRUPED"
    species = attributes.text("PatientSpeciesDescription")
    if species.lower() not in _NO_WORD:
        return "" if _HUMAN.fullmatch(species) else "PatientSpeciesDescription"
    codes = [Attributes(item) for item in items(ds, "PatientSpeciesCodeSequence")]
    if any(code.text("CodeValue") for code in codes):
        return "" if any(map(_codes_human, codes)) else "PatientSpeciesCodeSequence"
    return next((name for name, is_set in _ONLY_OF_ANIMALS if is_set(attributes)), "")


def _codes_human(code: Attributes) -> bool:
    return code.text("CodeValue") in _HUMAN_CODES or _HUMAN.fullmatch(code.text("CodeMeaning")) is not None


_ONLY_OF_ANIMALS = (
    ("PatientBreedDescription", lambda attributes: attributes.text("PatientBreedDescription").lower() not in _NO_WORD),
    ("PatientSexNeutered ALTERED", lambda attributes: attributes.text("PatientSexNeutered").upper() == "ALTERED"),
    ("ResponsiblePersonRole OWNER", lambda attributes: attributes.text("ResponsiblePersonRole").upper() == "OWNER"),
)
"""Attributes that only headers of animals have (PS3.3 C.7.1.1), for headers without a species."""
