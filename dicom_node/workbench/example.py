"""The synthetic example of the workbench: a phantom study, with the tumour that was implanted as its ground truth."""

from pathlib import Path

from conversion.nifti import write_nifti
from conversion.volume import Grid, LabelVolume
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom, write_study
from dicom_node.phantom.scanner import series_affine
from dicom_node.workbench.ground_truth import TruthFile
from dicom_node.workbench.job_input import DicomInput, GivenFiles

__all__ = ["make_example"]


def make_example(work: Path) -> GivenFiles:
    """Make the phantom study of the demonstration, and its tumour on the grid of the T1 after contrast."""
    phantom = make_phantom(DEMO_PLAN)
    write_study(phantom, work / "dicom")
    series = next(series for series in DEMO_PLAN.series if series.role == "T1CE")
    shape = (series.slices, series.rows, series.columns)
    affine = series_affine(DEMO_PLAN, series)
    grid = Grid(shape=shape, affine=affine, frame_of_reference_uid=phantom.frame_of_reference_uid)
    truth = work / "implanted.nii.gz"
    write_nifti(LabelVolume(grid=grid, labels=phantom.labels_at(affine, shape)), truth)
    return GivenFiles(
        images=DicomInput(folder=work / "dicom"), truth=TruthFile(path=truth, name="the tumour that was implanted")
    )
