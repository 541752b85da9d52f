"""The slice network over a stack: every slice on its own, any size, the same for a mirrored head."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from inference.forward import BATCH_SLICES
from inference.model_bundle import LoadedNetwork, ModelBundle, load_model
from inference.prediction import MARGIN_MM, SECOND_REACH_MM, Prediction
from inference.prediction import predict as predict_tensor
from inference.unet import TumourUNet
from tests.support.detector_model import SHIFT_ROWS, write_detector

SLICES, ROWS, COLUMNS = BATCH_SLICES + 3, 62, 65


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_model(str(write_detector(tmp_path_factory.mktemp("detector"))), "cpu", threads=1)


def predict(model: ModelBundle, channels: NDArray[np.float32], *, staged: bool = True) -> Prediction:
    """Return what is predicted, as arrays."""
    found = predict_tensor(model, torch.tensor(channels), staged=staged)
    return replace(found, probabilities=found.probabilities.numpy(), spread=found.spread.numpy())


def _channels(marked: list[int]) -> NDArray[np.float32]:
    """Return four channels of even tissue; FLAIR has a bright patch off the middle in the marked slices."""
    channels = np.zeros((4, SLICES, ROWS, COLUMNS), np.float32)
    channels[:, :, 8:55, 6:60] = 1.0
    channels[3, marked, 14:24, 40:50] = 3.0
    return channels


def _wt(model: ModelBundle, channels: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(predict(model, channels).probabilities[0] >= 0.5)


def test_the_answer_has_the_shape_of_the_stack_whatever_the_padding(detector: ModelBundle) -> None:
    probabilities = predict(detector, _channels([])).probabilities
    assert probabilities.shape == (3, SLICES, ROWS, COLUMNS)
    assert probabilities.dtype == np.float32
    assert 0 <= probabilities.min() <= probabilities.max() <= 1


def test_slices_keep_their_order_across_batches(detector: ModelBundle) -> None:
    marked = [0, 4, BATCH_SLICES - 1, BATCH_SLICES, SLICES - 1]
    found = _wt(detector, _channels(marked)).any(axis=(1, 2))
    assert np.flatnonzero(found).tolist() == marked


def test_rows_and_columns_are_not_exchanged_or_cropped_at_the_wrong_end(detector: ModelBundle) -> None:
    expected = np.zeros((ROWS, COLUMNS), bool)
    expected[14 + SHIFT_ROWS : 24 + SHIFT_ROWS, 40:50] = True
    assert np.array_equal(_wt(detector, _channels([2]))[2], expected)


def test_each_region_is_a_map_of_its_own(detector: ModelBundle) -> None:
    probabilities = predict(detector, _channels([2])).probabilities
    assert probabilities[0].max() > 0.9
    assert probabilities[1:].max() < 0.1


class _LeftOnly(nn.Module):
    """Says TC where T1CE is bright, in the left half of the columns it is shown alone."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of three regions."""
        likely = (images[:, 1:2] - 2.0) * 100
        likely[..., : images.shape[-1] // 2] = -100
        return torch.cat([(images[:, 3:4] - 2.0) * 100, likely, likely * 0 - 100], dim=1)


def _one_sided(detector: ModelBundle) -> ModelBundle:
    module = TumourUNet(dimensions=2, filters=[2, 2, 2]).eval()
    module.body = _LeftOnly()
    module.register_parameter("place", nn.Parameter())
    return replace(detector, networks=(replace(detector.networks[0], module=module),))


def test_a_mirrored_head_gives_the_mirrored_answer_even_of_a_network_that_knows_sides(detector: ModelBundle) -> None:
    model, channels = _one_sided(detector), _channels([1])[..., :64]
    channels[1, 3, 14:24, 40:50] = 3.0
    plain, mirrored = (predict(model, seen).probabilities for seen in (channels, channels[..., ::-1].copy()))
    assert np.allclose(plain, mirrored[..., ::-1], atol=1e-6)
    assert plain[1, 3, 14:24, 40:50] == pytest.approx(0.5)


def test_the_same_input_gives_the_same_answer(detector: ModelBundle) -> None:
    first, second = (predict(detector, _channels([3])) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert np.array_equal(first.spread, second.spread)


def test_doubt_is_what_differs_between_the_predictions(detector: ModelBundle) -> None:
    """What a network finds on one side alone is half a finding, since the mirror image lacks it: spread 0.5."""
    channels = _channels([5])
    channels[1, 3, 14:24, 40:50] = 3.0
    found = predict(_one_sided(detector), channels)
    patch = (slice(14, 24), slice(40, 50))
    assert found.predictions_made == 2
    assert found.spread[1, 3, *patch] == pytest.approx(0.5, abs=0.05)
    assert found.spread[0, 5, *patch] == pytest.approx(0.0, abs=0.02)
    assert found.agreement[0] == pytest.approx(1.0)
    assert found.agreement[1] < 0.6


class _Says(nn.Module):
    """Says WT where FLAIR is bright; a wild one everywhere."""

    def __init__(self, *, wild: bool = False) -> None:
        super().__init__()
        self.wild = wild

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of three regions, of which the first alone is ever likely."""
        likely = (images[:, 3:4] - 2.0) * 100
        wt = torch.full_like(likely, 100.0) if self.wild else likely
        return torch.cat([wt, likely * 0 - 100, likely * 0 - 100], dim=1)


def _three_axes(detector: ModelBundle, bodies: list[nn.Module]) -> ModelBundle:
    networks = []
    for place, body in enumerate(bodies):
        module = TumourUNet(dimensions=2, filters=[2, 2, 2]).eval()
        module.body = body
        module.register_parameter("place", nn.Parameter())
        manifest = replace(detector.networks[0].manifest, name=f"n{place}", input="volume", views=3)
        networks.append(LoadedNetwork(manifest=manifest, module=module))
    return replace(detector, networks=tuple(networks))


def _lesion() -> NDArray[np.float32]:
    channels = np.zeros((4, 60, 70, 80), np.float32)
    channels[:, 2:-2, 2:-2, 2:-2] = 1.0
    channels[3, 25:35, 20:32, 50:62] = 3.0
    return channels


def test_the_second_network_looks_at_the_surroundings_of_what_the_first_found(detector: ModelBundle) -> None:
    model, channels = _three_axes(detector, [_Says(), _Says(wild=True)]), _lesion()
    staged, whole = (predict(model, channels, staged=value) for value in (True, False))
    near = np.zeros(channels.shape[1:], bool)
    near[25 - MARGIN_MM : 35 + MARGIN_MM, 20 - MARGIN_MM : 32 + MARGIN_MM, 50 - MARGIN_MM : 62 + MARGIN_MM] = True
    assert staged.predictions_made == whole.predictions_made == 6
    assert np.array_equal(staged.probabilities[0][near], whole.probabilities[0][near])
    lesion = channels[3] > 2
    assert staged.probabilities[0][lesion].min() == pytest.approx(1.0)
    assert staged.probabilities[0][near & ~lesion] == pytest.approx(0.5)
    assert staged.probabilities[0][~near].max() == pytest.approx(0.0, abs=1e-6)
    assert whole.probabilities[0][~near].min() == pytest.approx(0.5)
    assert staged.spread[0][near & ~lesion] == pytest.approx(0.5)
    assert staged.spread[0][~near].max() == pytest.approx(0.0, abs=1e-3)


def test_where_the_first_finds_nothing_the_others_look_everywhere(detector: ModelBundle) -> None:
    model = _three_axes(detector, [_Says(), _Says(wild=True)])
    found = predict(model, np.minimum(_lesion(), 1.0))
    assert found.probabilities[0].min() == pytest.approx(0.5)
    assert found.agreement[0] < 1.0


class _Even(nn.Module):
    """Says the same everywhere, as logits of WT, TC, ET; 0 where it is shown no T2 at all."""

    def __init__(self, *logits: float, needs_t2: bool = False) -> None:
        super().__init__()
        self.logits, self.needs_t2 = logits, needs_t2

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of three regions."""
        said = torch.tensor(self.logits)[None, :, None, None].expand(len(images), 3, *images.shape[2:])
        return said if not self.needs_t2 or bool(images[:, 2].any()) else said * 0


def _with_second(detector: ModelBundle, main: list[nn.Module], second: list[nn.Module], **manifest: Any) -> ModelBundle:  # noqa: ANN401
    model = _three_axes(detector, [*main, *second])
    slices: dict[str, Any] = {"input": "slices", "views": 1, "regions": ("WT",), "share_on_volumes": 0.5} | manifest
    networks = [
        one if place < len(main) else replace(one, manifest=replace(one.manifest, **slices))
        for place, one in enumerate(model.networks)
    ]
    return replace(model, networks=tuple(networks)).for_input("volume")


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize(("mains", "seconds"), [(1, 1), (1, 3), (3, 1), (2, 3)])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_networks_for_slices_have_their_share_whatever_their_number(
    detector: ModelBundle, mains: int, seconds: int, share: float
) -> None:
    model = _with_second(detector, [_Even(1, 2, 1)] * mains, [_Even(-1, -2, -1)] * seconds, share_on_volumes=share)
    found = predict(model, _lesion())
    assert [one.manifest.input for one in model.networks] == [*["volume"] * mains, *["slices"] * seconds]
    assert found.predictions_made == 3 * mains + seconds
    assert found.probabilities[0] == pytest.approx((1 - share) * _chance(1) + share * _chance(-1), abs=2e-3)
    assert found.probabilities[1] == pytest.approx(_chance(2), abs=2e-3), "of the core they say nothing"
    assert found.spread[1].max() == pytest.approx(0, abs=1e-3)
    assert found.spread[0].max() > 0.15
    assert found.agreement[1] == 1.0


def test_what_they_alone_suspect_counts_for_nothing(detector: ModelBundle) -> None:
    """Of heads without a tumour they learned nothing: where networks over volumes see none, they are not asked."""
    model = _with_second(detector, [_Even(-100, -100, -100)], [_Says(wild=True)])
    found = predict(model, _lesion())
    assert found.probabilities[0].max() < 0.01
    assert (found.predictions_made, found.agreement[0]) == (3, 1.0)


def test_beside_what_is_found_they_have_their_say(detector: ModelBundle) -> None:
    model, lesion = _with_second(detector, [_Says()], [_Says(wild=True)]), _lesion()[3] > 2
    found = predict(model, _lesion())
    away = ndimage.distance_transform_cdt(~lesion, metric="chessboard")
    assert found.probabilities[0][lesion].min() == pytest.approx(1.0)
    assert found.probabilities[0][~lesion & (away <= SECOND_REACH_MM)] == pytest.approx(0.5)
    assert found.probabilities[0][away > SECOND_REACH_MM].max() < 0.01
    assert found.spread[0][away > SECOND_REACH_MM].max() < 0.01
    assert found.agreement[0] < 1


@pytest.mark.parametrize(("needed", "predictions"), [((), 4), (("T1", "FLAIR"), 4), (("T2",), 3), (("FLAIR", "T2"), 3)])
def test_they_have_no_say_without_what_all_their_cases_had(
    detector: ModelBundle, needed: tuple[str, ...], predictions: int
) -> None:
    model = _with_second(detector, [_Even(1, 1, 1)], [_Even(-1, -1, -1)], needed_on_volumes=needed)
    channels = _lesion()
    channels[2] = 0
    found = predict(model, channels)
    assert found.predictions_made == predictions
    expected = _chance(1) if predictions == 3 else (_chance(1) + _chance(-1)) / 2
    assert found.probabilities[0] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(("blind_to", "said"), [((), _chance(2)), (("T2",), 0.5)])
def test_a_network_is_not_shown_what_its_training_never_had(
    detector: ModelBundle, blind_to: tuple[str, ...], said: float
) -> None:
    model = _three_axes(detector, [_Even(2, 2, 2, needs_t2=True)])
    changed = replace(model.networks[0], manifest=replace(model.networks[0].manifest, blind_to=blind_to))
    channels = _lesion()
    found = predict(replace(model, networks=(changed,)), channels)
    assert found.probabilities[0, 30, 40, 40] == pytest.approx(said, abs=2e-3)
    assert np.array_equal(channels, _lesion()), "what others see is left as it is"
