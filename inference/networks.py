"""The network architectures that a model manifest may name."""

from collections.abc import Callable, Mapping
from typing import Any

from monai.networks.nets.dynunet import DynUNet
from torch import nn

from inference.foreign.network import FOREIGN, build_monai, plain_arguments
from inference.unet import TumourUNet

__all__ = ["build_network"]


def _unet2d(*, in_channels: int, out_channels: int, filters: list[int]) -> nn.Module:
    """Return a plain 2D U-Net with instance norm; one halving of resolution per entry of `filters` after the first."""
    levels = len(filters)
    return DynUNet(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=filters,
    )


_ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {"unet2d": _unet2d, "tumour-unet": TumourUNet}


def build_network(architecture: str, settings: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Parameters
    ----------
    architecture
        Name in the allow-list; nothing outside it is ever imported.
    settings
        Keyword arguments of that architecture, from the manifest.

    Returns
    -------
    torch.nn.Module
        Maps (batch, channel, row, column) to logits (batch, region, row, column); a foreign one as in
        `inference.foreign.network`.

    Raises
    ------
    ValueError
        If the architecture is not in the allow-list, or a setting is not a plain value within bounds.
    """
    if architecture in FOREIGN:
        return build_monai(architecture, **settings)
    if architecture not in _ARCHITECTURES:
        known = ", ".join((*sorted(_ARCHITECTURES), *FOREIGN))
        message = f"unknown network architecture {architecture!r}; this version knows: {known}"
        raise ValueError(message)
    return _ARCHITECTURES[architecture](**plain_arguments(settings))
