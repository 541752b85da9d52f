"""The network architectures that a model manifest may name."""

from collections.abc import Mapping
from typing import Any

from monai.networks.nets.dynunet import DynUNet
from torch import nn

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


_ARCHITECTURES = {"unet2d": _unet2d}


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
        Maps (batch, channel, row, column) to logits (batch, region, row, column).

    Raises
    ------
    ValueError
        If the architecture is not in the allow-list.
    """
    if architecture not in _ARCHITECTURES:
        known = ", ".join(sorted(_ARCHITECTURES))
        message = f"unknown network architecture {architecture!r}; this version knows: {known}"
        raise ValueError(message)
    return _ARCHITECTURES[architecture](**settings)
