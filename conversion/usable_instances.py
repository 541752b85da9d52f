"""Which instances of a DICOM series are images that a volume can be made of; the others are kept, named and not used.

A series holds what a scanner, a workstation or an archive put under its UID: a picture of a region, a report or a
mosaic may lie among its images. Each instance is judged by itself, so that the order of files decides nothing.
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
"""SOP classes of what is read."""

NOT_USED = ("not_mr", "mosaic", "animal", "colour_image")
"""Codes of what is decided here."""

Instance = tuple[Path, Dataset]

_HUMAN = re.compile(
    r"(homo( sapiens){0,2}|humans?( being)?|hum|man|patient|mensch|(der )?mensch(lich)?|humain|être humain|umano|"
    r"essere umano|humano|ser humano|mens|menneske|människa|człowiek|человек|人|ヒト|사람)[. ]*(\(.*\))?",
    re.IGNORECASE,
)
"""The whole of a species that is a person's; a "non-human primate" and a "patient: dog" are none."""
_HUMAN_CODES = ("337915000", "L-85B00", "9606")
"""Homo sapiens in SNOMED CT and SNOMED RT (PS3.16 CID 7454), and in the taxonomy of NCBI."""

_NO_WORD = ("", "none", "n/a", "na", "unknown", "not applicable", "-")


def usable_instances(group: Many[Instance], decisions: list[Decision]) -> list[Instance]:
    """Return the MR images of a series, and decide about everything else that lies in it."""
    other: dict[tuple[str, str], list[Dataset]] = {}
    usable = []
    for path, ds in group:
        why_not = _not_usable(ds)
        if why_not is None:
            usable.append((path, ds))
        else:
            other.setdefault(why_not, []).append(ds)
    if pictures := _pictures(usable):
        for _, ds in pictures:
            other.setdefault(_decision("colour_image", _why_picture(ds)), []).append(ds)
        left_out = {path for path, _ in pictures}
        usable = [(path, ds) for path, ds in usable if path not in left_out]
    for (code, reason), found in other.items():
        told = Attributes(found[0])
        decisions.append(
            Decision(
                code=code,
                subject=f"series {told.integer('SeriesNumber')}",
                reason=f"{len(found)} instance(s) {reason}",
                series_uid=told.text("SeriesInstanceUID"),
            )
        )
    return usable


def of_one_kind(group: Iterable[Instance]) -> Iterator[list[Instance]]:
    """Yield the instances of each SOP class: classic images beside enhanced ones make no volume with each other."""
    kinds: dict[str, list[Instance]] = {}
    for path, ds in group:
        kinds.setdefault(identifier(ds, "SOPClassUID"), []).append((path, ds))
    yield from kinds.values()


def _not_usable(ds: Dataset) -> tuple[str, str] | None:
    """Return the code and the reason why an instance is not used, None for one that is."""
    told = Attributes(ds)
    sop_class = UID(identifier(ds, "SOPClassUID"))
    if sop_class not in MR_IMAGES:
        modality = f"modality {told.text('Modality') or '?'}"
        if not sop_class and (said := told.quoted("SOPClassUID")):
            reason = f"have {said} as SOP Class UID, which is no UID ({modality}), so what they are is unknown"
            return _decision("not_mr", reason)
        what = f"{sop_class.name or 'no SOP class'}, {modality}"
        return _decision("not_mr", f"of {what} are kept and not used: only MR images are")
    if "MOSAIC" in told.texts("ImageType"):
        reason = "put all slices into one image (a mosaic), as for diffusion and functional series; that is not read"
        return _decision("mosaic", reason)
    animal = _animal(told, ds)
    if animal:
        return _decision("animal", f"show an animal ({animal}) and are not used: the models know people")
    return None


def _decision(code: str, reason: str) -> tuple[str, str]:
    return code, reason


def _pictures(group: Many[Instance]) -> list[Instance]:
    """Return the coloured images of a series, but for those that stand where a slice of it would be missing then.

    With these the series is refused when it is read, rather than read with a hole.
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
            f"have {unknown} as PhotometricInterpretation, which is none, so whether their lowest value is black is "
            "unknown; kept and not used"
        )
    return "are colour images, which measure nothing; kept and not used"


def _place(ds: Dataset) -> Vector | None:
    return Attributes(ds).vector("ImagePositionPatient")


def _animal(told: Attributes, ds: Dataset) -> str:
    """Return how the header tells that no person is shown (PS3.3 C.7.1.1 and C.7.6.2.1.1, Anatomical Orientation)."""
    for layer in (told, *Attributes.of_frames(ds)):
        if layer.text("AnatomicalOrientationType").upper() == "QUADRUPED":
            return "AnatomicalOrientationType QUADRUPED"
    species = told.text("PatientSpeciesDescription")
    if species.lower() not in _NO_WORD:
        return "" if _HUMAN.fullmatch(species) else "PatientSpeciesDescription"
    codes = [Attributes(item) for item in items(ds, "PatientSpeciesCodeSequence")]
    if any(code.text("CodeValue") for code in codes):
        return "" if any(map(_codes_human, codes)) else "PatientSpeciesCodeSequence"
    return next((said for said, is_one in _ONLY_OF_ANIMALS if is_one(told)), "")


def _codes_human(code: Attributes) -> bool:
    return code.text("CodeValue") in _HUMAN_CODES or _HUMAN.fullmatch(code.text("CodeMeaning")) is not None


_ONLY_OF_ANIMALS = (
    ("PatientBreedDescription", lambda told: told.text("PatientBreedDescription").lower() not in _NO_WORD),
    ("PatientSexNeutered ALTERED", lambda told: told.text("PatientSexNeutered").upper() == "ALTERED"),
    ("ResponsiblePersonRole OWNER", lambda told: told.text("ResponsiblePersonRole").upper() == "OWNER"),
)
"""What stands in the headers of animals alone (PS3.3 C.7.1.1), where the species is not told."""
