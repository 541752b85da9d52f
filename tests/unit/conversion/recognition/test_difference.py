"""Subtractions that nothing in the header gives away: their brain is as dark as the air."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.difference import DARK_AS_AIR, brain_place, share_dark_as_air
from conversion.recognition.pixel_evidence import difference_evidence
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.recognition.tissue_contrast import tissue_contrast
from conversion.sequences import Role
from conversion.study import Series
from conversion.volume import Grid, ImageVolume
from tests.support.phantom_volumes import phantom_volume
from tests.support.series_headers import no_pixels, series_of, study_of

SE_T1: dict[str, Any] = {"tr": 550.0, "te": 12.0, "seq": "SE", "dims": "2D", "slices": 26}
TIRM: dict[str, Any] = {"tr": 9000.0, "te": 110.0, "ti": 2500.0, "seq": "IR", "dims": "2D", "slices": 26}
FORMS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "signed": lambda values: values,
    "cut off at nothing": lambda values: np.maximum(values, 0.0),
    "shifted": lambda values: values + 1000.0,
}


def _difference(form: str) -> ImageVolume:
    """Return T1 after minus T1 before contrast agent, at one gain, with the noise that scans have."""
    before, after = phantom_volume("T1"), phantom_volume("T1CE")
    brain = brain_place(before)
    assert brain is not None
    assert before.grid.axial_order() == ((0, 1, 2), (False, False, False))
    gain = np.median(after.voxels[brain.mask]) / np.median(before.voxels[brain.mask])
    values = FORMS[form](after.voxels - before.voxels * gain)
    return ImageVolume(grid=before.grid, voxels=values.astype(np.float32))


def _share(volume: ImageVolume, seen_in: ImageVolume) -> float:
    brain = brain_place(seen_in)
    assert brain is not None
    share = share_dark_as_air(volume, brain)
    assert share is not None
    return share


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("form", FORMS)
def test_half_of_the_brain_of_a_difference_is_as_dark_as_air(form: str, plane: str) -> None:
    assert _share(_difference(form), phantom_volume("FLAIR", plane)) > 2 * DARK_AS_AIR


@pytest.mark.parametrize("role", ["T1", "T1CE", "T2", "FLAIR"])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_no_brain_of_an_acquired_volume_is(role: str, plane: str) -> None:
    assert _share(phantom_volume(role, plane), phantom_volume("FLAIR", "coronal")) < DARK_AS_AIR / 10


def test_gain_and_offset_change_nothing() -> None:
    volume = _difference("signed")
    louder = ImageVolume(grid=volume.grid, voxels=volume.voxels * np.float32(30) - np.float32(700))
    seen_in = phantom_volume("FLAIR")
    assert _share(louder, seen_in) == pytest.approx(_share(volume, seen_in), abs=0.01)


def test_padding_around_a_slab_is_no_dark_brain() -> None:
    volume = phantom_volume("T1CE")
    slab = volume.voxels.copy()
    slab[:17] = 0
    padded = ImageVolume(grid=volume.grid, voxels=slab)
    assert _share(padded, phantom_volume("FLAIR")) < DARK_AS_AIR / 4


def test_too_little_brain_says_nothing() -> None:
    brain = brain_place(phantom_volume("FLAIR"))
    assert brain is not None
    grid = phantom_volume("T1").grid
    far = grid.affine.copy()
    far[:3, 3] += 1000.0
    moved = Grid(shape=grid.shape, affine=far, frame_of_reference_uid=grid.frame_of_reference_uid)
    assert share_dark_as_air(ImageVolume(grid=moved, voxels=phantom_volume("T1").voxels), brain) is None


def test_where_no_head_is_there_is_no_brain() -> None:
    nothing = ImageVolume(grid=phantom_volume("T1").grid, voxels=np.zeros(phantom_volume("T1").grid.shape, np.float32))
    assert brain_place(nothing) is None


def _recognised(volumes: dict[int, ImageVolume], *series: Series, **more: Any) -> dict[int, Recognition]:  # noqa: ANN401
    found = recognise(study_of(*series), lambda one: volumes[one.number], **more)
    return {recognition.series.number: recognition for recognition in found}


@pytest.mark.parametrize("form", FORMS)
def test_an_original_series_named_after_contrast_is_known_as_a_difference(form: str) -> None:
    volumes = {1: _difference(form), 2: phantom_volume("FLAIR")}
    post = series_of(1, agent=True, description="T1 post", **SE_T1)
    found = _recognised(volumes, post, series_of(2, **TIRM))
    assert (found[1].kind, found[1].role) == ("subtraction", None)
    assert found[2].kind == "FLAIR"
    assert "% of the brain (located in series 2) is as dark as air" in found[1].evidence[0].says


def test_the_same_series_is_t1_after_contrast_with_a_brain_in_it() -> None:
    volumes = {1: phantom_volume("T1CE"), 2: phantom_volume("FLAIR")}
    found = _recognised(volumes, series_of(1, agent=True, description="T1 post", **SE_T1), series_of(2, **TIRM))
    assert found[1].role is Role.T1CE


def test_a_rule_of_the_site_is_not_overruled_by_pixels() -> None:
    volumes = {1: _difference("signed"), 2: phantom_volume("FLAIR")}
    rule = SiteRule(name="ours", kind="T1CE", description="special")
    found = _recognised(volumes, series_of(1, description="special", **SE_T1), series_of(2, **TIRM), rules=(rule,))
    assert found[1].role is Role.T1CE


@pytest.mark.parametrize("frame", ["", "9.9"])
def test_another_frame_of_reference_tells_of_no_place(frame: str) -> None:
    post, flair = series_of(1, **SE_T1), series_of(2, **TIRM)
    elsewhere = [Series(**(vars(one) | {"frame_of_reference_uid": frame})) for one in (post, flair)]
    volumes = {1: _difference("signed"), 2: phantom_volume("FLAIR")}
    pair = (post, elsewhere[1]) if frame else tuple(elsewhere)
    assert difference_evidence(pair[0], pair[1:], lambda one: volumes[one.number]) == ()
    assert len(difference_evidence(post, [flair], lambda one: volumes[one.number])) == 1


def test_a_brain_that_cannot_be_read_costs_no_series() -> None:
    volume = _difference("signed")
    post, flair = series_of(1, description="T1 post", **SE_T1), series_of(2, **TIRM)
    read_once: list[int] = []

    def read(series: Series) -> ImageVolume:
        if series.number == 1:
            return volume
        if 2 in read_once:
            return no_pixels(series)
        read_once.append(series.number)
        return phantom_volume("FLAIR")

    found = {r.series.number: r for r in recognise(study_of(post, flair), read)}
    assert found[2].kind == "FLAIR"
    assert "difference of two series could not be judged" in found[1].decisions[0].reason


BRAINIX, PHILIPS = "dicom/brainix", "dicom/philips-1.5T-tumour"
pytestmark = [
    pytest.mark.filterwarnings("ignore:Invalid value for VR"),
    pytest.mark.filterwarnings("ignore:The value length"),
]


@pytest.mark.data
def test_no_brain_of_a_real_series_is_as_dark_as_air_and_that_of_their_difference_is(shared_data: Path) -> None:
    study = read_study(dicom_files(shared_data / PHILIPS))
    volumes = {s.number: read_series(s) for s in study.series if s.number in (401, 502, 701, 901, 1103, 1201, 1301)}
    for number in (502, 901, 1103, 1201):
        for seen_in in (401, 701, 1301):
            assert _share(volumes[number], volumes[seen_in]) < DARK_AS_AIR / 20
    before, after = volumes[901], volumes[1201]
    assert before.grid.shape == after.grid.shape
    brain = before.voxels > np.percentile(before.voxels, 60)
    gain = np.float32(np.median(after.voxels[brain]) / np.median(before.voxels[brain]))
    for form in FORMS.values():
        made = ImageVolume(grid=after.grid, voxels=form(after.voxels - before.voxels * gain).astype(np.float32))
        assert tissue_contrast(made).weighting != "T1"
        assert all(_share(made, volumes[seen_in]) > 2 * DARK_AS_AIR for seen_in in (401, 701, 1301))
