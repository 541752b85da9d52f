"""Plans of phantom studies: the tumour, and the geometry of each series."""

from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["DEMO_PLAN", "TEST_PLANS", "PhantomPlan", "SeriesPlan", "Vector"]

Vector = tuple[float, float, float]

_ROLES = ("T1", "T1CE", "T2", "FLAIR")
_PLANES = ("axial", "sagittal", "coronal")


@dataclass(frozen=True, kw_only=True)
class SeriesPlan:
    """One series of the study.

    Attributes
    ----------
    role
        "T1", "T1CE", "T2" or "FLAIR".
    plane
        "axial", "sagittal" or "coronal": the orientation before `oblique_deg` rotates it.
    oblique_deg
        Rotation of the slices about the patient's x, y and z axis.
    slices, slice_mm, gap_mm
        Number of slices, their thickness, and the gap between two.
    transfer_syntax
        Transfer syntax UID of the files: uncompressed little endian, or one that pydicom can compress to.
    patient_shift_mm, patient_rotation_deg
        Position of the head in this series relative to the others (motion between series), LPS.
    """

    role: str
    number: int
    description: str
    plane: str
    oblique_deg: Vector = (0.0, 0.0, 0.0)
    in_plane_mm: float
    slice_mm: float
    gap_mm: float = 0.0
    rows: int
    columns: int
    slices: int
    transfer_syntax: str = ExplicitVRLittleEndian
    patient_shift_mm: Vector = (0.0, 0.0, 0.0)
    patient_rotation_deg: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Refuse an unknown role or plane, and sizes that are not positive."""
        if self.role not in _ROLES or self.plane not in _PLANES:
            message = f"role {self.role!r} or plane {self.plane!r} is unknown; use one of {_ROLES} and one of {_PLANES}"
            raise ValueError(message)
        if min(self.in_plane_mm, self.slice_mm, self.rows, self.columns, self.slices) <= 0 or self.gap_mm < 0:
            message = f"series {self.number}: every size must be above zero"
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class PhantomPlan:
    """One phantom study.

    Attributes
    ----------
    seed
        Seed of everything random: shape of the brain and of the tumour, texture, noise.
    tumour_centre_mm
        Centre of the tumour core in the head's space: MNI152 in LPS order (x to the left, y to the back).
    size_ml
        Volume of the whole tumour; 0 for a healthy head.
    core_share, necrosis_share
        Tumour core (NCR + ET) as a share of the whole tumour; necrosis as a share of the core.
    mass_effect_mm
        How far the tumour displaces the tissue around it.
    patient_shift_mm, patient_rotation_deg
        Position of the head in the scanner, LPS; the rotation is about the head's origin.
    """

    seed: int
    tumour_centre_mm: Vector
    size_ml: float
    core_share: float = 0.45
    necrosis_share: float = 0.4
    mass_effect_mm: float = 4.0
    patient_shift_mm: Vector = (0.0, 0.0, 0.0)
    patient_rotation_deg: Vector = (0.0, 0.0, 0.0)
    series: tuple[SeriesPlan, ...]

    def __post_init__(self) -> None:
        """Refuse invalid sizes and series that share a number."""
        if self.size_ml < 0 or not 0 < self.core_share < 1 or not 0 < self.necrosis_share < 1:
            message = "size_ml must not be negative, and the shares must be between 0 and 1"
            raise ValueError(message)
        if len({series.number for series in self.series}) != len(self.series):
            message = "two series have the same number"
            raise ValueError(message)


DEMO_PLAN = PhantomPlan(
    seed=20261,
    tumour_centre_mm=(-33.0, 38.0, 30.0),
    size_ml=55.0,
    patient_shift_mm=(2.5, -4.0, 6.0),
    patient_rotation_deg=(-4.0, 2.0, 3.0),
    series=(
        SeriesPlan(
            role="T1",
            number=2,
            description="T1 3D GRE sag",
            plane="sagittal",
            in_plane_mm=1.0,
            slice_mm=1.3,
            rows=240,
            columns=256,
            slices=136,
        ),
        SeriesPlan(
            role="T2",
            number=3,
            description="T2 TSE tra",
            plane="axial",
            oblique_deg=(-12.0, 3.0, 0.0),
            in_plane_mm=0.6,
            slice_mm=5.0,
            gap_mm=0.5,
            rows=400,
            columns=352,
            slices=32,
        ),
        SeriesPlan(
            role="FLAIR",
            number=4,
            description="FLAIR cor",
            plane="coronal",
            in_plane_mm=0.9,
            slice_mm=4.0,
            gap_mm=0.4,
            rows=256,
            columns=224,
            slices=46,
        ),
        SeriesPlan(
            role="T1CE",
            number=6,
            description="T1 3D GRE tra +Gd",
            plane="axial",
            oblique_deg=(-5.0, 0.0, 0.0),
            in_plane_mm=0.95,
            slice_mm=2.0,
            rows=256,
            columns=208,
            slices=86,
        ),
    ),
)
"""The study of ``glionode demo``: four grids, T2 oblique, a tumour in the right parietal lobe."""


def _coarse_series(t1: str, t2: str, flair: str, oblique_deg: Vector) -> tuple[SeriesPlan, ...]:
    """Return four small series; their planes differ between the test phantoms."""
    upright = (0.0, 0.0, 0.0)
    return (
        _coarse("T1", 1, t1, 6.5, upright),
        _coarse("T2", 2, t2, 6.5, oblique_deg),
        _coarse("FLAIR", 3, flair, 5.0, upright),
        _coarse("T1CE", 4, "axial", 5.0, (oblique_deg[0] / 2, 0.0, 0.0)),
    )


def _coarse(role: str, number: int, plane: str, slice_mm: float, oblique_deg: Vector) -> SeriesPlan:
    extent_mm = {"axial": 160.0, "sagittal": 160.0, "coronal": 190.0}[plane]
    return SeriesPlan(
        role=role,
        number=number,
        description=f"{role} {plane}",
        plane=plane,
        oblique_deg=oblique_deg,
        in_plane_mm=1.25,
        slice_mm=slice_mm,
        rows=192,
        columns=192,
        slices=round(extent_mm / slice_mm),
    )


TEST_PLANS = (
    PhantomPlan(
        seed=101,
        tumour_centre_mm=(32.0, -36.0, 22.0),
        size_ml=40.0,
        patient_rotation_deg=(3.0, 0.0, -4.0),
        series=_coarse_series("axial", "axial", "axial", (10.0, 0.0, 0.0)),
    ),
    PhantomPlan(
        seed=202,
        tumour_centre_mm=(-44.0, 22.0, -6.0),
        size_ml=24.0,
        core_share=0.38,
        patient_shift_mm=(-3.0, 5.0, -8.0),
        series=_coarse_series("sagittal", "axial", "axial", (-15.0, 4.0, 0.0)),
    ),
    PhantomPlan(
        seed=303,
        tumour_centre_mm=(30.0, 46.0, 36.0),
        size_ml=60.0,
        necrosis_share=0.3,
        patient_rotation_deg=(-6.0, 3.0, 2.0),
        series=_coarse_series("sagittal", "axial", "coronal", (0.0, 12.0, 0.0)),
    ),
)
"""Left frontal, right temporal and left parietal tumours; no network was trained on them."""
