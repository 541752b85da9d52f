"""The main job on one screen: from the files of a study to the objects of its result."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conversion.alignment import AlignedVolumes, align
from conversion.decision import Decision
from conversion.reading import read_series, read_source_images, read_study, read_volumes
from conversion.recognition.recognise import recognise
from conversion.recognition.site_rules import SiteRule
from conversion.selection import SeriesSelection, select_series
from conversion.sequences import Role
from inference.gate import with_flags, withhold
from inference.measurements import Findings, measure
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter
from viewer_integration.provenance import Provenance
from viewer_integration.rehearsal import rehearse
from viewer_integration.result import ResultObjects, encode_results

__all__ = ["Outcome", "find_tumour"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything a run produced."""

    selection: SeriesSelection
    aligned: AlignedVolumes
    segmentation: Segmentation
    findings: Findings
    results: ResultObjects

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Return every decision, in the order they were made."""
        parts = (self.selection, self.aligned, self.segmentation, self.results)
        return tuple(decision for part in parts for decision in part.decisions)


def find_tumour(
    paths: Iterable[Path],
    reference: Role,
    segmenter: Segmenter,
    provenance: Provenance,
    rules: Sequence[SiteRule] = (),
    admitted: Collection[str] = (),
) -> Outcome:
    """Process one study; `dicom_node.steps` is the same line, cut into durable steps."""
    study = read_study(paths)
    selection = select_series(study, recognise(study, read_series, rules), reference)
    volumes = read_volumes(selection)
    source = read_source_images(selection.series[selection.reference])
    rehearse(source, volumes[selection.reference].grid, [provenance.profile])
    aligned = align(volumes, selection.reference)
    segmentation = segmenter.segment(aligned)
    findings = withhold(with_flags(measure(segmentation), aligned.decisions, study.patient), admitted)
    results = encode_results(source, segmentation, findings, provenance, selection.decisions)
    return Outcome(selection=selection, aligned=aligned, segmentation=segmentation, findings=findings, results=results)
