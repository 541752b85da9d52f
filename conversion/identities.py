"""UIDs that differ between images of what is evidently one series: noticed, named, and mended where that is safe."""

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
"""So many single images of one number, size and name are one series: a localizer in three planes has fewer."""

_NAMESPACE = uuid.UUID("5d0c8a52-3b0e-5a55-9d3f-6e0a3a0c7b11")
"""Of the frames of reference that are made here; never changes."""


def frame_of_reference(images: Sequence[Dataset]) -> tuple[str, str]:
    """Return the frame of reference of one volume, and what was wrong with it, in a sentence.

    De-identifiers leave a UID of its own in each image, or none at all. The positions of one volume belong together
    all the same, as its even distances prove, so the first image's UID stands for all. Where none is named, a study
    gets one made of its UID, so that its series share it as they share their absence.

    Parameters
    ----------
    images
        Headers of the volume's images, in the order of their numbers.
    """
    named = [identifier(ds, "FrameOfReferenceUID") for ds in images]
    known = [uid for uid in named if uid]
    if not known:
        made = uuid.uuid5(_NAMESPACE, identifier(images[0], "StudyInstanceUID")).int
        return f"2.25.{made}", "its images name no Frame of Reference UID; results get one that is made of the study's"
    if len(set(named)) > 1:
        reason = (
            f"its {len(images)} images name {len(set(known))} different Frame of Reference UIDs, as some "
            "de-identifiers leave them; the first stands for all"
        )
        return known[0], reason
    return known[0], ""


def one_image_series(singles: Iterable[Dataset]) -> list[str]:
    """Return sentences on images that came under a Series Instance UID each and evidently are one series.

    Parameters
    ----------
    singles
        The image of each series that holds one alone.
    """
    groups: dict[tuple[str, ...], list[Dataset]] = {}
    for ds in singles:
        told = Attributes(ds)
        alike = ("SeriesNumber", "Rows", "Columns", "SeriesDescription", "ProtocolName")
        groups.setdefault(tuple(told.text(keyword) for keyword in alike), []).append(ds)
    return [
        f"{len(group)} images with the series number {number} came under a Series Instance UID each, as some "
        "de-identifiers leave them, so they make no volume: send them under one"
        for (number, *_), group in groups.items()
        if len(group) >= EVIDENTLY_ONE and len({Attributes(ds).numbers("ImagePositionPatient") for ds in group}) > 1
    ]


def repeated_uids(study: Iterable[Series]) -> list[Decision]:
    """Name the series that share SOP Instance UIDs: they are kept apart, but others may take one for the other."""
    series_of: dict[str, dict[str, str]] = {}
    for series in study:
        for image in series.images:
            series_of.setdefault(image.sop_instance_uid, {}).setdefault(series.series_uid, f"series {series.number}")
    shared = Counter(tuple(names.values()) for names in series_of.values() if len(names) > 1)
    return [
        Decision(
            code="uid_in_several_series",
            subject=", ".join(names),
            reason=f"{number} SOP Instance UID(s) stand in {' and in '.join(names)}: the series are kept apart, and "
            "results refer to images of the reference by series and instance; the sender should make new UIDs",
        )
        for names, number in sorted(shared.items())
    ]
