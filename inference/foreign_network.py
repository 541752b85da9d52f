"""Third-party networks with the interface of ours: stacks in, logits of WT, TC, ET out.

Architectures come from an allow-list of MONAI, and their arguments are plain, bounded values. Nothing named in a file
is ever imported, and no expression is evaluated.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.manifest_rules import REGIONS

__all__ = ["FOREIGN", "MONAI_TARGETS", "ForeignNetwork", "build_monai", "check_size", "plain_arguments"]

_MONAI_PREFIX = "monai."
_MONAI: Mapping[str, str] = {
    name: f"monai.networks.nets.{module}"
    for name, module in (
        ("AttentionUnet", "attentionunet"),
        ("BasicUNet", "basic_unet"),
        ("DynUNet", "dynunet"),
        ("SegResNet", "segresnet"),
        ("UNet", "unet"),
    )
}
"""The module of each class. It is loaded when a network is built, because MONAI takes longer to load than torch."""

FOREIGN = tuple(_MONAI_PREFIX + name for name in sorted(_MONAI))
MONAI_TARGETS: Mapping[str, str] = {
    target: _MONAI_PREFIX + name
    for name, module in _MONAI.items()
    for target in (name, f"monai.networks.nets.{name}", f"{module}.{name}")
}
"""Names that a bundle's ``_target_`` may use for them."""

OURS = "SPL"
"""Our axes: slices run to the head (Superior), rows to the back (Posterior), columns to the left (Left)."""

LARGEST_NUMBER = 4096
LONGEST_LIST = 16
DEEPEST = 4
"""Bounds on arguments, an order of magnitude above those of any published network."""

MOST_PARAMETERS = 300_000_000
"""A larger network does not fit into a node's memory beside a study (1.2 GB in float32)."""

PROBABILITY_MARGIN = 1e-6
"""Smallest distance of probabilities from 0 and 1, where their logit is infinite."""

_AXIS = {"S": 0, "I": 0, "P": 1, "A": 1, "L": 2, "R": 2}


