"""Samples: the same for the same number whoever makes them, in range, image and brain of one head."""

from dataclasses import asdict, fields, is_dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from inference.brightness import BRIGHTEST
from inference.training.brain import BrainSamples
from inference.training.heads.anatomy import IMPLANTED, OEDEMA, OPENED_SKULL, OUTSIDE, WHITE_MATTER_LESION
from inference.training.heads.contrasts import ContrastChances
from inference.training.heads.coverage import CoverageChances
from inference.training.heads.deformation import DeformationLimits
from inference.training.heads.degradation import DegradationLimits
from inference.training.heads.implants import ImplantChances
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.sampler import Heads, HeadSampler, Recipe, drawn_labels
from inference.training.heads.white_matter_disease import WhiteMatterDisease
from inference.training.sampling import Batches
from tests.support.small_label_map import SMALL_GRID, small_heads, small_map, small_real, small_shape

RECIPE = Recipe(grid=SMALL_GRID, brainless=0.0, least_brain_ml=20.0)

PLAIN = Recipe(
    grid=SMALL_GRID,
    brainless=0.0,
    least_brain_ml=0.0,
    inverted=0.0,
    deformation=DeformationLimits(
        turn_deg=0, size=(1, 1), scale=0, shear=0, shift_mm=0, further_up_mm=0, bend_mm=0, mirrored=0
    ),
    white_matter_disease=WhiteMatterDisease(any=0),
    implants=ImplantChances(any=0),
    degradation=DegradationLimits(curved=0, shaded=0, blur_mm=0, thick=0, ghosted=0, noisy=0),
    coverage=CoverageChances(partial=0, defaced=0, stripped=0),
)


@pytest.fixture(scope="module")
def heads() -> Heads:
    return small_heads()


def test_a_sample_depends_on_the_seed_and_its_number_alone(heads: Heads) -> None:
    first = HeadSampler(heads, RECIPE, 7)
    views = [first.sample(number) for number in range(4)]
    again = HeadSampler(small_heads(), RECIPE, 7)
    for number in (2, 0, 3, 1):
        view = again.sample(number)
        assert np.array_equal(view.image, views[number].image)
        assert np.array_equal(view.brain, views[number].brain)
    assert not np.array_equal(views[0].image, views[1].image)
    assert not np.array_equal(HeadSampler(heads, RECIPE, 8).sample(0).image, views[0].image)


def test_batches_are_the_same_from_any_number_of_processes(heads: Heads) -> None:
    samples = BrainSamples(HeadSampler(heads, RECIPE, 3))

    def made(loaders: int) -> list[torch.Tensor]:
        loader = DataLoader(Batches(samples, 2), batch_size=None, num_workers=loaders)
        return [torch.cat((images, brains)) for images, brains, _ in islice(loader, 4)]

    assert all(torch.equal(one, other) for one, other in zip(made(0), made(2), strict=True))


def test_samples_as_the_loop_takes_them(heads: Heads) -> None:
    image, brain, known = BrainSamples(HeadSampler(heads, RECIPE, 3)).sample(5)
    assert image.shape == brain.shape == (1, *SMALL_GRID.shape)
    assert image.dtype == brain.dtype == torch.float32
    assert set(brain.unique().tolist()) == {0.0, 1.0}
    assert known.tolist() == [1.0]


_WILD = Recipe(
    grid=SMALL_GRID,
    brainless=0.0,
    least_brain_ml=20.0,
    inverted=0.5,
    implants=ImplantChances(any=1.0),
    white_matter_disease=WhiteMatterDisease(any=1.0),
    degradation=DegradationLimits(curved=1, thick=1, ghosted=1, noisy=1, noise=0.4),
    coverage=CoverageChances(partial=1, defaced=1, stripped=0.5),
)


@pytest.mark.parametrize("recipe", [RECIPE, _WILD], ids=["usual", "wild"])
def test_samples_are_finite_in_range_and_show_enough_brain(heads: Heads, recipe: Recipe) -> None:
    sampler = HeadSampler(heads, recipe, 1)
    for number in range(25):
        view = sampler.sample(number)
        assert view.image.shape == view.brain.shape == SMALL_GRID.shape
        assert view.image.dtype == np.float32
        assert view.brain.dtype == bool
        assert np.isfinite(view.image).all()
        assert 0 <= view.image.min() < view.image.max() <= BRIGHTEST
        assert view.brain.sum() * SMALL_GRID.cube_ml >= 20


