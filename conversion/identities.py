"""Detects UIDs that differ between images of what is evidently one series, and corrects them where that is safe."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.study import Series
from conversion.values import identifier

__all__ = ["frame_of_reference", "one_image_series", "repeated_uids"]

EVIDENTLY_ONE = 8
"""At least this many single images of one number, size and name are one series; a three-plane localizer has fewer."""

_NAMESPACE = uuid.UUID("5d0c8a52-3b0e-5a55-9d3f-6e0a3a0c7b11")
"""Namespace of the frames of reference that are generated here; never changes."""


def frame_of_reference(images: Sequence[Dataset]) -> tuple[str, str]:
    """Return the frame of reference of one volume, and a sentence on what was wrong with it.

    Some de-identifiers leave a different UID in each image, or none at all. The positions of one volume still belong
    together, as its even distances prove, so the UID of the first image is used for all. If no image has one, it is
    generated from the Study Instance UID, so that all such series of the study share it.

    Parameters
    ----------
    images
        Headers of the volume's images, in the order of their numbers.
    """
    named = [identifier(ds, "FrameOfReferenceUID") for ds in images]
    known = [uid for uid in named if uid]
    if not known:
        made = uuid.uuid5(_NAMESPACE, identifier(images[0], "StudyInstanceUID")).int
        return (
            f"2.25.{made}",
            "its images have no Frame of Reference UID; results use one that is generated from the Study Instance UID",
        )
    if len(set(named)) > 1:
        if len(set(known)) == 1:
            lacking = f"{named.count('')} of its {len(images)} images"
            return known[0], f"{lacking} have no Frame of Reference UID; that of the others is used for all"
        reason = (
            f"its {len(images)} images have {len(set(known))} different Frame of Reference UIDs, as some "
            "de-identifiers leave them; the first is used for all"
        )
        return known[0], reason
    return known[0], ""


def one_image_series(singles: Iterable[Dataset]) -> list[str]:
    """Return sentences on images that have a Series Instance UID each and evidently are one series.

    Parameters
    ----------
    singles
        The image of each series that has only one.
    """
    groups: dict[tuple[str, ...], list[Dataset]] = {}
    for ds in singles:
        attributes = Attributes(ds)
        alike = ("SeriesNumber", "Rows", "Columns", "SeriesDescription", "ProtocolName")
        groups.setdefault(tuple(attributes.text(keyword) for keyword in alike), []).append(ds)
    return [
        f"{len(group)} images with series number {number} each have their own Series Instance UID, as some "
        "de-identifiers leave them, so they form no volume; send them with one Series Instance UID"
        for (number, *_), group in groups.items()
        if len(group) >= EVIDENTLY_ONE and len({Attributes(ds).numbers("ImagePositionPatient") for ds in group}) > 1
    ]


def repeated_uids(study: Iterable[Series]) -> list[Decision]:
    """Return a decision for each group of series that share SOP Instance UIDs, which other systems may confuse."""
    series_of: dict[str, dict[str, str]] = {}
    for series in study:
        for image in series.images:
            series_of.setdefault(image.sop_instance_uid, {}).setdefault(series.series_uid, f"series {series.number}")
    shared = Counter(tuple(names.values()) for names in series_of.values() if len(names) > 1)
    return [
        Decision(
            code="uid_in_several_series",
            subject=", ".join(names),
            reason=f"{number} SOP Instance UID(s) are used in {' and in '.join(names)}; the series are kept apart, and "
            "results refer to images of the reference by series and instance; the sender should generate new UIDs",
        )
        for names, number in sorted(shared.items())
    ]
