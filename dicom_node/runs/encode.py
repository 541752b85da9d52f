"""The step `encode`: from labels and findings to verified SEG and SR."""

from conversion.reading import read_source_images
from dicom_node.runs.run import Run
from dicom_node.runs.segment import findings_of
from dicom_node.runs.step import Step
from viewer_integration.result import encode_results

__all__ = ["encode"]


def encode(run: Run) -> None:
    """Write SEG and SR in the profile of each destination; for a withheld result only the SR, which states why.

    Stores the objects.
    """
    selection, segmentation = run.selection(), run.kept.load_segmentation()
    source, corrected, patient_sha256 = run.corrected(read_source_images(selection.series[selection.reference]))
    findings, (_, settings_sha256) = findings_of(run, segmentation), run.kept.load_gate()
    made = {
        key: encode_results(
            source,
            segmentation,
            findings,
            run.provenance(profile, settings_sha256, patient_sha256),
            selection.decisions,
        )
        for key, profile in run.profiles().items()
    }
    run.decided(Step.ENCODE, [*corrected, *next(iter(made.values())).decisions])
    run.encoded(made)