def test_labels_are_deformed_and_ail_as_the_recipe_says() -> None:
    def labels(recipe: Recipe) -> np.ndarray:
        drawn, brain = drawn_labels(np.random.default_rng(2), small_map(), [small_shape()], recipe)
        assert brain.any()
        assert brain[(drawn > IMPLANTED) & (drawn != OPENED_SKULL)].all()
        assert not brain[(drawn >= OUTSIDE[0]) & (drawn < OUTSIDE[1])].any()
        return drawn

    plain = labels(PLAIN)
    assert plain.max() < IMPLANTED
    diseased = replace(PLAIN, white_matter_disease=WhiteMatterDisease(any=1.0, level=(0.3, 0.3)))
    assert set(np.unique(labels(diseased)[labels(diseased) > IMPLANTED])) == {WHITE_MATTER_LESION}
    tumour = replace(PLAIN, implants=ImplantChances(any=1.0, tumour=1.0, cavity=0.0))
    assert (labels(tumour) == OEDEMA).any()
    turned = replace(PLAIN, deformation=DeformationLimits())
    assert not np.array_equal(labels(turned), plain)


def test_image_and_brain_are_of_one_head() -> None:
    """With its brain alone bright, a head's brain is where the image is, however it was deformed."""
    head = small_real()
    bright = replace(head, image=np.where(head.brain, np.float32(1), np.float32(0)))
    sampler = HeadSampler(Heads(maps=(), real=[bright]), replace(PLAIN, deformation=DeformationLimits()), 2)
    for number in range(8):
        view = sampler.sample(number)
        edge = ndimage.binary_dilation(view.brain) & ~ndimage.binary_erosion(view.brain)
        shown = view.image > 0.5
        assert view.brain.any()
        assert not ((shown != view.brain) & ~edge).any()


def test_real_images_are_as_often_as_said() -> None:
    """Label maps are without a bright stripe that the only real image has."""
    head = small_real()
    marked = replace(head, image=np.ones_like(head.image))
    heads = Heads(maps=[small_map()], real=[marked])

    def share(real: float) -> float:
        sampler = HeadSampler(heads, replace(PLAIN, real=real), 4)
        return float(np.mean([np.ptp(sampler.sample(number).image[18:22, 20:28, 16:24]) == 0 for number in range(30)]))

    assert share(0.0) == 0.0
    assert share(1.0) == 1.0
    assert 0.2 < share(0.5) < 0.8


def test_real_images_are_inverted_as_often_as_said() -> None:
    heads = Heads(maps=(), real=[small_real()])
    plain, turned = (HeadSampler(heads, replace(PLAIN, inverted=share), 4).sample(0).image for share in (0.0, 1.0))
    inside = plain > 0.1
    assert np.corrcoef(plain[inside], turned[inside])[0, 1] < -0.9


def test_contrasts_and_the_scanner_are_as_the_recipe_says(heads: Heads) -> None:
    def air(**changes: Any) -> np.ndarray:  # noqa: ANN401 - any field
        return HeadSampler(heads, replace(PLAIN, real=0.0, **changes), 3).sample(0).image[:, :2]

    assert not air(contrasts=ContrastChances(silent_air=1.0)).any()
    assert air(contrasts=ContrastChances(silent_air=0.0)).any()
    noise = replace(PLAIN.degradation, noisy=1.0, rician=1.0)
    assert air(contrasts=ContrastChances(silent_air=1.0), degradation=noise).all()


def test_nothing_is_shown_around_a_bare_brain_unless_that_is_said() -> None:
    heads = Heads(maps=(), real=[small_real("bare", bare=True)])
    noisy = replace(PLAIN, degradation=DegradationLimits(noisy=1.0, noise=0.2, rician=1.0))
    for edge_blurred, seen in ((0.0, False), (1.0, True)):
        view = HeadSampler(heads, replace(noisy, edge_blurred=edge_blurred), 4).sample(1)
        assert (view.image[~view.brain] > 0).any() == seen
        assert (view.image[view.brain] > 0).any()


