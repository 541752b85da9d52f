"""The step `align`: from volumes on their own grids to volumes on the reference's."""

from conversion.alignment import align as align_volumes
from dicom_node.runs.run import Run
from dicom_node.runs.step import Step

__all__ = ["align"]


def align(run: Run) -> None:
    """Bring every sequence onto the reference's grid.

    Leaves the volumes there, and how they got there.
    """
    aligned = align_volumes(run.kept.load_volumes(), run.selection().reference)
    run.kept.save_aligned(aligned)
    run.decided(Step.ALIGN, aligned.decisions)
