"""Reads how an image was derived: from codes, from descriptions, and from the technique that an enhanced frame names.

A classic instance states it in its dataset (PS3.3 C.7.6.1, General Image). An enhanced one states it in the Derivation
Image functional group of a frame or of all frames, which may have several items (C.7.6.16.2.6).
"""

from collections.abc import Iterable

from pydicom import Dataset

from conversion import values
from conversion.attributes import Attributes
from conversion.study import Derivation

__all__ = ["derivation_of", "joined"]

_DICOM_CODES = "DCM"


def derivation_of(ds: Dataset, frame: int | None = None, attributes: Attributes | None = None) -> Derivation:
    """Return how an image was derived according to its header.

    Parameters
    ----------
    frame
        Which frame of an enhanced instance, counted from 0; None for a classic instance.
    attributes
        The attributes of the frame, if they were read already.
    """
    places = [ds]
    if frame is not None:
        own = values.items(ds, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
        for groups in (*own, *values.items(ds, "SharedFunctionalGroupsSequence")[:1]):
            places += values.items(groups, "DerivationImageSequence")
        attributes = attributes or Attributes.of_frame(ds, frame)
    attributes = attributes or Attributes(ds)
    named = [code for place in places for code in values.items(place, "DerivationCodeSequence")]
    words = [*(values.text(place, "DerivationDescription") for place in places), *(_meaning(code) for code in named)]
    technique = attributes.text("VolumeBasedCalculationTechnique").upper()
    return Derivation(
        codes=tuple(dict.fromkeys(values.text(code, "CodeValue") for code in named if _of_dicom(code))),
        words="; ".join(dict.fromkeys(word for word in words if word)),
        technique="" if technique == "NONE" else technique,
    )


def joined(derivations: Iterable[Derivation]) -> Derivation:
    """Return the derivations of several images as one."""
    different = list(dict.fromkeys(derivations))
    return Derivation(
        codes=tuple(dict.fromkeys(code for each in different for code in each.codes)),
        words="; ".join(dict.fromkeys(each.words for each in different if each.words)),
        technique=next((each.technique for each in different if each.technique), ""),
    )


def _of_dicom(code: Dataset) -> bool:
    return values.text(code, "CodingSchemeDesignator").upper() == _DICOM_CODES


def _meaning(code: Dataset) -> str:
    return values.text(code, "CodeMeaning")
