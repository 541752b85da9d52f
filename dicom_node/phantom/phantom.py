"""The phantom study: a head with a tumour known to the voxel, and the DICOM files of its series."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dicom_node.phantom.anatomy import Head, build_head
from dicom_node.phantom.contrast import signal
from dicom_node.phantom.head_grid import head_affine
from dicom_node.phantom.mr_series import SeriesIdentity, write_series
from dicom_node.phantom.plan import DEMO_PLAN, TEST_PLANS, PhantomPlan, SeriesPlan
from dicom_node.phantom.scanner import head_to_patient, scan, series_affine
from dicom_node.phantom.tumour import ED, ET, NCR, Tumour, grow_tumour

__all__ = ["DEMO_PLAN", "TEST_PLANS", "Phantom", "PhantomPlan", "SeriesPlan", "make_phantom", "write_study"]

_UID_NAMESPACE = uuid.UUID("6f1c2c56-8d0b-5b7e-9a51-3f6f4c0e7d21")
_HEAD_VOXEL_ML = 0.001


@dataclass(frozen=True, kw_only=True, eq=False)
class Phantom:
    """A head with a tumour; make one with `make_phantom`."""

    plan: PhantomPlan
    head: Head
    tumour: Tumour

    @property
    def study_uid(self) -> str:
        """Study Instance UID; the same plan gives the same study."""
        return self.uid("study")

    @property
    def frame_of_reference_uid(self) -> str:
        """Frame of Reference UID, shared by all series."""
        return self.uid("frame of reference")

    def uid(self, *what: object) -> str:
        """Return the UID of a part of this study, derived from the plan and the part's name (PS3.5 B.2, root 2.25)."""
        name = "/".join(str(part) for part in (self.plan, *what))
        return f"2.25.{uuid.uuid5(_UID_NAMESPACE, name).int}"

    @property
    def true_volume_ml(self) -> Mapping[str, float]:
        """Volumes of NCR, ED, ET, the whole tumour WT and the tumour core TC (NCR + ET)."""
        counts = np.bincount(self.tumour.labels.ravel(), minlength=ET + 1)
        ncr, ed, et = (float(counts[label]) * _HEAD_VOXEL_ML for label in (NCR, ED, ET))
        return MappingProxyType({"NCR": ncr, "ED": ed, "ET": et, "WT": ncr + ed + et, "TC": ncr + et})

    @property
    def tumour_centroid_mm(self) -> NDArray[np.float64]:
        """Centre of mass of the whole tumour in patient LPS."""
        index = np.mean(np.nonzero(self.tumour.labels), axis=1)
        return np.asarray((head_to_patient(self.plan) @ head_affine() @ [*index, 1.0])[:3])

    def labels_at(self, affine: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Return the true labels at the voxel centres of any grid.

        Parameters
        ----------
        affine
            Shape (4, 4), index (slice, row, column, 1) to patient LPS mm.
        shape
            Numbers of slices, rows and columns.

        Returns
        -------
        numpy.ndarray
            uint8 of that shape: 0 outside, 1 NCR, 2 ED, 3 ET.
        """
        to_head = np.linalg.inv(head_to_patient(self.plan) @ head_affine()) @ affine
        labels = ndimage.affine_transform(
            self.tumour.labels, to_head[:3, :3], to_head[:3, 3], shape, np.uint8, order=0, mode="grid-constant"
        )
        return np.asarray(labels)


def make_phantom(plan: PhantomPlan) -> Phantom:
    """Build the head and the tumour of a plan.

    Raises
    ------
    ValueError
        When the tumour does not fit at the planned place.
    """
    head = build_head(plan)
    return Phantom(plan=plan, head=head, tumour=grow_tumour(plan, head))


def write_study(phantom: Phantom, folder: Path) -> list[Path]:
    """Scan the phantom and write `folder`/<series number>/<instance>.dcm.

    Returns
    -------
    list of Path
        Every file, in the order of series and slices; equal plans give equal bytes.
    """
    return [path for series in phantom.plan.series for path in _write(phantom, series, folder)]


def _write(phantom: Phantom, series: SeriesPlan, folder: Path) -> list[Path]:
    plan = phantom.plan
    identity = SeriesIdentity(
        patient_id=f"GLIONODE-PHANTOM-{plan.seed}",
        study_uid=phantom.study_uid,
        series_uid=phantom.uid("series", series.number),
        frame_of_reference_uid=phantom.frame_of_reference_uid,
        instance_uids=tuple(phantom.uid("series", series.number, "instance", k) for k in range(series.slices)),
        start_minute=6 * plan.series.index(series),
    )
    stored = scan(plan, series, signal(series.role, phantom.head, phantom.tumour, plan.seed))
    return write_series(series, identity, series_affine(plan, series), stored, folder / str(series.number))
