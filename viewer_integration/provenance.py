"""Where a result comes from: what every object of a run carries besides its findings."""

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile

__all__ = ["RESEARCH_USE_ONLY", "PredecessorDocument", "Provenance", "stamp_creation"]

RESEARCH_USE_ONLY = "Research use only. Not a medical device."


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
        When the study was complete, in the hospital's local time: the date and time written into objects,
        so that a repeat is the same to the byte.
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
