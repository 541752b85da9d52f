"""The small synthetic MR study that is sent to a peer and fetched back to test the connection."""

import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.connection_uids import TEST_PATIENT_ID
from dicom_node.phantom.mr_series import SeriesIdentity, write_series
from dicom_node.phantom.plan import SeriesPlan

__all__ = ["write_connection_study"]

_SERIES = SeriesPlan(
    role="FLAIR",
    number=1,
    description="Connection test, synthetic",
    plane="axial",
    in_plane_mm=3.0,
    slice_mm=5.0,
    gap_mm=1.0,
    rows=64,
    columns=64,
    slices=6,
)
_HEAD, _SPOT = 300, 900
"""Stored values of the ellipse that stands for a head, and of the bright spot in it."""


def write_connection_study(folder: Path, uids: list[str]) -> list[Path]:
    """Write six small slices of an ellipse with a bright spot, and return their files.

    The pixels are random in part, so that an older study cannot be taken for this one.

    Parameters
    ----------
    uids
        Of the study, the series, the frame of reference and each of the six instances.
    """
    study_uid, series_uid, frame_of_reference_uid, *instance_uids = uids
    identity = SeriesIdentity(
        patient_id=TEST_PATIENT_ID,
        study_uid=study_uid,
        series_uid=series_uid,
        frame_of_reference_uid=frame_of_reference_uid,
        instance_uids=tuple(instance_uids),
        start_minute=0,
        study_description="GlioNode connection test, no patient",
    )
    return write_series(_SERIES, identity, _affine(), _pixels(), folder)


def _affine() -> NDArray[np.float64]:
    """Return the affine of axial slices, index (slice, row, column, 1) to patient LPS mm."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = (
        _SERIES.slice_mm + _SERIES.gap_mm,
        _SERIES.in_plane_mm,
        _SERIES.in_plane_mm,
    )
    affine[:3, 3] = -affine[:3, :3] @ (np.array([_SERIES.slices, _SERIES.rows, _SERIES.columns]) - 1) / 2
    affine[3, 3] = 1.0
    return affine


def _pixels() -> NDArray[np.uint16]:
    slices, rows, columns = np.ogrid[: _SERIES.slices, : _SERIES.rows, : _SERIES.columns]
    middle = (_SERIES.rows - 1) / 2
    in_head = ((rows - middle) / 27) ** 2 + ((columns - middle) / 22) ** 2 < 1
    in_spot = (rows - 24) ** 2 + (columns - 38) ** 2 + 9 * (slices - 3) ** 2 < 36
    noise = np.frombuffer(secrets.token_bytes(in_spot.size), np.uint8).reshape(in_spot.shape) % 60
    return np.asarray(noise + _HEAD * in_head + (_SPOT - _HEAD) * in_spot, np.uint16)
