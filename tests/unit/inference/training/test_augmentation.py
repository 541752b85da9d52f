"""Random changes of intensity: within limits, each channel on its own, and what is missing stays missing."""

import pytest
import torch
from torch import Tensor

from inference.preprocessing import MAXIMUM_INTENSITY
from inference.training.augmentation import (
    add_remains,
    add_rim,
    add_synthetic_head,
    augment_intensity,
    drop_sequences,
    thicken_rows,
    thicken_slices,
)

SEEDS = range(8)
DROP = (0.3, 0.2, 0.35, 0.08)


def _body(slices: int = 3) -> Tensor:
    images = torch.zeros(4, slices, 64, 80)
    images[:, :, 22:40, 30:52] = 1.0
    return images


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("slices", [3, 12])
def test_intensities_stay_within_their_limits_and_channels_change_on_their_own(seed: int, slices: int) -> None:
    torch.manual_seed(seed)
    images = _body(slices)
    changed = augment_intensity(images * 1.5)
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()
    assert 0.0 <= float(changed.min()) <= float(changed.max()) <= MAXIMUM_INTENSITY
    assert len({round(float(channel[:, 28:36, 36:46].mean()), 5) for channel in changed}) == 4
    assert float(changed[:, :, 26:38, 34:48].mean()) > 5 * float(changed[:, :, :10, :10].mean())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("draw", "slices"), [(add_synthetic_head, 3), (add_rim, 5), (add_remains, 16)])
def test_what_is_drawn_surrounds_the_brain_and_leaves_it_alone(seed: int, draw: object, slices: int) -> None:
    assert callable(draw)
    torch.manual_seed(seed)
    present = torch.tensor([True, False, True, True])
    images = _body(slices) * present[:, None, None, None]
    drawn = draw(images, present)
    brain = images[0] > 0
    assert torch.equal(drawn[:, brain], images[:, brain])
    assert not drawn[1].any()
    assert all(float(drawn[channel][~brain].max()) > 0.01 for channel in (0, 2, 3))
    assert not drawn[:, :, 0, 0].any()


def test_thick_slices_are_averages_along_one_axis() -> None:
    torch.manual_seed(2)
    fine = torch.rand(1, 24, 24, 24)
    changed = 0
    for _ in range(60):
        thick = thicken_slices(fine)
        assert thick.shape == fine.shape
        assert float(thick.mean()) == pytest.approx(float(fine.mean()), abs=0.03)
        roughness = [float(thick.diff(dim=axis).abs().mean()) for axis in (1, 2, 3)]
        if not torch.equal(thick, fine):
            changed += 1
            assert min(roughness) < 0.6 * sorted(roughness)[1]
    assert 8 < changed < 30


def test_thick_rows_are_averages_over_rows_and_nothing_else() -> None:
    torch.manual_seed(4)
    fine = torch.rand(2, 3, 30, 30)
    changed = 0
    for _ in range(60):
        thick = thicken_rows(fine)
        assert thick.shape == fine.shape
        if not torch.equal(thick, fine):
            changed += 1
            assert float(thick.diff(dim=2).abs().mean()) < 0.5 * float(thick.diff(dim=3).abs().mean())
    assert 8 < changed < 30


def test_dropping_keeps_contrast_or_flair_and_empties_what_it_drops() -> None:
    torch.manual_seed(1)
    images = torch.ones(4, 1, 5, 5)
    lost = torch.zeros(4)
    for _ in range(300):
        kept_images, keep = drop_sequences(images, torch.tensor([True] * 4), DROP)
        assert bool(keep[1] | keep[3])
        assert torch.equal(kept_images.amax(dim=(1, 2, 3)) > 0, keep)
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
    for _ in range(50):
        _, keep = drop_sequences(torch.ones(4, 1, 3, 3), there, DROP)
        assert not bool((keep & ~there).any())
        assert bool(keep[1] | keep[3])
