"""The phantom study is what its plan says, measured from its files."""

import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from scipy import ndimage

from conversion.reading import read_series as read_pixels
from conversion.reading import read_study
from conversion.recognition.recognise import recognise
from conversion.selection import select_series
from dicom_node.phantom.anatomy import Head, Tissue
from dicom_node.phantom.contrast import SEQUENCES
from dicom_node.phantom.head_grid import HEAD_ORIGIN_MM, HEAD_SHAPE
from dicom_node.phantom.phantom import DEMO_PLAN, TEST_PLANS, Phantom, PhantomPlan, make_phantom, write_study
from dicom_node.phantom.smooth_noise import smooth_noise
from dicom_node.phantom.tumour import Tumour, grow_tumour
from tests.support.phantoms import ROLES, phantom_of, small_plan, small_series, write_shuffled

CENTROID_MM = 0.5
NCR, ED, ET = 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class ReadSeries:
    """One series as another program would read it: sorted by position, LPS from the headers."""

    affine: NDArray[np.float64]
    voxels: NDArray[np.float64]
    first: pydicom.Dataset

    def centroid_mm(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the centre of mass of a mask in patient LPS."""
        index = np.mean(np.nonzero(mask), axis=1)
        return np.asarray((self.affine @ [*index, 1.0])[:3])


def read_series(folder: Path) -> ReadSeries:
    instances = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    across, down = np.reshape(instances[0].ImageOrientationPatient, (2, 3)).astype(float)
    normal = np.cross(across, down)
    instances.sort(key=lambda ds: float(np.dot(normal, np.array(ds.ImagePositionPatient, float))))
    first, last = (np.array(instances[k].ImagePositionPatient, float) for k in (0, -1))
    rows_mm, columns_mm = map(float, instances[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (len(instances) - 1)
    affine[:3, 1] = down * rows_mm
    affine[:3, 2] = across * columns_mm
    affine[:3, 3] = first
    voxels = np.stack([ds.pixel_array.astype(float) for ds in instances])
    return ReadSeries(affine=affine, voxels=voxels, first=instances[0])


def of_one_kind_in_white_matter(phantom: Phantom) -> Phantom:
    """Return the same tumour, all edema, in a head of nothing but white matter.

    Where it changes an image by half of `edema_change` or more, it fills at least half of the voxel.
    """
    whole = phantom.tumour.labels > 0
    nothing = np.zeros_like(phantom.head.gm)
    return replace(
        phantom,
        head=Head(
            tissue=np.full_like(phantom.head.tissue, Tissue.BRAIN), gm=nothing, wm=nothing + 1.0, texture=nothing
        ),
        tumour=Tumour(labels=np.where(whole, np.uint8(ED), np.uint8(0)), infiltration=whole.astype(np.float32)),
    )


def edema_change(role: str) -> float:
    """Return how much edema of full strength changes white matter; it replaces 85 % of the signal."""
    return 0.85 * abs(SEQUENCES[role].ed - 1.0)


def changes_by_tumour(phantom: Phantom, folder: Path) -> dict[str, tuple[ReadSeries, NDArray[np.float64]]]:
    """Return each series by role, and its difference from the same head without tumour (same noise in both)."""
    write_study(phantom, folder / "ill")
    healthy = grow_tumour(replace(phantom.plan, size_ml=0.0), phantom.head)
    write_study(replace(phantom, tumour=healthy), folder / "well")
    changes = {}
    for series in phantom.plan.series:
        ill, well = (read_series(folder / name / str(series.number)) for name in ("ill", "well"))
        changes[series.role] = ill, np.abs(ill.voxels - well.voxels) / SEQUENCES[series.role].scale
    return changes


@pytest.mark.parametrize("plan", [DEMO_PLAN, *TEST_PLANS], ids=lambda plan: str(plan.seed))
def test_shipped_plans_use_different_grids_and_one_is_oblique(plan: PhantomPlan) -> None:
    assert sorted(series.role for series in plan.series) == sorted(ROLES)
    grids = {(s.plane, s.oblique_deg, s.in_plane_mm, s.slice_mm, s.rows, s.columns, s.slices) for s in plan.series}
    assert len(grids) == 4
    assert any(any(series.oblique_deg) for series in plan.series)


def test_shipped_plans_are_modest_and_distinct() -> None:
    assert sum(series.slices for series in DEMO_PLAN.series) <= 350
    assert all(sum(series.slices for series in plan.series) <= 120 for plan in TEST_PLANS)
    assert len({plan.seed for plan in (DEMO_PLAN, *TEST_PLANS)}) == 4
    assert all(15.0 <= plan.size_ml <= 60.0 for plan in TEST_PLANS)


def test_volumes_are_the_planned_ones() -> None:
    plan = small_plan()
    volumes = phantom_of(plan).true_volume_ml
    assert volumes["WT"] == pytest.approx(plan.size_ml, rel=0.01)
    assert volumes["TC"] == pytest.approx(plan.size_ml * plan.core_share, rel=0.01)
    assert volumes["NCR"] == pytest.approx(plan.size_ml * plan.core_share * plan.necrosis_share, rel=0.01)
    assert volumes["WT"] == pytest.approx(volumes["NCR"] + volumes["ED"] + volumes["ET"])


def test_necrosis_lies_within_the_enhancing_rim() -> None:
    labels = phantom_of(small_plan()).tumour.labels
    necrosis = labels == NCR
    for axis in range(3):
        for step in (-1, 1):
            assert set(np.unique(np.roll(labels, step, axis)[necrosis])) <= {NCR, ET}


def test_labels_of_any_grid_keep_volume_and_place() -> None:
    phantom = phantom_of(small_plan())
    turned = np.eye(4)
    angle = np.radians(30)
    turned[:3, :3] = 1.5 * np.array([[0, np.sin(angle), np.cos(angle)], [0, np.cos(angle), -np.sin(angle)], [1, 0, 0]])
    turned[:3, 3] = phantom.tumour_centroid_mm - turned[:3, :3] @ [40, 40, 40]
    labels = phantom.labels_at(turned, (81, 81, 81))
    index = np.mean(np.nonzero(labels), axis=1)
    assert np.count_nonzero(labels) * 1.5**3 / 1000 == pytest.approx(phantom.true_volume_ml["WT"], rel=0.01)
    np.testing.assert_allclose((turned @ [*index, 1.0])[:3], phantom.tumour_centroid_mm, atol=0.1)


def test_tumour_lies_in_the_files_where_the_plan_put_it(tmp_path: Path) -> None:
    planes = (("T1", "sagittal"), ("T1CE", "coronal"), ("T2", "axial"), ("FLAIR", "axial"))
    series = [small_series(role, number, plane, slice_mm=3.0) for number, (role, plane) in enumerate(planes, 1)]
    series[2] = replace(series[2], oblique_deg=(20.0, -8.0, 5.0))
    phantom = of_one_kind_in_white_matter(phantom_of(replace(small_plan(), series=tuple(series))))
    for role, (read, change) in changes_by_tumour(phantom, tmp_path).items():
        filled = change > edema_change(role) / 2
        distance_mm = np.linalg.norm(read.centroid_mm(filled) - phantom.tumour_centroid_mm)
        volume_ml = np.count_nonzero(filled) * abs(np.linalg.det(read.affine)) / 1000.0
        assert distance_mm < CENTROID_MM, f"{role}: {distance_mm:.2f} mm"
        assert volume_ml == pytest.approx(phantom.true_volume_ml["WT"], rel=0.05), role


def test_tumour_changes_the_real_head_where_the_labels_are(tmp_path: Path) -> None:
    phantom = phantom_of(small_plan(roles=("T2", "T1CE")))
    for role, (read, change) in changes_by_tumour(phantom, tmp_path).items():
        labels = phantom.labels_at(read.affine, read.voxels.shape)
        changed = change > 0.05
        assert np.count_nonzero(changed & (labels == NCR)) / np.count_nonzero(labels == NCR) > 0.9, role
        assert np.count_nonzero(changed & (labels == 0)) / np.count_nonzero(changed) < 0.35, role


def test_sequences_show_their_contrast(tmp_path: Path) -> None:
    phantom = phantom_of(small_plan())
    write_study(phantom, tmp_path)
    medians = {}
    for series in phantom.plan.series:
        read = read_series(tmp_path / str(series.number))
        labels = phantom.labels_at(read.affine, read.voxels.shape)
        brain = float(np.median(read.voxels[read.voxels > 0.5 * SEQUENCES[series.role].scale]))
        medians[series.role] = [float(np.median(read.voxels[labels == label])) / brain for label in (NCR, ED, ET)]
    assert medians["T1"][0] < medians["T1"][1]
    assert medians["T1CE"][2] > 1.3 > medians["T1CE"][0]
    assert min(medians["T2"]) > 1.1
    assert min(medians["FLAIR"]) > 1.1


def test_head_motion_between_series_moves_the_image_and_not_the_truth(tmp_path: Path) -> None:
    still = small_plan(roles=("FLAIR",))
    shift = (6.0, -4.0, 0.0)
    moved = replace(still, series=(replace(still.series[0], patient_shift_mm=shift),))
    phantoms = (of_one_kind_in_white_matter(phantom_of(plan)) for plan in (still, moved))
    before, after = (changes_by_tumour(phantom, tmp_path / str(k))["FLAIR"] for k, phantom in enumerate(phantoms))
    half = edema_change("FLAIR") / 2
    motion = after[0].centroid_mm(after[1] > half) - before[0].centroid_mm(before[1] > half)
    np.testing.assert_allclose(motion, shift, atol=CENTROID_MM)
    np.testing.assert_array_equal(phantom_of(moved).tumour_centroid_mm, phantom_of(still).tumour_centroid_mm)


def test_same_plan_gives_the_same_bytes_and_another_seed_another_study(tmp_path: Path) -> None:
    plan = small_plan(roles=("T1CE",))
    first = write_study(make_phantom(plan), tmp_path / "first")
    second = write_study(phantom_of(plan), tmp_path / "second")
    assert [path.read_bytes() for path in second] == [path.read_bytes() for path in first]
    other = replace(phantom_of(plan), plan=replace(plan, seed=8))
    assert other.study_uid != phantom_of(plan).study_uid


def test_node_recognises_the_series_in_any_order_of_slices(tmp_path: Path) -> None:
    phantom = phantom_of(small_plan("coronal"))
    paths = write_shuffled(phantom, tmp_path)
    study = read_study(paths)
    selection = select_series(study, recognise(study, read_pixels))
    assert study.study_uid == phantom.study_uid
    assert {role.value: series.number for role, series in selection.series.items()} == {
        role: number for number, role in enumerate(ROLES, 1)
    }


def test_headers_name_an_artificial_patient_and_one_frame_of_reference(tmp_path: Path) -> None:
    phantom = phantom_of(small_plan())
    instances = [pydicom.dcmread(path, stop_before_pixels=True) for path in write_study(phantom, tmp_path)]
    assert {str(ds.PatientName) for ds in instances} == {"PHANTOM^GLIONODE"}
    assert {ds.StudyInstanceUID for ds in instances} == {phantom.study_uid}
    assert {ds.FrameOfReferenceUID for ds in instances} == {phantom.frame_of_reference_uid}
    assert len({ds.SOPInstanceUID for ds in instances}) == len(instances)
    assert {ds.SeriesDescription for ds in instances if "ContrastBolusAgent" in ds} == {"T1CE axial"}


@pytest.mark.parametrize("transfer_syntax", [ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_other_transfer_syntaxes_carry_the_same_pixels(tmp_path: Path, transfer_syntax: str) -> None:
    plan = small_plan(roles=("FLAIR",))
    plan = replace(plan, series=(replace(plan.series[0], slices=8),))
    other = replace(plan, series=(replace(plan.series[0], transfer_syntax=transfer_syntax),))
    write_study(phantom_of(plan), tmp_path / "plain")
    write_study(phantom_of(other), tmp_path / "other")
    plain, encoded = (read_series(tmp_path / name / "1") for name in ("plain", "other"))
    assert encoded.first.file_meta.TransferSyntaxUID == transfer_syntax
    np.testing.assert_array_equal(encoded.voxels, plain.voxels)


def test_the_brain_lies_where_mni152_has_it() -> None:
    """In LPS mm, within what an individual brain differs; its lowest part is the cerebellum, at the back."""
    brain = phantom_of(small_plan()).head.tissue == Tissue.BRAIN
    assert brain.shape == HEAD_SHAPE
    place = np.argwhere(brain) + HEAD_ORIGIN_MM[::-1]
    np.testing.assert_allclose(place.min(axis=0), [-72, -73, -72], atol=8)
    np.testing.assert_allclose(place.max(axis=0), [81, 107, 72], atol=8)
    lowest = place[place[:, 0] < -55]
    assert lowest[:, 1].mean() > 20
    assert abs(place[:, 2].mean()) < 2, "as much on the left as on the right"


def test_fractions_of_tissue_fill_the_brain_and_nothing_else() -> None:
    head = phantom_of(small_plan()).head
    brain = head.tissue == Tissue.BRAIN
    for part in (head.gm, head.wm):
        assert part.min() >= 0
        assert not part[~brain].any()
    assert (head.gm + head.wm).max() <= 1 + 1e-6
    grey_ml, white_ml = (float(part.sum()) / 1000 for part in (head.gm, head.wm))
    assert 500 < white_ml < grey_ml < 1100, "an adult has some 700 ml of grey and 500 ml of white matter"


def test_skull_and_scalp_lie_between_the_brain_and_the_air() -> None:
    tissue = phantom_of(small_plan()).head.tissue
    brain = tissue == Tissue.BRAIN
    near = ndimage.binary_dilation(brain, iterations=2) & (tissue != Tissue.VESSEL)
    assert set(np.unique(tissue[near & ~brain])) <= {Tissue.CSF, Tissue.DURA, Tissue.BONE, Tissue.MARROW}
    seen = [int(value) for value, _ in groupby(tissue[::-1, 120, 92])]
    assert seen[0] == Tissue.AIR
    assert seen.index(Tissue.BONE) < seen.index(Tissue.BRAIN)
    assert seen[1] in (Tissue.SKIN, Tissue.FAT)


def test_the_eyes_look_to_the_front_and_have_the_size_of_eyes() -> None:
    places = np.argwhere(phantom_of(small_plan()).head.tissue == Tissue.VITREOUS) + HEAD_ORIGIN_MM[::-1]
    for side in (-1, 1):
        eye = places[places[:, 2] * side > 0]
        np.testing.assert_allclose(eye.mean(axis=0), [-38, -65, 33 * side], atol=0.5)
        assert len(eye) / 1000 == pytest.approx(4 / 3 * np.pi * 11.8**3 / 1000, rel=0.05)


def test_head_without_tumour_has_no_labels() -> None:
    plan = small_plan(size_ml=0.0)
    head = phantom_of(small_plan()).head
    phantom = Phantom(plan=plan, head=head, tumour=grow_tumour(plan, head))
    assert phantom.true_volume_ml == {"NCR": 0.0, "ED": 0.0, "ET": 0.0, "WT": 0.0, "TC": 0.0}


def test_tumour_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for"):
        grow_tumour(small_plan(size_ml=900.0), phantom_of(small_plan()).head)


@pytest.mark.parametrize("change", [{"size_ml": -1.0}, {"core_share": 1.0}, {"series": (small_series("T1", 1),) * 2}])
def test_plans_without_meaning_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"size_ml|same number"):
        replace(small_plan(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"role": "DWI"}, {"plane": "radial"}, {"slice_mm": 0.0}, {"gap_mm": -1.0}])
def test_series_without_meaning_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"unknown|above zero"):
        replace(small_series("T1", 1), **change)  # type: ignore[arg-type]


def test_noise_is_repeatable_and_of_unit_strength() -> None:
    field = smooth_noise((1, 2), (60, 70, 80), 4.0)
    np.testing.assert_array_equal(smooth_noise((1, 2), (60, 70, 80), 4.0), field)
    assert not np.array_equal(smooth_noise((1, 3), (60, 70, 80), 4.0), field)
    assert float(field.std()) == pytest.approx(1.0, abs=0.1)


def test_phantom_needs_no_network_library() -> None:
    program = "import sys, dicom_node.phantom.phantom; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.dcmtk
def test_dciodvfy_finds_no_error(tmp_path: Path) -> None:
    phantom = phantom_of(replace(small_plan(), series=(*small_plan().series, small_series("T1", 9, slice_mm=2.0))))
    write_study(phantom, tmp_path)
    for series in phantom.plan.series:
        path = tmp_path / str(series.number) / "0003.dcm"
        report = subprocess.run(["dciodvfy", str(path)], check=False, capture_output=True, text=True)
        assert "Error" not in report.stderr + report.stdout
        assert "MRImage" in report.stderr + report.stdout
