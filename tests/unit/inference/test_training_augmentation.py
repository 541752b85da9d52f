"""Random changes for training: labels move with their images, and what is missing stays missing."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from inference.preprocessing import MAXIMUM_INTENSITY
from inference.training.augmentation import add_synthetic_head, augment_geometry, augment_intensity, drop_sequences

SEEDS = range(12)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _marked(rows: int = 60, columns: int = 80) -> tuple[Tensor, Tensor]:
    """Return four channels and three regions that show the same lopsided body."""
    body = torch.zeros(rows, columns)
    body[22:40, 30:52] = 1.0
    body[22:28, 30:36] = 0.0
    return body.expand(4, -1, -1).clone(), body.expand(3, -1, -1).clone()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_label_moves_with_its_image(seed: int) -> None:
    torch.manual_seed(seed)
    images, regions = augment_geometry(*_marked(), size=64)
    assert images.shape == (4, 64, 64)
    assert regions.shape == (3, 64, 64)
    assert torch.equal(regions, regions.round())
    for channel in images:
        bright = channel > 0.5
        both = bright & (regions[0] > 0)
        assert 2 * both.sum() / (bright.sum() + regions[0].sum()) > 0.93
    assert torch.equal(regions[0], regions[2])


def test_geometry_changes_from_sample_to_sample_and_keeps_the_scale_of_both_axes() -> None:
    """A square of 20 x 20 stays as long as broad, within the aspect and shear that are wanted, on an oblong slice."""
    square = torch.zeros(1, 60, 100)
    square[:, 20:40, 40:60] = 1.0
    torch.manual_seed(5)
    sizes, flipped = [], 0
    for _ in range(40):
        (_, moved) = augment_geometry(square, square, size=96)
        rows, columns = torch.nonzero(moved[0], as_tuple=True)
        sizes.append(float(moved.sum()))
        spread = float(rows.float().std() / columns.float().std())
        assert 0.85 < spread < 1.18
        flipped += int(columns.float().mean() < 48)
    assert 0.5 * 400 < min(sizes) < 300
    assert 500 < max(sizes) < 2 * 400
    assert 0 < flipped < 40


def test_without_change_of_seed_nothing_changes() -> None:
    torch.manual_seed(3)
    first = augment_geometry(*_marked(), size=32)
    torch.manual_seed(3)
    second = augment_geometry(*_marked(), size=32)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_intensities_stay_within_their_limits_and_channels_change_on_their_own(seed: int) -> None:
    torch.manual_seed(seed)
    images, _ = _marked()
    changed = augment_intensity(images * 1.5)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    assert 0.0 <= float(changed.min()) <= float(changed.max()) <= MAXIMUM_INTENSITY
    means = [float(channel[30:38, 38:50].mean()) for channel in changed]
    assert len({round(mean, 5) for mean in means}) == 4
    inside, outside = changed[:, 30:38, 38:50].mean(), changed[:, :10, :10].mean()
    assert float(inside) > 5 * float(outside)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_synthetic_head_surrounds_the_brain_and_leaves_it_alone(seed: int) -> None:
    torch.manual_seed(seed)
    images, _ = _marked()
    present = torch.tensor([True, False, True, True])
    images = images * present[:, None, None]
    headed = add_synthetic_head(images, present)
    brain = images[0] > 0
    assert torch.equal(headed[:, brain], images[:, brain])
    assert not headed[1].any()
    for channel in (0, 2, 3):
        assert float(headed[channel][~brain].max()) > 0.05
    assert not headed[:, 0, 0].any()


def test_dropping_keeps_contrast_or_flair_and_empties_what_it_drops() -> None:
    torch.manual_seed(1)
    images = torch.ones(4, 5, 5)
    present = torch.tensor([True, True, True, True])
    lost = torch.zeros(4)
    for _ in range(300):
        kept_images, keep = drop_sequences(images, present)
        assert bool(keep[1] | keep[3])
        assert torch.equal(kept_images.amax(dim=(1, 2)) > 0, keep)
        lost += (~keep).float()
    share = (lost / 300).tolist()
    assert [share[0], share[2]] == pytest.approx([0.3, 0.35], abs=0.09)
    assert 0 < share[3] < share[1] < 0.3


@pytest.mark.parametrize(
    "present", [(True, False, False, True), (False, True, True, False), (False, True, False, False)]
)
def test_dropping_never_invents_a_sequence_and_keeps_the_last_useful_one(present: tuple[bool, ...]) -> None:
    torch.manual_seed(2)
    there = torch.tensor(present)
    for _ in range(100):
        _, keep = drop_sequences(torch.ones(4, 2, 2), there)
        assert not bool((keep & ~there).any())
        assert bool(keep[1] | keep[3])
