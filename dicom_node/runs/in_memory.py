"""A run in memory, as `glionode segment` executes it: without a database, and with no files of its steps."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision
from conversion.reading import SourceImages
from conversion.recognition.recognise import Recognition
from conversion.recognition.site_rules import SiteRule
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import PatientFacts, SeriesUID, Study
from conversion.volume import ImageVolume
from dicom_node.runs.reading import read_run
from dicom_node.runs.step import Step
from dicom_node.settings import ProcessingSettings
from inference.flags import Flag
from inference.measurements import Findings
from inference.segmentation import Segmentation
from viewer_integration.profile import ResultProfile
from viewer_integration.provenance import Provenance
from viewer_integration.result import ResultObject, ResultObjects

if TYPE_CHECKING:
    from inference.segmenter import Segmenter

__all__ = ["KeptInMemory", "RunInMemory"]


class KeptInMemory:
    """The data that the steps store for one another; implements `dicom_node.runs.run.Kept`."""

    _volumes: Mapping[Role, ImageVolume]
    _aligned: AlignedVolumes
    _segmentation: Segmentation
    _gate: tuple[frozenset[str], str]

    def __init__(self) -> None:
        self.selection: SeriesSelection | None = None
        self._patient = PatientFacts()
        self._rules: tuple[SiteRule, ...] = ()

    def save_patient(self, patient: PatientFacts) -> None:
        """Store the patient's age and operations from the headers."""
        self._patient = patient

    def load_patient(self) -> PatientFacts:
        """Return the patient's age and operations from the headers; empty if there are no headers."""
        return self._patient

    def save_rules(self, rules: Sequence[SiteRule]) -> None:
        """Store the site rules given to recognition."""
        self._rules = tuple(rules)

    def load_rules(self) -> tuple[SiteRule, ...]:
        """Return the site rules given to recognition."""
        return self._rules

    def save_selection(self, selection: SeriesSelection) -> None:
        """Store which series has which role."""
        self.selection = selection

    def save_volumes(self, volumes: Mapping[Role, ImageVolume]) -> None:
        """Store the sequences on their own grids."""
        self._volumes = volumes

    def load_volumes(self) -> Mapping[Role, ImageVolume]:
        """Return the sequences on their own grids."""
        return self._volumes

    def save_aligned(self, aligned: AlignedVolumes) -> None:
        """Store the sequences on the reference's grid, and drop those on their own grids."""
        self._aligned, self._volumes = aligned, {}

    def load_aligned(self) -> AlignedVolumes:
        """Return the sequences on the reference's grid."""
        return self._aligned

    def load_alignment_decisions(self) -> tuple[Decision, ...]:
        """Return the decisions of the alignment."""
        return self._aligned.decisions

    def save_segmentation(self, segmentation: Segmentation) -> None:
        """Store the segmentation."""
        self._segmentation = segmentation

    def load_segmentation(self) -> Segmentation:
        """Return the stored segmentation."""
        return self._segmentation

    def save_gate(self, admitted: Collection[str], settings_sha256: str) -> None:
        """Store the flags that withhold no result, and the hash of the settings."""
        self._gate = frozenset(admitted), settings_sha256

    def load_gate(self) -> tuple[frozenset[str], str]:
        """Return the flags that withhold no result, and the hash of the settings."""
        return self._gate


@dataclass(kw_only=True, eq=False)
class RunInMemory:
    """A run on files that a user gives; implements `dicom_node.runs.run.Run`.

    Attributes
    ----------
    paths
        Paths of the images.
    model
        The model, ready to run.
    origin
        What the objects contain besides findings; its profile states which objects are made. None if none are made.
    site_rules
        The site's rules about its series.
    """

    processing: ProcessingSettings
    model: "Segmenter"
    paths: Sequence[Path] = ()
    origin: Provenance | None = None
    site_rules: Sequence[SiteRule] = ()
    spacing_known: bool = True
    kept: KeptInMemory = field(default_factory=KeptInMemory)
    _findings: Findings | None = None
    _objects: tuple[ResultObject, ...] = ()
    _decisions: dict[Step, tuple[Decision, ...]] = field(default_factory=dict)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the steps decided, in their order."""
        return tuple(decision for step in Step for decision in self._decisions.get(step, ()))

    @property
    def findings(self) -> Findings:
        """The findings."""
        if self._findings is None:
            raise ValueError("the study has not been segmented yet")
        return self._findings

    @property
    def results(self) -> tuple[ResultObject, ...]:
        """The result objects; none before they are encoded."""
        return self._objects

    def study(self) -> Study:
        """Read the headers of its images."""
        return read_run(self.paths)

    def rules(self) -> Sequence[SiteRule]:
        """Return the site's rules about its series."""
        return self.site_rules

    def incomplete(self) -> Mapping[SeriesUID, str]:
        """Return no series: the given files are taken to be all that there are."""
        return {}

    def came_again(self) -> Sequence[Decision]:
        """Return nothing: the files do not show whether an image has several versions."""
        return ()

    def selection(self) -> SeriesSelection:
        """Return the stored selection."""
        if self.kept.selection is None:
            raise ValueError("no series have been chosen yet")
        return self.kept.selection

    def profiles(self) -> Mapping[str, ResultProfile]:
        """Return the profile of the objects that are made."""
        return {} if self.origin is None else {self.origin.profile.key: self.origin.profile}

    def segmenter(self) -> "Segmenter":
        """Return the model."""
        return self.model

    def corrected(self, source: SourceImages) -> tuple[SourceImages, Sequence[Decision], str]:
        """Return the headers as they are: no PACS is queried."""
        return source, (), ""

    def provenance(self, profile: ResultProfile, settings_sha256: str, patient_sha256: str) -> Provenance:
        """Return what the objects contain besides findings."""
        if self.origin is None:
            raise ValueError("no objects are made from files without headers")
        return replace(self.origin, profile=profile, settings_sha256=settings_sha256, patient_sha256=patient_sha256)

    def recognised(self, recognitions: Sequence[Recognition]) -> None:
        """Note nothing: the decisions state how the series were recognised."""

    def decided(self, step: Step, decisions: Iterable[Decision], flags: Iterable[Flag] = ()) -> None:  # noqa: ARG002 - flags are in the findings
        """Store the decisions of a step, replacing earlier ones of the same step."""
        self._decisions[step] = tuple(decisions)

    def chose(self, selection: SeriesSelection) -> None:
        """Note nothing: the selection is stored."""

    def found(self, findings: Findings) -> None:
        """Store the findings."""
        self._findings = findings

    def encoded(self, made: Mapping[str, ResultObjects]) -> None:
        """Store the objects."""
        self._objects = tuple(one for results in made.values() for one in results.objects)
