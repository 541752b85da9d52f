"""Provenance of a result: what every object of a run contains besides its findings."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

from pydicom.dataset import Dataset

from conversion.values import text
from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile

__all__ = [
    "RESEARCH_USE_ONLY",
    "PredecessorDocument",
    "Provenance",
    "at_the_images_hour",
    "offset_of",
    "stamp_creation",
]

RESEARCH_USE_ONLY = "Research use only. Not a medical device."

_OFFSET = re.compile(r"([+-])(\d\d)([0-5]\d)", re.ASCII)
_FARTHEST = range(-12 * 60, 14 * 60 + 1)
"""Minutes from UTC that TimezoneOffsetFromUTC may state (PS3.3 C.12.1.1.8)."""


@dataclass(frozen=True, kw_only=True)
class PredecessorDocument:
    """A report of the same study that a new one replaces (PS3.3 C.17.2.2)."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What determines an object besides labels and findings.

    Attributes
    ----------
    ready_at
        When the study was complete: the date and time written into objects, so a repeated run gives the same bytes.
    manifest_sha256
        Hash of the instances that the run used.
    settings_sha256
        Hash of the effective processing settings.
    software_version
        Version of GlioNode.
    station
        Name of the node, written as device serial number.
    predecessor
        The report that this revision replaces; None for the first.
    profile
        The form of results that the destination is configured for.
    patient_sha256
        Hash of the patient data that the PACS corrected; empty when they match the images.
    """

    ready_at: datetime
    manifest_sha256: str
    settings_sha256: str
    software_version: str
    station: str
    predecessor: PredecessorDocument | None = None
    profile: ResultProfile = DEFAULT_PROFILE
    patient_sha256: str = ""

    @property
    def variant(self) -> tuple[str, ...]:
        """What distinguishes the object for a destination's profile or a corrected patient; empty by default."""
        return tuple(part for part in (self.profile.key, self.patient_sha256) if part)


def stamp_creation(ds: Dataset, provenance: Provenance) -> None:
    """Replace the current time that highdicom wrote by the run's, so that a repeated run gives the same bytes."""
    ds.InstanceCreationDate = provenance.ready_at.strftime("%Y%m%d")
    ds.InstanceCreationTime = provenance.ready_at.strftime("%H%M%S")
    for item in ds.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = provenance.ready_at.strftime("%Y%m%d%H%M%S")


def offset_of(images: Iterable[Dataset]) -> str:
    """Return the TimezoneOffsetFromUTC that all images state, such as ``+0100``; empty when they disagree."""
    stated = {text(ds, "TimezoneOffsetFromUTC") for ds in images}
    offset = stated.pop() if len(stated) == 1 else ""
    return offset if _OFFSET.fullmatch(offset) and _minutes(offset) in _FARTHEST else ""


def at_the_images_hour(provenance: Provenance, images: Iterable[Dataset]) -> Provenance:
    """Return the provenance with its time in the images' time zone, or in UTC when they state none.

    The zone comes from the images alone, whose hash is in every UID. With the zone of the processing machine, another
    machine would write another time under the same UID.
    """
    offset = offset_of(images)
    zone = timezone(timedelta(minutes=_minutes(offset))) if offset else UTC
    return replace(provenance, ready_at=provenance.ready_at.astimezone(zone))


def _minutes(offset: str) -> int:
    return (-1 if offset[0] == "-" else 1) * (int(offset[1:3]) * 60 + int(offset[3:5]))
