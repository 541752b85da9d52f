"""Networks of others: the same anatomy whatever their axes, outputs and normalisation; plain arguments alone."""

from typing import Any

import pytest
import torch
from monai.transforms.intensity.array import NormalizeIntensity
from torch import Tensor, nn

from inference.foreign_network import FOREIGN, ForeignNetwork, build_monai, plain_arguments
from tests.support.monai_bundle import ARGUMENTS, make_segresnet


class _Seen(nn.Module):
    """Answers its first three channels, and keeps what it was given."""

    def forward(self, images: Tensor) -> Tensor:
        self.given = images
        return images[:, :3]


def _stack() -> Tensor:
    """Return a stack whose every voxel is another number, shape (1, 4, slice, row, column)."""
    return torch.arange(4.0 * 2 * 3 * 5).reshape(1, 4, 2, 3, 5)


@pytest.mark.parametrize("axes", ["SPL", "LPS", "RAS", "PIL", "LAI"])
def test_the_network_sees_its_own_axes_and_the_answer_comes_back_in_ours(axes: str) -> None:
    body = _Seen()
    answer = ForeignNetwork(body, dimensions=3, axes=axes)(_stack())
    assert torch.equal(answer, _stack()[:, :3])
    corner = [0 if letter in "SPL" else size - 1 for letter, size in zip(axes, body.given.shape[2:], strict=True)]
    assert body.given[0, 0, corner[0], corner[1], corner[2]] == 0
    ours = {"S": 2, "I": 2, "P": 3, "A": 3, "L": 5, "R": 5}
    assert body.given.shape[2:] == tuple(ours[letter] for letter in axes)


@pytest.mark.parametrize("axes", ["PL", "LP", "AR"])
def test_a_slice_network_sees_one_slice(axes: str) -> None:
    body = _Seen()
    one = _stack()[:, :, :1]
    assert torch.equal(ForeignNetwork(body, dimensions=2, axes=axes)(one), one[:, :3])
    assert body.given.ndim == 4


def test_outputs_come_in_our_order() -> None:
    network = ForeignNetwork(_Seen(), dimensions=3, axes="SPL", outputs=("TC", "WT", "ET"))
    assert torch.equal(network(_stack()), _stack()[:, [1, 0, 2]])


def test_probabilities_become_logits() -> None:
    stack = torch.linspace(0, 1, 120).reshape(1, 4, 2, 3, 5)
    network = ForeignNetwork(_Seen(), dimensions=3, axes="SPL", answers="probabilities")
    assert torch.allclose(network(stack).sigmoid(), stack[:, :3], atol=2e-6)


def test_the_normalisation_is_monais() -> None:
    stack = torch.rand(2, 4, 6, 7, 8, generator=torch.Generator().manual_seed(1))
    stack[:, :, :2] = 0
    stack[0, 3] = 0  # a missing sequence
    body = _Seen()
    ForeignNetwork(body, dimensions=3, axes="SPL", normalise="nonzero")(stack)
    expected = torch.stack([torch.as_tensor(NormalizeIntensity(nonzero=True, channel_wise=True)(one)) for one in stack])
    assert torch.allclose(body.given, expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": "LP"},
        {"axes": "LLS"},
        {"axes": "LRS"},
        {"axes": "XYZ"},
        {"axes": 3},
        {"outputs": ["WT", "TC"]},
        {"outputs": ["WT", "TC", "TC"]},
        {"normalise": "$x"},
        {"answers": "labels"},
        {"multiple": 0},
        {"multiple": 2.0},
        {"multiple": 10**9},
    ],
    ids=repr,
)
def test_a_face_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(changes))} "):
        ForeignNetwork(_Seen(), **{"dimensions": 3, "axes": "LPS"} | changes)


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="output does not fit its input"):
        ForeignNetwork(nn.Identity(), dimensions=3, axes="SPL")(_stack())


def test_a_network_of_monai_gives_what_monai_gives() -> None:
    original = make_segresnet()
    network = build_monai("monai.SegResNet", arguments=ARGUMENTS, axes="LPS", outputs=["TC", "WT", "ET"]).eval()
    network.load_state_dict({f"body.{name}": value for name, value in original.state_dict().items()})
    stack = torch.rand(1, 4, 8, 12, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = original(stack.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2)[:, [1, 0, 2]]
        assert torch.allclose(network(stack), expected, atol=1e-5)
    assert (network.dimensions, network.multiple) == (3, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "multiple"),
    [
        ("UNet", {"channels": [4, 8, 8], "strides": [2, 2]}, 4),
        ("AttentionUnet", {"channels": [4, 8], "strides": [2]}, 2),
        ("BasicUNet", {"features": [4, 4, 4, 4, 4, 4]}, 16),
        (
            "DynUNet",
            {
                "kernel_size": [3, 3, 3],
                "strides": [1, [2, 2], 2],
                "upsample_kernel_size": [2, 2],
                "filters": [4, 8, 8],
            },
            4,
        ),
    ],
)
def test_every_network_of_the_list_can_be_built_and_run(name: str, arguments: dict[str, Any], multiple: int) -> None:
    given = arguments | {"spatial_dims": 2, "in_channels": 4, "out_channels": 3}
    network = build_monai(f"monai.{name}", arguments=given, axes="PL").eval()
    assert (network.dimensions, network.multiple) == (2, multiple)
    with torch.no_grad():
        assert network(torch.rand(2, 4, 1, 32, 32)).shape == (2, 3, 1, 32, 32)


@pytest.mark.parametrize(
    "value",
    [
        "$import os",
        "$@network_def.to(@device)",
        "@in_channels",
        "%configs/train.json",
        "os.system('true')",
        {"_target_": "os.system"},
        {"__import__": 1},
        [["$1"]],
        1e9,
        -(10**9),
        float("nan"),
        float("inf"),
        list(range(17)),
        [[[[[[1]]]]]],
        b"bytes",
    ],
    ids=repr,
)
def test_arguments_are_plain_and_bounded(value: object) -> None:
    with pytest.raises(ValueError, match="argument"):
        plain_arguments({"init_filters": value})


@pytest.mark.parametrize("name", ["_target_", "_requires_", "a b", "", 3])
def test_arguments_have_the_names_of_arguments(name: Any) -> None:  # noqa: ANN401 - that is the point
    with pytest.raises(ValueError, match="is not allowed"):
        plain_arguments({name: 1})


def test_a_network_that_no_node_could_hold_is_not_built() -> None:
    with pytest.raises(ValueError, match="parameters are more than a node can hold"):
        build_monai("monai.SegResNet", arguments=ARGUMENTS | {"init_filters": 4096}, axes="LPS")


def test_what_is_not_on_the_list_is_not_built() -> None:
    assert "monai.SegResNet" in FOREIGN
    with pytest.raises(ValueError, match="not among"):
        build_monai("monai.UNETR", arguments={}, axes="LPS")
    with pytest.raises(ValueError, match="has no argument depth"):
        build_monai("monai.SegResNet", arguments=ARGUMENTS | {"depth": 3}, axes="LPS")
