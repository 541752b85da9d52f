"""The step `align`: from volumes on their own grids to volumes on the grid of the reference."""

from conversion.alignment import align as align_volumes
from dicom_node.runs.run import Run
from dicom_node.runs.step import Step

__all__ = ["align"]


def align(run: Run) -> None:
    """Register every sequence with the reference and resample it onto the reference's grid.

    Stores the resampled volumes and their transforms.
    """
    aligned = align_volumes(run.kept.load_volumes(), run.selection().reference)
    run.kept.save_aligned(aligned)
    run.decided(Step.ALIGN, aligned.decisions)
