"""A result is rehearsed before the networks run, so that what the source's headers do not allow is said at once."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from conversion.reading import SourceImages
from conversion.volume import Grid, LabelVolume
from inference.measurements import measure
from inference.regions import Label, Region
from inference.segmentation import ModelIdentity, Segmentation
from viewer_integration.errors import ResultError, ResultReason, UnusableSource
from viewer_integration.profile import DEFAULT_PROFILE, ResultProfile
from viewer_integration.provenance import Provenance
from viewer_integration.result import encode_results

__all__ = ["rehearse"]

_PROVENANCE = Provenance(
    ready_at=datetime(2000, 1, 1, tzinfo=UTC),
    manifest_sha256="",
    settings_sha256="",
    software_version="0",
    station="REHEARSAL",
)
"""Of objects that nobody sees."""


def rehearse(source: SourceImages, grid: Grid, profiles: Iterable[ResultProfile] = (DEFAULT_PROFILE,)) -> None:
    """Encode and prove SEG and SR of a single voxel, as they will be of the tumour, in each form that is wanted.

    Parameters
    ----------
    source
        The reference series.
    grid
        The reference's, on which labels will lie.
    profiles
        What destinations want.

    Raises
    ------
    UnusableSource
        When no valid result can be derived from these headers.
    """
    labels = np.zeros(grid.shape, np.uint8)
    labels[tuple(size // 2 for size in grid.shape)] = Label.WHOLE_TUMOUR
    segmentation = Segmentation(
        label_volume=LabelVolume(grid=grid, labels=labels),
        regions=(Region.WT,),
        probabilities={},
        model=ModelIdentity(name="rehearsal", version="0", sha256=""),
        sequences=(),
        decisions=(),
    )
    try:
        for profile in profiles:
            encode_results(source, segmentation, measure(segmentation), replace(_PROVENANCE, profile=profile))
    except (ResultError, OSError, MemoryError):
        raise
    except Exception as error:
        # highdicom raises many kinds, in sentences that quote values of patients.
        sentence = f"the headers of the reference series allow no valid result ({type(error).__name__})"
        raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence) from error