def test_slices_lie_along_any_axis_unless_axial_is_said(heads: Heads) -> None:
    coverage = CoverageChances(partial=1.0, each_side=1.0, brain_lost=0.45, margin_mm=0, defaced=0, stripped=0)
    recipe = replace(PLAIN, coverage=coverage, real=0.0)
    whole = HeadSampler(heads, replace(PLAIN, real=0.0), 6).sample(0).brain

    def cut_axes(axial: float) -> set[int]:
        sampler = HeadSampler(heads, replace(recipe, axial=axial), 6)
        axes = set()
        for number in range(15):
            brain = sampler.sample(number).brain
            lost = [
                (whole.any(axis=others).sum() - brain.any(axis=others).sum()) / whole.any(axis=others).sum()
                for others in ((1, 2), (0, 2), (0, 1))
            ]
            axes.add(int(np.argmax(lost)))
        return axes

    assert cut_axes(1.0) == {0}
    assert cut_axes(0.0) == {0, 1, 2}


def test_too_little_brain_is_drawn_again_and_the_last_draw_is_taken(heads: Heads) -> None:
    wanted = replace(RECIPE, least_brain_ml=230.0)
    volumes = [HeadSampler(heads, wanted, 2).sample(number).brain.sum() * SMALL_GRID.cube_ml for number in range(10)]
    unasked = [
        HeadSampler(heads, replace(RECIPE, least_brain_ml=0), 2).sample(number).brain.sum() * SMALL_GRID.cube_ml
        for number in range(10)
    ]
    assert min(volumes) >= 230 > min(unasked)
    impossible = HeadSampler(heads, replace(PLAIN, least_brain_ml=1e6), 2).sample(0)
    assert impossible.brain.any()


def test_a_grid_of_other_cubes_shows_the_same_head(heads: Heads) -> None:
    coarse = replace(PLAIN, grid=SampleGrid(shape=(20, 24, 20), spacing_mm=5.0), real=0.0)
    fine = replace(PLAIN, real=0.0)
    volumes = [HeadSampler(heads, recipe, 1).sample(0).brain.sum() * recipe.grid.cube_ml for recipe in (coarse, fine)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)


def test_nothing_to_make_samples_of_is_refused() -> None:
    with pytest.raises(ValueError, match="no head to make samples from"):
        Heads(maps=())
    with pytest.raises(ValueError, match="is empty"):
        SampleGrid(shape=(1, 8, 8))
    with pytest.raises(ValueError, match="is empty"):
        SampleGrid(spacing_mm=0.0)


def _changed(value: Any) -> Any:  # noqa: ANN401 - a field of any type
    if isinstance(value, tuple):
        return tuple(part + 1 for part in value)
    return value + 1


def test_every_setting_decides_the_recipes_hash() -> None:
    hashes = {Recipe().sha256}
    count = 1
    for outer in fields(Recipe):
        value = getattr(Recipe(), outer.name)
        parts = (
            [replace(value, **{inner.name: _changed(getattr(value, inner.name))}) for inner in fields(value)]
            if is_dataclass(value)
            else [_changed(value)]
        )
        hashes |= {replace(Recipe(), **{outer.name: part}).sha256 for part in parts}
        count += len(parts)
    assert len(hashes) == count
    assert Recipe(contrasts=ContrastChances()).sha256 == Recipe().sha256
    assert asdict(Recipe())["grid"]["spacing_mm"] == 2.0


def test_some_samples_show_no_brain(heads: Heads) -> None:
    every = HeadSampler(heads, replace(RECIPE, brainless=1.0), 5)
    for number in range(12):
        view = every.sample(number)
        assert not view.brain.any()
        assert np.isfinite(view.image).all()
        assert 0 <= view.image.min() < view.image.max() <= BRIGHTEST
    some = HeadSampler(heads, replace(RECIPE, brainless=0.4), 5)
    assert 1 <= sum(not some.sample(number).brain.any() for number in range(12)) <= 10
