"""The step `convert`: from the chosen series to volumes, each on its own grid."""

from conversion.reading import read_source_images, read_volumes
from dicom_node.runs.run import Run
from viewer_integration.rehearsal import rehearse

__all__ = ["convert"]


def convert(run: Run) -> None:
    """Read the voxels of the chosen series, and check that a result can be written before minutes are spent on it.

    Stores the volumes.
    """
    selection = run.selection()
    volumes = read_volumes(selection)
    source = read_source_images(selection.series[selection.reference])
    rehearse(source, volumes[selection.reference].grid, run.profiles().values())
    run.kept.save_volumes(volumes)
