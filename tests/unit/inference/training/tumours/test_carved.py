"""A tumour that is set into another brain brings its labels and its voxels, and nothing beyond its edge."""

import pytest
import torch
from torch import Tensor

from inference.training.tumours import carved as module
from inference.training.tumours.carved import carved, with_cavity
from inference.training.windows import Window

ROWS, COLUMNS = 60, 64


def _brain(level: float, tumour: Tensor | None = None) -> Window:
    """Return five slices of a round brain; its tumour is three times as bright, its inner half enhancing."""
    down, right = torch.meshgrid(torch.arange(ROWS) - 30, torch.arange(COLUMNS) - 32, indexing="ij")
    brain = (down**2 + right**2 < 26**2).float()
    images = (brain * level).expand(4, 5, ROWS, COLUMNS).clone()
    shown = torch.zeros(ROWS, COLUMNS) if tumour is None else tumour.float() * brain
    images = images * (1 + 2 * shown)
    regions = torch.stack([shown, shown, shown * (right > 4)])[:, None]
    return Window(images=images, regions=regions, everywhere=shown.expand(1, 5, ROWS, COLUMNS).clone())


def _ball(row: int, column: int, radius: int) -> Tensor:
    down, right = torch.meshgrid(torch.arange(ROWS) - row, torch.arange(COLUMNS) - column, indexing="ij")
    return down**2 + right**2 < radius**2


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    monkeypatch.setattr(module, "FAINT_SHARE", 0.0)


def test_the_tumour_comes_with_its_labels_and_the_rest_stays() -> None:
    onto, giver = _brain(1.0), _brain(0.8, _ball(32, 36, 8))
    mixed = carved(onto, giver)
    inner, far = _ball(32, 36, 7), ~_ball(32, 36, 20)
    assert torch.allclose(mixed.images[:, :, inner], giver.images[:, :, inner])
    assert torch.equal(mixed.images[:, :, far], onto.images[:, :, far])
    assert torch.equal(mixed.regions[:, :, inner], giver.regions[:, :, inner])
    assert not mixed.regions[:, :, far].any()


def test_another_tumour_of_the_same_brain_stays_where_it_is() -> None:
    mixed = carved(_brain(1.0, _ball(32, 16, 6)), _brain(0.8, _ball(32, 44, 7)))
    assert mixed.regions[0, 0, 32, 16] == 1
    assert mixed.regions[0, 0, 32, 44] == 1


def test_nothing_grows_outside_the_brain() -> None:
    edge = _ball(30, 6, 14)
    wide = _brain(1.0, edge)
    giver = Window(
        images=torch.full_like(wide.images, 2.5),
        regions=edge.float().expand(3, 1, ROWS, COLUMNS),
        everywhere=edge.float().expand(1, 5, ROWS, COLUMNS),
    )
    mixed = carved(_brain(1.0), giver)
    outside = _brain(1.0).images[0, 0] == 0
    assert mixed.regions.any()
    assert not mixed.regions[:, :, outside].any()
    assert not mixed.images[:, :, outside].any()


def test_a_tumour_at_the_edge_of_its_own_brain_brings_no_air_with_it() -> None:
    """The other brain is a little larger there: its own tissue stays where the giver's ends."""
    giver = _brain(0.8, _ball(30, 6, 10))
    giver.images[..., :12] = 0
    onto = _brain(1.0)
    mixed = carved(onto, giver)
    brain = onto.images[0, 0] > 0
    assert float(mixed.images[0, 2][brain].min()) >= 0.8 - 1e-4
    assert mixed.regions[0, 0, 30, 14] == 1


def test_a_tumour_that_lies_nowhere_in_the_brain_changes_nothing() -> None:
    onto = _brain(1.0)
    nowhere = Window(images=onto.images, regions=onto.regions, everywhere=torch.zeros(1, 5, ROWS, COLUMNS))
    assert carved(onto, nowhere) is onto


def test_some_tumours_are_fainter_than_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FAINT_SHARE", 1.0)
    monkeypatch.setattr(module, "FAINT", (0.5, 0.5))
    mixed = carved(_brain(0.8), _brain(0.8, _ball(32, 36, 8)))
    assert mixed.images[3, 2, 32, 36] == pytest.approx(0.8 + 0.5 * 1.6, abs=1e-4)


def test_a_cavity_holds_fluid_and_is_no_tumour() -> None:
    window = _brain(1.0, torch.ones(ROWS, COLUMNS, dtype=torch.bool))
    window = Window(images=window.images.clamp(max=1.0), regions=window.regions)
    emptied = with_cavity(window)
    hole = (window.regions[0, 0] > 0) & (emptied.regions[0, 0] == 0)
    assert hole.sum() > 50
    t1, t1ce, t2, flair = emptied.images[:, 2, hole].mean(dim=1)
    assert max(t1, t1ce) < 0.7
    assert t2 > 1.2
    assert flair < 1.1
    assert torch.equal(emptied.regions[:, 0, hole], torch.zeros(3, int(hole.sum())))
    outside = window.images[0, 2] == 0
    assert not emptied.images[:, 2, outside].any()


def test_a_cavity_shows_in_no_sequence_that_is_missing() -> None:
    window = _brain(1.0)
    window.images[2] = 0
    assert not with_cavity(window).images[2].any()