class ForeignNetwork(nn.Module):
    """A network with its own axes, outputs and normalisation.

    Parameters
    ----------
    body
        Maps (batch, channel, three or two axes) to (batch, output, the same axes).
    dimensions
        2 for axial slices, 3 for volumes.
    axes
        Directions in the patient of indices 0, 1, 2 of a volume, as letters of S, I, P, A, L, R: a NIfTI array of BraTS
        is ``LPS``. A slice network takes ``PL``.
    outputs
        WT, TC, ET in the order of the body's outputs.
    normalise
        ``none``, or ``nonzero``: mean 0 and standard deviation 1 over the nonzero voxels, by channel (MONAI's
        NormalizeIntensity with nonzero and channel_wise).
    answers
        ``logits`` or ``probabilities``.
    multiple
        Number of which the size of every axis must be a multiple.
    """

    context = 0

    def __init__(  # noqa: PLR0913 - a manifest's settings, by keyword only
        self,
        body: nn.Module,
        *,
        dimensions: int,
        axes: str,
        outputs: Sequence[str] = REGIONS,
        normalise: str = "none",
        answers: str = "logits",
        multiple: int = 1,
    ) -> None:
        super().__init__()
        ours = OURS[3 - dimensions :]
        places = [_AXIS.get(letter) for letter in axes] if isinstance(axes, str) else []
        if sorted(places, key=str) != [_AXIS[letter] for letter in ours]:
            raise ValueError(f"axes {axes!r}: they must have one letter for each of {', '.join(ours)} or its opposite")
        if sorted(outputs) != sorted(REGIONS):
            raise ValueError(f"outputs {outputs!r}: they must be WT, TC and ET, each once")
        if normalise not in {"none", "nonzero"} or answers not in {"logits", "probabilities"}:
            wanted = "normalise must be none or nonzero, answers must be logits or probabilities"
            raise ValueError(f"normalise {normalise!r}, answers {answers!r}: {wanted}")
        if type(multiple) is not int or not 1 <= multiple <= 64:
            raise ValueError(f"multiple {multiple!r}: it must be a whole number from 1 to 64")
        self.body, self.dimensions, self.multiple = body, dimensions, multiple
        self._normalise, self._answers = normalise == "nonzero", answers
        first = 3 - dimensions
        self._order = [2 + place - first for place in places if place is not None]
        self._flips = [2 + index for index, letter in enumerate(axes) if letter not in OURS]
        self._outputs = [list(outputs).index(region) for region in REGIONS]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of WT, TC, ET, shape (batch, 3, slice, row, column).

        Parameters
        ----------
        images
            Shape (batch, channel, slice, row, column); a slice network takes single slices.
        """
        given = _normalised(images) if self._normalise else images
        if self.dimensions == 2:
            given = given.squeeze(2)
        reoriented = given.permute(0, 1, *self._order).flip(self._flips).contiguous()
        answer = self.body(reoriented).float()
        if answer.shape != (len(reoriented), len(REGIONS), *reoriented.shape[2:]):
            message = (
                "the network's output does not fit its input "
                f"(output of shape {tuple(answer.shape)}, input of shape {tuple(reoriented.shape)})"
            )
            raise ValueError(message)
        back = [2 + self._order.index(2 + place) for place in range(self.dimensions)]
        restored = answer.flip(self._flips).permute(0, 1, *back)[:, self._outputs]
        if self._answers == "probabilities":
            restored = restored.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN).logit()
        logits: Tensor = restored.unsqueeze(2) if self.dimensions == 2 else restored
        return logits


def _normalised(images: Tensor) -> Tensor:
    inside = images != 0
    axes = tuple(range(2, images.ndim))
    count = inside.sum(axes, keepdim=True).clamp(min=1)
    mean = images.sum(axes, keepdim=True) / count
    spread = (((images - mean) * inside) ** 2).sum(axes, keepdim=True).div(count).sqrt()
    return (images - mean) * inside / torch.where(spread > 0, spread, 1.0)


def build_monai(architecture: str, *, arguments: Mapping[str, Any], **face: Any) -> ForeignNetwork:  # noqa: ANN401
    """Build an untrained network of MONAI.

    Parameters
    ----------
    architecture
        One of `FOREIGN`.
    arguments
        Keyword arguments of MONAI's class, plain values only.
    face
        Keyword arguments of `ForeignNetwork`.

    Raises
    ------
    ValueError
        For another class, or for arguments that are not plain or too large.
    """
    if architecture not in FOREIGN:
        raise ValueError(f"{architecture!r} is not among the networks that can be built: {', '.join(FOREIGN)}")
    name = architecture.removeprefix(_MONAI_PREFIX)
    cls: type[nn.Module] = getattr(importlib.import_module(_MONAI[name]), name)
    checked = plain_arguments(arguments)
    if unknown := set(checked) - set(inspect.signature(cls.__init__).parameters):
        raise ValueError(f"{cls.__name__} has no argument {', '.join(sorted(unknown))}")
    check_size(lambda: cls(**checked))
    return ForeignNetwork(
        cls(**checked), dimensions=checked.get("spatial_dims", 3), multiple=_multiple(checked), **face
    )


def check_size(build: Callable[[], nn.Module]) -> None:
    """Build a network without allocating memory, and count its weights.

    Raises
    ------
    ValueError
        If there are more than a node can hold.
    """
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in build().parameters())
    if size > MOST_PARAMETERS:
        raise ValueError(f"{size} parameters are more than a node can hold ({MOST_PARAMETERS})")


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a network after a check that each is plain JSON within bounds.

    Raises
    ------
    ValueError
        For an expression (``$``), a reference (``@``, ``%``), an object with a ``_target_``, or too large a value.
    """
    if not isinstance(arguments, Mapping):
        raise ValueError(f"arguments {arguments!r}: they must be a JSON object")  # noqa: TRY004 - one kind for all
    return {_plain_key(name): _plain(value, name, 0) for name, value in arguments.items()}


def _plain_key(name: object) -> str:
    if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
        raise ValueError(f"argument {name!r} is not allowed")
    return name


def _plain(value: object, name: str, depth: int) -> Any:  # noqa: ANN401 - any JSON value
    if depth > DEEPEST:
        raise ValueError(f"argument {name} is nested too deeply")
    if isinstance(value, list | tuple) and len(value) <= LONGEST_LIST:
        return [_plain(one, name, depth + 1) for one in value]
    if isinstance(value, Mapping) and len(value) <= LONGEST_LIST:
        return {_plain_key(key): _plain(one, name, depth + 1) for key, one in value.items()}
    if isinstance(value, str) and value and not value.replace("_", "").replace("-", "").isalnum():
        raise ValueError(f"argument {name} = {value[:60]!r}: expressions and references are not evaluated")
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise ValueError(f"argument {name} = {value} is too large ({LARGEST_NUMBER} at most)")
    if value is not None and not isinstance(value, str | int | float):
        raise ValueError(f"argument {name} is not a plain value, or is too long ({LONGEST_LIST} entries at most)")
    return value


def _multiple(arguments: Mapping[str, Any]) -> int:
    """Return the number of which an axis must be a multiple: 2 to the number of halvings by the arguments."""
    if "strides" in arguments:
        steps = [max(step) if isinstance(step, list) else step for step in arguments["strides"]]
        return int(math.prod(steps))
    levels = arguments.get("blocks_down", arguments.get("features", [0] * 4))
    return int(2 ** (len(levels) - (2 if "features" in arguments else 1)))
