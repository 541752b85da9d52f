"""A run whose labels are known: a series written to files, read by the product, labelled by hand, and encoded.

The labels travel as the pixels of the series, so what comes out at the far end has gone through the product's whole
geometry, and the affine it is compared with is the one the files were written from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.reading import SourceImages, read_series, read_source_images, read_study
from conversion.study import Series
from conversion.volume import LabelVolume
from inference.measurements import Findings, measure
from inference.regions import Region
from inference.segmentation import ModelIdentity, Segmentation
from tests.support.dicom_series import mr_slices, write_slices
from viewer_integration.provenance import Provenance
from viewer_integration.result import ResultObjects, encode_results

__all__ = ["MODEL", "PROVENANCE", "Run", "make_run", "run_of_files", "run_of_labels", "segmentation_of"]

MODEL = ModelIdentity(name="hand-made", version="3.2.1", sha256="ab" * 32)
PROVENANCE = Provenance(
    ready_at=datetime(2024, 3, 5, 14, 25, 36, tzinfo=UTC),
    manifest_sha256="cd" * 32,
    settings_sha256="ef" * 32,
    software_version="0.1.0",
    station="TESTS",
)
_ALL = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What goes into the encoding."""

    source: SourceImages
    segmentation: Segmentation
    findings: Findings
    provenance: Provenance
    selection: tuple[Decision, ...] = ()

    def encode(self) -> ResultObjects:
        """Encode the results."""
        return encode_results(self.source, self.segmentation, self.findings, self.provenance, self.selection)


def make_run(
    folder: Path,
    labels: NDArray[np.uint8],
    affine: NDArray[np.float64],
    order: Sequence[int] | None = None,
    **attributes: object,
) -> Run:
    """Write a series whose pixels are the labels, read it, and take the pixels as labels.

    Parameters
    ----------
    labels
        Shape (slice, row, column), as the slices are written.
    affine
        Shape (4, 4), that index to LPS mm.
    order
        The order of the files.
    attributes
        Of every instance, by keyword.
    """
    slices = mr_slices(labels.astype(np.uint16) * 100, affine, "source", **attributes)
    return run_of_files(write_slices(folder, slices, order))


def run_of_files(paths: Iterable[Path], part: str = "") -> Run:
    """Return a run over the files of one series whose pixels are labels times 100; of one of its volumes by name."""
    (series,) = (one for one in read_study(paths).series if one.part == part)
    volume = read_series(series)
    label_volume = LabelVolume(grid=volume.grid, labels=np.asarray(volume.voxels / 100, np.uint8))
    return run_of_labels(series, label_volume)


def run_of_labels(series: Series, label_volume: LabelVolume) -> Run:
    """Return a run over a series with any labels on its grid."""
    segmentation = segmentation_of(label_volume)
    return Run(
        source=read_source_images(series),
        segmentation=segmentation,
        findings=measure(segmentation),
        provenance=PROVENANCE,
    )


def segmentation_of(label_volume: LabelVolume) -> Segmentation:
    """Return labels as a segmentation: of the whole tumour alone where its label occurs, else of all regions."""
    whole = bool(np.any(label_volume.labels == 5))
    return Segmentation(
        label_volume=label_volume,
        regions=(Region.WT,) if whole else _ALL,
        probabilities={},
        model=MODEL,
        sequences=("T1", "FLAIR") if whole else ("T1", "T1CE", "T2", "FLAIR"),
        decisions=(),
    )
