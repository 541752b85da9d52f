"""A run in memory: what `glionode segment` executes, without a database and without a trace on the disk."""

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
    """What the steps leave for one another, as `dicom_node.runs.run.Kept` asks for it."""

    _volumes: Mapping[Role, ImageVolume]
    _aligned: AlignedVolumes
    _segmentation: Segmentation
    _gate: tuple[frozenset[str], str]

    def __init__(self) -> None:
        self.selection: SeriesSelection | None = None
        self._patient = PatientFacts()
        self._rules: tuple[SiteRule, ...] = ()

    def save_patient(self, patient: PatientFacts) -> None:
        """Keep what the headers tell of the patient."""
        self._patient = patient

    def load_patient(self) -> PatientFacts:
        """Return what the headers tell of the patient; nothing where there are none."""
        return self._patient

    def save_rules(self, rules: Sequence[SiteRule]) -> None:
        """Keep the site rules that recognition was given."""
        self._rules = tuple(rules)

    def load_rules(self) -> tuple[SiteRule, ...]:
        """Return the site rules that recognition was given."""
        return self._rules

    def save_selection(self, selection: SeriesSelection) -> None:
        """Keep which series has which role."""
        self.selection = selection

    def save_volumes(self, volumes: Mapping[Role, ImageVolume]) -> None:
        """Keep the sequences on their own grids."""
        self._volumes = volumes

    def load_volumes(self) -> Mapping[Role, ImageVolume]:
        """Return the sequences on their own grids."""
        return self._volumes

    def save_aligned(self, aligned: AlignedVolumes) -> None:
        """Keep the sequences on the reference's grid, and no longer those on their own."""
        self._aligned, self._volumes = aligned, {}

    def load_aligned(self) -> AlignedVolumes:
        """Return the sequences on the reference's grid."""
        return self._aligned

    def load_alignment_decisions(self) -> tuple[Decision, ...]:
        """Return what was decided while the sequences were brought together."""
        return self._aligned.decisions

    def save_segmentation(self, segmentation: Segmentation) -> None:
        """Keep labels, probabilities and what they rest on."""
        self._segmentation = segmentation

    def load_segmentation(self) -> Segmentation:
        """Return the kept segmentation."""
        return self._segmentation

    def save_gate(self, admitted: Collection[str], settings_sha256: str) -> None:
        """Keep which flags withhold no result, and the hash of the settings."""
        self._gate = frozenset(admitted), settings_sha256

    def load_gate(self) -> tuple[frozenset[str], str]:
        """Return the flags that withhold no result, and the hash of the settings."""
        return self._gate


@dataclass(kw_only=True, eq=False)
class RunInMemory:
    """A run of files that somebody has given, as `dicom_node.runs.run.Run` asks for it.

    Attributes
    ----------
    paths
        Of the images.
    model
        Ready to run.
    origin
        What the objects carry besides findings; its profile says which objects are made. None where none are.
    site_rules
        About the site's series.
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
        """What was found."""
        if self._findings is None:
            raise ValueError("nothing was looked for yet")
        return self._findings

    @property
    def results(self) -> tuple[ResultObject, ...]:
        """The objects; none before they are encoded."""
        return self._objects

    def study(self) -> Study:
        """Read the headers of its images."""
        return read_run(self.paths)

    def rules(self) -> Sequence[SiteRule]:
        """Return the site's rules about its series."""
        return self.site_rules

    def incomplete(self) -> Mapping[SeriesUID, str]:
        """Return no series: whoever gives files gives all that there are."""
        return {}

    def came_again(self) -> Sequence[Decision]:
        """Return nothing: of versions of an image the files tell nothing."""
        return ()

    def selection(self) -> SeriesSelection:
        """Return the kept selection."""
        if self.kept.selection is None:
            raise ValueError("no series were chosen")
        return self.kept.selection

    def profiles(self) -> Mapping[str, ResultProfile]:
        """Return the profile of the objects that are made."""
        return {} if self.origin is None else {self.origin.profile.key: self.origin.profile}

    def segmenter(self) -> "Segmenter":
        """Return the model."""
        return self.model

    def corrected(self, source: SourceImages) -> tuple[SourceImages, Sequence[Decision], str]:
        """Return the headers as they are: no PACS is asked."""
        return source, (), ""

    def provenance(self, profile: ResultProfile, settings_sha256: str, patient_sha256: str) -> Provenance:
        """Return what the objects carry besides findings."""
        if self.origin is None:
            raise ValueError("no objects are made of files without headers")
        return replace(self.origin, profile=profile, settings_sha256=settings_sha256, patient_sha256=patient_sha256)

    def recognised(self, recognitions: Sequence[Recognition]) -> None:
        """Note nothing: decisions tell what the series were taken for."""

    def decided(self, step: Step, decisions: Iterable[Decision], flags: Iterable[Flag] = ()) -> None:  # noqa: ARG002 - flags stand in the findings
        """Note what a step decided, in place of what was noted of it before."""
        self._decisions[step] = tuple(decisions)

    def chose(self, selection: SeriesSelection) -> None:
        """Note nothing: the selection is kept."""

    def found(self, findings: Findings) -> None:
        """Keep what was found."""
        self._findings = findings

    def encoded(self, made: Mapping[str, ResultObjects]) -> None:
        """Keep the objects."""
        self._objects = tuple(one for results in made.values() for one in results.objects)
