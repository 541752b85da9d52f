"""Encodes a trial result before the networks run, so that unusable source headers are reported at once."""

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
"""Provenance of the trial objects, which are discarded."""


def rehearse(source: SourceImages, grid: Grid, profiles: Iterable[ResultProfile] = (DEFAULT_PROFILE,)) -> None:
    """Encode and verify SEG and SR of a single voxel, as later those of the tumour, in the form of each profile.

    Parameters
    ----------
    source
        The reference series.
    grid
        Grid of the reference, on which the labels will lie.
    profiles
        Profiles of the destinations.

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
        # highdicom raises many kinds of errors, whose messages quote patient data.
        sentence = f"no valid result can be made from the headers of the reference series ({type(error).__name__})"
        raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence) from error
