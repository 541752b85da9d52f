"""Our U-Net and autoencoder are MONAI's, layer by layer: the same weights give the same answers, bit by bit."""

import subprocess
import sys

import pytest
import torch
from monai.networks.nets.autoencoder import AutoEncoder
from monai.networks.nets.dynunet import DynUNet

from inference.autoencoder import HeadAutoencoder
from inference.dynamic_unet import DynamicUNet

FILTERS = [8, 12, 16, 20]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("supervised", [0, 1, 2])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_u_net_answers_as_monais(
    dimensions: int,
    residual: bool,  # noqa: FBT001 - a table
    norm: str,
    supervised: int,
    training: bool,  # noqa: FBT001 - a table
) -> None:
    theirs = DynUNet(
        spatial_dims=dimensions,
        in_channels=3,
        out_channels=2,
        kernel_size=[3] * 4,
        strides=[1, 2, 2, 2],
        upsample_kernel_size=[2] * 3,
        filters=FILTERS,
        norm_name=(norm, {"affine": True}),
        res_block=residual,
        deep_supervision=supervised > 0,
        deep_supr_num=supervised or 1,
    ).train(training)
    ours = DynamicUNet(
        dimensions=dimensions,
        in_channels=3,
        out_channels=2,
        filters=FILTERS,
        norm=norm,
        residual=residual,
        supervised=supervised,
    ).train(training)
    weights = {name: one for name, one in theirs.state_dict().items() if not name.startswith("skip_layers.")}
    ours.load_state_dict(weights)
    assert list(ours.state_dict()) == list(weights)
    images = torch.rand(2, 3, *[16] * dimensions, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("training", [False, True])
def test_an_autoencoder_answers_as_monais(training: bool) -> None:  # noqa: FBT001 - a table
    theirs = AutoEncoder(
        spatial_dims=3,
        in_channels=4,
        out_channels=4,
        channels=[4, 8, 16],
        strides=[2, 2, 2],
        inter_channels=[6],
        norm="batch",
    ).train(training)
    ours = HeadAutoencoder(filters=[4, 8, 16], narrow=6).train(training)
    ours.load_state_dict({f"body.{name}": one for name, one in theirs.state_dict().items()})
    volumes = torch.rand(2, 4, 16, 24, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(ours(volumes), theirs(volumes))


@pytest.mark.parametrize("residual", [False, True])
def test_a_seed_gives_the_weights_that_monai_draws(residual: bool) -> None:  # noqa: FBT001 - a table
    torch.manual_seed(1)
    theirs = DynUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        kernel_size=[3] * 3,
        strides=[1, 2, 2],
        upsample_kernel_size=[2] * 2,
        filters=FILTERS[:3],
        norm_name="batch",
        res_block=residual,
        deep_supervision=True,
    ).state_dict()
    torch.manual_seed(1)
    ours = DynamicUNet(
        dimensions=3, in_channels=4, out_channels=3, filters=FILTERS[:3], residual=residual, supervised=1
    ).state_dict()
    assert all(torch.equal(weights, theirs[name]) for name, weights in ours.items())


def test_the_shipped_model_is_loaded_without_what_takes_longer_than_torch() -> None:
    """The process of the steps would start in thrice the time: MONAI, nilearn, and what torch compiles with."""
    code = (
        "import sys, inference.segmenter, inference.model_bundle as m; m.load_model('glioma', 'cpu');"
        "sys.exit(', '.join({'monai', 'nilearn', 'sklearn', 'torch._dynamo', 'sympy'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""  # noqa: PLW1510 - ours
