"""The network architectures that a model manifest may name."""

from collections.abc import Callable, Mapping
from typing import Any

from inference.foreign_network import FOREIGN, ForeignNetwork, build_monai, check_size, plain_arguments
from inference.unet import TumourUNet

__all__ = ["Network", "build_network"]

Network = TumourUNet | ForeignNetwork
"""One of this program, or a third-party one."""

_ARCHITECTURES: Mapping[str, Callable[..., TumourUNet]] = {"tumour-unet": TumourUNet}


def build_network(architecture: str, settings: Mapping[str, Any]) -> Network:
    """Build an untrained network.

    Parameters
    ----------
    architecture
        Name on the allow-list; nothing else is ever imported.
    settings
        Keyword arguments of that architecture, from the manifest.

    Returns
    -------
    Network
        Maps images to logits as described in `inference.unet` and `inference.foreign_network`.

    Raises
    ------
    ValueError
        If the architecture is not on the allow-list, or a setting is not a plain value within bounds.
    """
    if architecture in FOREIGN:
        return build_monai(architecture, **settings)
    if architecture not in _ARCHITECTURES:
        known = ", ".join((*sorted(_ARCHITECTURES), *FOREIGN))
        message = f"unknown network architecture {architecture!r}; this version supports: {known}"
        raise ValueError(message)
    build, arguments = _ARCHITECTURES[architecture], plain_arguments(settings)
    check_size(lambda: build(**arguments))
    return build(**arguments)
