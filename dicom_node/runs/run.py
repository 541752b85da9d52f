"""What a step may ask of its run, whoever executes it: what is given, what earlier steps kept, and where to tell."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision
from conversion.reading import SourceImages
from conversion.recognition.recognise import Recognition
from conversion.recognition.site_rules import SiteRule
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import PatientFacts, SeriesUID, Study
from conversion.volume import ImageVolume
from dicom_node.runs.step import Step
from dicom_node.settings import ProcessingSettings
from inference.flags import Flag
from inference.measurements import Findings
from inference.segmentation import Segmentation
from viewer_integration.profile import ResultProfile
from viewer_integration.provenance import Provenance
from viewer_integration.result import ResultObjects

if TYPE_CHECKING:
    from inference.segmenter import Segmenter

__all__ = ["Kept", "Run"]


class Kept(Protocol):
    """What one step of a run leaves for the next."""

    def save_patient(self, patient: PatientFacts) -> None:
        """Keep what the headers tell of the patient's age and operations."""

    def load_patient(self) -> PatientFacts:
        """Return what the headers tell of the patient; nothing where there are none."""

    def save_rules(self, rules: Sequence[SiteRule]) -> None:
        """Keep the site rules that recognition was given."""

    def load_rules(self) -> Sequence[SiteRule]:
        """Return the site rules that recognition was given."""

    def save_selection(self, selection: SeriesSelection) -> None:
        """Keep which series has which role."""

    def save_volumes(self, volumes: Mapping[Role, ImageVolume]) -> None:
        """Keep the sequences on their own grids."""

    def load_volumes(self) -> Mapping[Role, ImageVolume]:
        """Return the sequences on their own grids."""

    def save_aligned(self, aligned: AlignedVolumes) -> None:
        """Keep the sequences on the reference's grid."""

    def load_aligned(self) -> AlignedVolumes:
        """Return the sequences on the reference's grid."""

    def load_alignment_decisions(self) -> Sequence[Decision]:
        """Return what was decided while the sequences were brought together."""

    def save_segmentation(self, segmentation: Segmentation) -> None:
        """Keep labels, probabilities and what they rest on."""

    def load_segmentation(self) -> Segmentation:
        """Return the kept segmentation."""

    def save_gate(self, admitted: Collection[str], settings_sha256: str) -> None:
        """Keep which flags withhold no result, and the hash of the settings."""

    def load_gate(self) -> tuple[Collection[str], str]:
        """Return the flags that withhold no result, and the hash of the settings."""


class Run(Protocol):
    """One study on its way through the steps.

    Attributes
    ----------
    processing
        The settings that decide about a result.
    spacing_known
        False for an image slice that states no size of its pixels.
    kept
        What the steps leave for one another.
    """

    @property
    def processing(self) -> ProcessingSettings: ...  # noqa: D102 - told above, as are the two below

    @property
    def spacing_known(self) -> bool: ...  # noqa: D102

    @property
    def kept(self) -> Kept: ...  # noqa: D102

    def study(self) -> Study:
        """Read the headers of its images."""

    def rules(self) -> Sequence[SiteRule]:
        """Return the site's rules about its series."""

    def incomplete(self) -> Mapping[SeriesUID, str]:
        """Return the series of which images are known to be missing, and what is missing."""

    def came_again(self) -> Sequence[Decision]:
        """Return what is to be said of images that came in several versions."""

    def selection(self) -> SeriesSelection:
        """Return the kept selection."""

    def profiles(self) -> Mapping[str, ResultProfile]:
        """Return what destinations want, by its key; the default where there is none."""

    def segmenter(self) -> "Segmenter":
        """Return the model, ready to run."""

    def corrected(self, source: SourceImages) -> tuple[SourceImages, Sequence[Decision], str]:
        """Return headers with the patient as the PACS has it now, what that changed, and a hash of it."""

    def provenance(self, profile: ResultProfile, settings_sha256: str, patient_sha256: str) -> Provenance:
        """Return what the objects for a profile carry besides findings."""

    def recognised(self, recognitions: Sequence[Recognition]) -> None:
        """Note what the series were taken for."""

    def decided(self, step: Step, decisions: Iterable[Decision], flags: Iterable[Flag] = ()) -> None:
        """Note what a step decided, in place of what was noted of it before."""

    def chose(self, selection: SeriesSelection) -> None:
        """Note which series are used; a run whose inputs an earlier one had may end here."""

    def found(self, findings: Findings) -> None:
        """Note what was found."""

    def encoded(self, made: Mapping[str, ResultObjects]) -> None:
        """Keep the objects of each profile."""
