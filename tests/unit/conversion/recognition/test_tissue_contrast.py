"""The weighting of a volume, told by its voxels alone.

The shipped parameters were learned from the lgg and brats sets; how well patients are told that were held out stands
in benchmarks/recognition.md. Philips, brainix and native were never learned from.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.head_region import Surroundings, head_slabs
from conversion.recognition.tissue_contrast import CONFIDENT, WEIGHTINGS, shipped_model, tissue_contrast
from conversion.recognition.tissue_features import measure_contrast
from conversion.volume import Grid, ImageVolume
from tests.support.phantom_volumes import phantom_volume

EQUAL = {name: pytest.approx(1 / 3) for name in WEIGHTINGS}
FLIPS = [(True, False, False), (False, True, True), (True, True, True)]
ORDERS = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]


def _volume(voxels: NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> ImageVolume:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing_mm, 1.0
    grid = Grid(shape=voxels.shape, affine=affine, frame_of_reference_uid="1.2")  # type: ignore[arg-type]
    return ImageVolume(grid=grid, voxels=voxels.astype(np.float32))


def _changed(volume: ImageVolume, change: Callable[[NDArray[np.float32]], NDArray[np.generic]]) -> ImageVolume:
    return ImageVolume(grid=volume.grid, voxels=change(volume.voxels).astype(np.float32))


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize(("role", "weighting"), [("T1", "T1"), ("T1CE", "T1"), ("T2", "T2"), ("FLAIR", "FLAIR")])
def test_a_phantom_is_told_in_every_plane(role: str, weighting: str, plane: str) -> None:
    found = tissue_contrast(phantom_volume(role, plane))

    assert max(found.probabilities, key=lambda name: found.probabilities[name]) == weighting
    assert found.probabilities[weighting] > 0.6
    assert sum(found.probabilities.values()) == pytest.approx(1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flips", FLIPS)
def test_the_order_of_voxels_changes_nothing(order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> None:
    volume = phantom_volume("FLAIR")
    voxels = volume.voxels.transpose(order)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    turned = ImageVolume(grid=volume.grid.permuted(order, flips), voxels=voxels)

    assert tissue_contrast(turned) == tissue_contrast(volume)


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (0.5, -1000.0)])
def test_gain_and_offset_change_nothing(gain: float, offset: float) -> None:
    volume = phantom_volume("T1")
    expected = tissue_contrast(volume)

    found = tissue_contrast(_changed(volume, lambda voxels: voxels * gain + offset))

    assert found.weighting == "T1"
    assert dict(found.probabilities) == pytest.approx(dict(expected.probabilities), abs=0.02)


def test_the_reason_names_fluid_and_what_lies_beside_it() -> None:
    t1, t2 = (tissue_contrast(phantom_volume(role)).reason for role in ("T1", "T2"))

    assert t1.startswith("fluid is darker than brain")
    assert t2.startswith("fluid is brighter than brain")
    assert "darker than tissue further away" in t1


def test_a_brain_without_skull_is_told_too() -> None:
    volume = phantom_volume("FLAIR")
    slabs = head_slabs(volume)
    assert slabs is not None
    assert slabs.surroundings is Surroundings.SKULL
    bare = _volume(slabs.values * slabs.brain, (6.0, *slabs.spacing_mm))
    found = head_slabs(bare)

    assert found is not None
    assert found.surroundings is Surroundings.MASKED
    assert tissue_contrast(bare).weighting == "FLAIR"


@pytest.mark.parametrize(
    ("voxels", "why"),
    [
        (np.zeros((20, 64, 64)), "no head"),
        (np.full((20, 64, 64), 7.0), "no head"),
        (np.full((20, 64, 64), np.nan), "no head"),
        (np.ones((2, 64, 64)), "2 slices"),
        (np.ones((10, 64, 64)), "40 mm"),
    ],
)
def test_what_shows_no_head_is_not_judged(voxels: NDArray[np.float64], why: str) -> None:
    found = tissue_contrast(_volume(voxels, (4.0, 3.0, 3.0)))

    assert found.weighting is None
    assert dict(found.probabilities) == EQUAL
    assert why in found.reason


def test_noise_is_not_judged() -> None:
    noise = np.random.default_rng(1).normal(100, 30, (25, 100, 100))

    assert tissue_contrast(_volume(noise, (6.0, 2.0, 2.0))).weighting is None


def _ball(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm, strict=True)]
    return np.asarray(np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))))


def test_a_ball_of_water_is_not_judged() -> None:
    radius = _ball((40, 100, 100), (4.0, 2.0, 2.0))
    noise = np.random.default_rng(1).normal(0, 5, radius.shape)

    assert tissue_contrast(_volume((radius < 70) * 300 + np.abs(noise), (4.0, 2.0, 2.0))).weighting is None


def test_computed_tomography_is_not_judged() -> None:
    radius = _ball((40, 100, 100), (4.0, 2.0, 2.0))
    noise = np.random.default_rng(1).normal(0, 5, radius.shape)
    tissue = np.select([radius < 68, radius < 75, radius < 82], [35.0, 1200.0, -80.0], -1000.0)

    assert tissue_contrast(_volume(tissue + noise, (4.0, 2.0, 2.0))).weighting is None


def test_a_brain_amid_speckles_is_not_judged() -> None:
    volume = phantom_volume("FLAIR")
    slabs = head_slabs(volume)
    assert slabs is not None
    bare = slabs.values * slabs.brain
    speckles = (np.random.default_rng(2).random(bare.shape) < 0.01) * (bare == 0) * float(bare.max())

    found = tissue_contrast(_volume(bare + speckles, (6.0, *slabs.spacing_mm)))

    assert dict(found.probabilities) == EQUAL
    assert "diffusion" in found.reason


def test_what_lies_far_from_every_class_gets_no_confidence() -> None:
    slabs = head_slabs(phantom_volume("T1"))
    assert slabs is not None
    measurements = measure_contrast(slabs)
    assert measurements is not None
    model = shipped_model()
    strange = {name: value + 30 * scale for (name, value), scale in zip(measurements.items(), model.scale, strict=True)}

    assert tuple(measurements) == model.names
    assert model.probabilities(measurements)[WEIGHTINGS.index("T1")] > CONFIDENT
    assert model.distances(strange).min() > 10 * model.distances(measurements).min()


STUDIES = {
    "philips-1.5T-tumour": {401: "T2", 502: "T1", 701: "FLAIR", 901: "T1", 1103: "T1", 1201: "T1", 1301: "FLAIR"},
    "brainix": {301: "T2", 401: "FLAIR", 601: "T1"},
}


@pytest.mark.data
@pytest.mark.parametrize("study", STUDIES)
def test_real_series_are_told(shared_data: Path, study: str) -> None:
    series = read_study(dicom_files(shared_data / "dicom" / study)).series

    found = {s.number: tissue_contrast(read_series(s)).weighting for s in series if s.number in STUDIES[study]}

    assert found == STUDIES[study]


@pytest.mark.data
@pytest.mark.parametrize("number", [303, 304])
def test_diffusion_and_its_map_are_not_judged(shared_data: Path, number: int) -> None:
    series = read_study(dicom_files(shared_data / "dicom" / "philips-1.5T-tumour" / str(number))).series

    found = [tissue_contrast(read_series(s)) for s in series]

    assert [dict(each.probabilities) for each in found] == [EQUAL] * len(series)
    assert all("diffusion" in each.reason for each in found)


@pytest.mark.data
def test_sequences_on_their_own_grids_without_skull_are_told(shared_data: Path) -> None:
    native = pytest.importorskip("benchmarks.recognition_data").native

    found = {name: tissue_contrast(v).weighting for case in native(shared_data) for name, v in case.volumes.items()}

    assert found == {"T1": "T1", "T1CE": "T1", "T2": "T2", "FLAIR": "FLAIR"}


@pytest.mark.data
def test_some_patients_that_were_learned_from_are_told(shared_data: Path) -> None:
    data = pytest.importorskip("benchmarks.recognition_data")
    names = ("TCGA_DU_8166_19970322", "TCGA_HT_7680_19970202")
    cases = [*data.lgg(shared_data, names), *data.brats(shared_data, ("Brats18_CBICA_AME_1",))]

    found = [(name, tissue_contrast(volume).weighting) for case in cases for name, volume in case.volumes.items()]

    assert len(found) == 2 * 3 + 4
    assert [(name, weighting) for name, weighting in found if weighting != name.removesuffix("CE")] == []
