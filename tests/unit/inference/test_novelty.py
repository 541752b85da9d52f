"""How new a study is: what the autoencoder sees, what its errors are, and how they become one number."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inference.autoencoder import HeadAutoencoder
from inference.novelty import GRID_SHAPE, NoveltyScale, centred, novelty, overview, reconstruction_errors
from inference.preprocessing import CHANNELS

SCALE = NoveltyScale(whole=(0.4, 0.3, 0.2, 0.1), channels=dict.fromkeys(CHANNELS, (0.6, 0.5, 0.4)))


class Remembering(HeadAutoencoder):
    """Gives every sequence back as 1 wherever any sequence shows something: knows the shape and no contrast."""

    def __init__(self) -> None:
        super().__init__(filters=[2], narrow=2)

    def forward(self, volumes: Tensor) -> Tensor:
        """Return the silhouette, once for each sequence."""
        shown = (volumes > 0).any(dim=1, keepdim=True).float()
        return shown.expand_as(volumes)


def _ball(level: float = 1.0) -> Tensor:
    study = torch.zeros(4, *GRID_SHAPE)
    study[:, 10:30, 12:36, 10:30] = level
    return study


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (2.0, 0.5, 0.5)])
def test_the_same_head_is_seen_the_same_whatever_its_voxels(spacing_mm: tuple[float, float, float]) -> None:
    shape = [round(length / step) for length, step in zip((80, 96, 80), spacing_mm, strict=True)]
    head = functional.pad(torch.ones(4, *shape), (0, 9, 11, 2, 3, 3))
    seen = overview(head, spacing_mm)
    assert seen.shape == (4, *GRID_SHAPE)
    expected = torch.zeros(GRID_SHAPE)
    expected[10:30, 12:36, 10:30] = 1.0
    assert float((seen[0] - expected).abs().mean()) < 0.03
    assert torch.equal(seen[0], seen[3])


def test_what_shows_signal_comes_to_the_middle_and_nothing_is_scaled() -> None:
    stack = torch.zeros(1, 70, 30, 50)
    stack[0, 60:64, 2:8, 40:50] = 2.0
    moved = centred(stack, (40, 48, 40))[0]
    places = (moved > 0).nonzero()
    assert places.min(dim=0).values.tolist() == [18, 21, 15]
    assert places.max(dim=0).values.tolist() == [21, 26, 24]
    assert float(moved.sum()) == float(stack.sum())


def test_an_empty_study_is_as_strange_as_can_be() -> None:
    errors = reconstruction_errors(Remembering(), torch.zeros(4, *GRID_SHAPE), CHANNELS, ("T1",))
    assert novelty(errors, SCALE) == float("inf")


def test_the_whole_and_each_sequence_have_an_error() -> None:
    study = _ball()
    study[CHANNELS.index("T2")] *= 1.7
    study[CHANNELS.index("T1")] = 0
    present = ("T1CE", "T2", "FLAIR")
    errors = reconstruction_errors(Remembering(), study, CHANNELS, present)
    assert errors == {
        "whole": pytest.approx(0.7 / 3, abs=1e-4),
        "T1CE": pytest.approx(0.0, abs=1e-6),
        "T2": pytest.approx(0.7, abs=1e-4),
        "FLAIR": pytest.approx(0.0, abs=1e-6),
    }


def test_a_sequence_alone_is_not_made_up_from_others() -> None:
    study = _ball()
    study[:3] = 0
    assert list(reconstruction_errors(Remembering(), study, CHANNELS, ("FLAIR",))) == ["whole"]


@pytest.mark.parametrize(
    ("errors", "score"),
    [
        ({"whole": 0.2}, 0.5),
        ({"whole": 0.3, "T1CE": 0.3, "FLAIR": 0.9}, 1.5),
        ({"whole": 0.6, "T1CE": 0.3, "FLAIR": 0.3}, 2.0),
        ({"whole": 0.05, "T1": 0.2, "T1CE": 0.2, "T2": 0.2, "FLAIR": 0.6}, 1.5),
    ],
)
def test_the_score_is_the_worst_part_by_the_number_of_sequences(errors: dict[str, float], score: float) -> None:
    assert novelty(errors, SCALE) == pytest.approx(score)


def test_the_autoencoder_gives_back_the_shape_it_got() -> None:
    network = HeadAutoencoder(filters=[4, 8, 8], narrow=4).eval()
    assert network.multiple == 8
    assert network(torch.rand(2, 4, 16, 24, 8)).shape == (2, 4, 16, 24, 8)
