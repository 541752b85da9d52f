"""The interface of a run for its steps, however it is executed: inputs, data of earlier steps, where to report."""

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
    """The data that one step of a run stores for the next."""

    def save_patient(self, patient: PatientFacts) -> None:
        """Store the patient's age and operations from the headers."""

    def load_patient(self) -> PatientFacts:
        """Return the patient's age and operations from the headers; empty if there are no headers."""

    def save_rules(self, rules: Sequence[SiteRule]) -> None:
        """Store the site rules given to recognition."""

    def load_rules(self) -> Sequence[SiteRule]:
        """Return the site rules given to recognition."""

    def save_selection(self, selection: SeriesSelection) -> None:
        """Store which series has which role."""

    def save_volumes(self, volumes: Mapping[Role, ImageVolume]) -> None:
        """Store the sequences on their own grids."""

    def load_volumes(self) -> Mapping[Role, ImageVolume]:
        """Return the sequences on their own grids."""

    def save_aligned(self, aligned: AlignedVolumes) -> None:
        """Store the sequences on the reference's grid."""

    def load_aligned(self) -> AlignedVolumes:
        """Return the sequences on the reference's grid."""

    def load_alignment_decisions(self) -> Sequence[Decision]:
        """Return the decisions of the alignment."""

    def save_segmentation(self, segmentation: Segmentation) -> None:
        """Store labels and probabilities, and the model, sequences, decisions and flags behind them."""

    def load_segmentation(self) -> Segmentation:
        """Return the stored segmentation."""

    def save_gate(self, admitted: Collection[str], settings_sha256: str) -> None:
        """Store the flags that withhold no result, and the hash of the settings."""

    def load_gate(self) -> tuple[Collection[str], str]:
        """Return the flags that withhold no result, and the hash of the settings."""


class Run(Protocol):
    """One study on its way through the steps.

    Attributes
    ----------
    processing
        The settings that affect a result.
    spacing_known
        False for an image slice without a pixel spacing.
    kept
        The data that the steps store for one another.
    """

    @property
    def processing(self) -> ProcessingSettings: ...  # noqa: D102 - described above, as are the two below

    @property
    def spacing_known(self) -> bool: ...  # noqa: D102

    @property
    def kept(self) -> Kept: ...  # noqa: D102

    def study(self) -> Study:
        """Read the headers of its images."""

    def rules(self) -> Sequence[SiteRule]:
        """Return the site's rules about its series."""

    def incomplete(self) -> Mapping[SeriesUID, str]:
        """Return the series with images that are known to be missing, and what is missing."""

    def came_again(self) -> Sequence[Decision]:
        """Return the decisions about images that were received in several versions."""

    def selection(self) -> SeriesSelection:
        """Return the stored selection."""

    def profiles(self) -> Mapping[str, ResultProfile]:
        """Return the result profiles of the destinations, by key; the default profile if there is no destination."""

    def segmenter(self) -> "Segmenter":
        """Return the model, ready to run."""

    def corrected(self, source: SourceImages) -> tuple[SourceImages, Sequence[Decision], str]:
        """Return headers with the current patient data of the PACS, what that changed, and the hash of these data."""

    def provenance(self, profile: ResultProfile, settings_sha256: str, patient_sha256: str) -> Provenance:
        """Return what the objects for a profile contain besides findings."""

    def recognised(self, recognitions: Sequence[Recognition]) -> None:
        """Note how the series were recognised."""

    def decided(self, step: Step, decisions: Iterable[Decision], flags: Iterable[Flag] = ()) -> None:
        """Note the decisions of a step, replacing earlier ones of the same step."""

    def chose(self, selection: SeriesSelection) -> None:
        """Note which series are used; a run with the same inputs as an earlier one may end here."""

    def found(self, findings: Findings) -> None:
        """Note the findings."""

    def encoded(self, made: Mapping[str, ResultObjects]) -> None:
        """Store the objects of each profile."""
