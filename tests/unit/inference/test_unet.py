"""U-Nets behind one face."""

import pytest
import torch
from torch.nn import functional

from inference.forward import forward_probabilities
from inference.unet import VARIANTS, TumourUNet, fold_plane, fold_volume, unfold_volume


def _network(dimensions: int, context: int = 0, fold: int = 1, variant: str = "plain") -> TumourUNet:
    torch.manual_seed(1)
    return TumourUNet(dimensions=dimensions, context=context, fold=fold, variant=variant, filters=[4, 6, 8]).eval()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dimensions", "context"), [(2, 0), (2, 1), (2, 2), (3, 0)])
@pytest.mark.parametrize("fold", [1, 2])
def test_logits_lie_on_the_places_of_the_images(dimensions: int, context: int, fold: int, variant: str) -> None:
    network = _network(dimensions, context, fold, variant)
    assert network.multiple == 4 * fold
    slices = 16 if dimensions == 3 else 2 * context + 1
    logits = network(torch.rand(2, 4, slices, 16, 24))
    assert logits.shape == (2, 3, slices if dimensions == 3 else 1, 16, 24)


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_unfolding_undoes_folding(fold: int) -> None:
    volume = torch.rand(2, 4, 6, 12, 18)
    folded = fold_volume(volume, fold)
    assert folded.shape == (2, 4 * fold**3, 6 // fold, 12 // fold, 18 // fold)
    assert torch.equal(unfold_volume(folded, fold), volume)
    assert torch.equal(folded[:, 0], volume[:, 0, ::fold, ::fold, ::fold])


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_a_plane_is_folded_as_torch_unfolds_it(fold: int) -> None:
    images = torch.rand(2, 5, 12, 18)
    folded = fold_plane(images, fold)
    assert torch.equal(folded, functional.pixel_unshuffle(images, fold))
    assert torch.equal(functional.pixel_shuffle(folded, fold), images)


def test_deep_supervision_answers_with_levels_while_training_only() -> None:
    network = TumourUNet(dimensions=2, context=1, fold=2, filters=[4, 6, 8, 8], deep_supervision=True)
    images = torch.rand(2, 4, 3, 32, 32)
    assert network.train()(images).shape == (2, 3, 3, 1, 32, 32)
    assert network.eval()(images).shape == (2, 3, 1, 32, 32)


def test_weights_go_from_deep_supervision_to_a_network_without_it_and_back() -> None:
    settings = {"dimensions": 2, "context": 1, "fold": 2, "filters": [4, 6, 8, 8]}
    images = torch.rand(2, 4, 3, 32, 32)
    trained = TumourUNet(**settings, deep_supervision=True).eval()
    plain = TumourUNet(**settings).eval()
    plain.load_state_dict(trained.state_dict())
    assert torch.equal(plain(images), trained(images))
    started = TumourUNet(**settings, deep_supervision=True).eval()
    started.load_state_dict(plain.state_dict())
    assert torch.equal(started(images), trained(images))


@pytest.mark.parametrize(("dimensions", "context", "fold"), [(2, 0, 1), (2, 1, 2), (3, 0, 2)])
def test_any_size_is_answered_voxel_for_voxel(dimensions: int, context: int, fold: int) -> None:
    found = forward_probabilities(_network(dimensions, context, fold), torch.rand(4, 11, 21, 19).numpy())
    assert found.shape == (3, 11, 21, 19)
    assert 0 < found.min() < found.max() < 1


def test_a_mirrored_head_gets_the_mirrored_answer() -> None:
    """The mean over both sides does not know left from right."""
    network, images = _network(2, 1, 2), torch.rand(4, 5, 16, 16)
    plain = forward_probabilities(network, images.numpy(), mirrored=True)
    turned = forward_probabilities(network, images.flip(-1).numpy(), mirrored=True)
    assert plain == pytest.approx(turned[..., ::-1], abs=1e-2)
    alone = forward_probabilities(network, images.numpy())
    assert abs(alone - forward_probabilities(network, images.flip(-1).numpy())[..., ::-1]).max() > 1e-3


def test_a_slice_sees_its_neighbours_at_the_step_asked_for() -> None:
    network, images = _network(2, 1), torch.rand(4, 9, 16, 16)
    near, far = (forward_probabilities(network, images.numpy(), slice_step=step) for step in (1, 3))
    assert near[:, 4] != pytest.approx(far[:, 4], abs=1e-3)
    changed = images.clone()
    changed[:, [3, 5]] = 0
    assert forward_probabilities(network, changed.numpy(), slice_step=3)[:, 4] == pytest.approx(far[:, 4], abs=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_tensor_is_kept_once_and_comes_back(variant: str) -> None:
    network, other = (
        _network(2, 1, 2, variant),
        TumourUNet(dimensions=2, context=1, fold=2, variant=variant, filters=[4, 6, 8]),
    )
    state = network.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values() if tensor.numel()}) == len(state)
    assert sum(tensor.numel() for tensor in network.parameters()) == sum(
        state[name].numel() for name, _ in network.named_parameters()
    )
    other.load_state_dict({name: tensor.clone() for name, tensor in state.items()})
    images = torch.rand(1, 4, 3, 16, 16)
    assert torch.equal(other.eval()(images), network(images))
    del state["body.output_block.conv.conv.weight" if variant != "attention" else next(iter(state))]
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(state)
