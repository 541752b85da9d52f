"""The step `segment`: from aligned volumes to labels, findings and flags."""

from dicom_node.runs.processing_hash import processing_sha256
from dicom_node.runs.run import Run
from dicom_node.runs.step import Step
from inference.gate import with_flags, withhold
from inference.measurements import Findings, measure
from inference.segmentation import Segmentation

__all__ = ["findings_of", "segment"]


def segment(run: Run) -> None:
    """Find the tumour and measure it.

    Stores the segmentation, and the gate that was in force.
    """
    segmentation = run.segmenter().segment(run.kept.load_aligned(), spacing_known=run.spacing_known)
    run.kept.save_segmentation(segmentation)
    run.kept.save_gate(run.processing.admitted, processing_sha256(run.processing, run.kept.load_rules()))
    findings = findings_of(run, segmentation)
    run.decided(Step.SEGMENT, segmentation.decisions, findings.flags)
    run.found(findings)


def findings_of(run: Run, segmentation: Segmentation) -> Findings:
    """Measure the segmentation, and apply the gate that was in force when it was made."""
    findings = measure(segmentation)
    if run.spacing_known:
        findings = with_flags(findings, run.kept.load_alignment_decisions(), run.kept.load_patient())
    return withhold(findings, run.kept.load_gate()[0])
