"""Where a result comes from: what every object of a run carries besides its findings."""

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
    """What decides an object besides labels and findings.

    Attributes
    ----------
    ready_at
        When the study was complete: the date and time written into objects, so that a repeat is the same to the byte.
    manifest_sha256
        Hash over the instances the run used.
    settings_sha256
        Hash over the effective processing settings.
    software_version
        Version of GlioNode.
    station
        Name of the node, written as device serial number.
    predecessor
        The report that this revision's replaces; None for the first.
    profile
        What the destination wants.
    patient_sha256
        Hash of what the PACS corrected about the patient; empty where the images say the same.
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
        """What makes an object another one for a destination's wishes or a corrected patient; nothing by default."""
        return tuple(part for part in (self.profile.key, self.patient_sha256) if part)


def stamp_creation(ds: Dataset, provenance: Provenance) -> None:
    """Put the run's time wherever highdicom wrote the clock's, so that a repeat is the same to the byte."""
    ds.InstanceCreationDate = provenance.ready_at.strftime("%Y%m%d")
    ds.InstanceCreationTime = provenance.ready_at.strftime("%H%M%S")
    for item in ds.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = provenance.ready_at.strftime("%Y%m%d%H%M%S")


def offset_of(images: Iterable[Dataset]) -> str:
    """Return the TimezoneOffsetFromUTC that all images state, such as ``+0100``; empty where they do not agree."""
    stated = {text(ds, "TimezoneOffsetFromUTC") for ds in images}
    offset = stated.pop() if len(stated) == 1 else ""
    return offset if _OFFSET.fullmatch(offset) and _minutes(offset) in _FARTHEST else ""


def at_the_images_hour(provenance: Provenance, images: Iterable[Dataset]) -> Provenance:
    """Return the provenance with its time as the clock showed it where the images were made, else in UTC.

    The images alone decide, whose hash is in every UID, and never the zone of the machine that does the work: on
    another one an object would tell another time under the same UID.
    """
    offset = offset_of(images)
    zone = timezone(timedelta(minutes=_minutes(offset))) if offset else UTC
    return replace(provenance, ready_at=provenance.ready_at.astimezone(zone))


def _minutes(offset: str) -> int:
    return (-1 if offset[0] == "-" else 1) * (int(offset[1:3]) * 60 + int(offset[3:5]))
