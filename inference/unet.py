"""U-Nets in two, two and a half and three dimensions with one interface: volumes in, logits out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.dynamic_unet import DynamicUNet

__all__ = ["SUPERVISED_LEVELS", "VARIANTS", "TumourUNet"]

VARIANTS = ("plain", "residual", "attention")
SUPERVISED_LEVELS = 2
"""Number of levels below the finest that deep supervision also scores; in lower ones a tumour is only a few voxels."""

FEWEST_LEVELS = 3

_HEADS = "body.deep_supervision_heads."
"""Prefix of the weights for levels that only training uses."""


class TumourUNet(nn.Module):
    """A U-Net over stacks of slices or whole volumes.

    Parameters
    ----------
    dimensions
        2: each slice by itself, or with `context` neighbours on each side as further channels (2.5D); 3: volumes.
    filters
        Feature maps of each level; the resolution halves from one to the next.
    fold
        Edge of the block of voxels that is folded into channels first and unfolded at the end. With 2, the finest
        level has a quarter (2D) or an eighth (3D) of the positions, and the output keeps its resolution.
    variant
        ``plain``, ``residual`` or ``attention`` (gates on the skip connections; Oktay 2018).
    norm
        ``batch`` or ``instance``. Batch norm takes half the time in training and none afterwards.
    deep_supervision
        Whether training also scores coarser levels (not with attention).
    """

    def __init__(  # noqa: PLR0913 - a manifest's settings, by keyword only
        self,
        *,
        dimensions: int,
        filters: list[int],
        in_channels: int = 4,
        out_channels: int = 3,
        context: int = 0,
        fold: int = 1,
        variant: str = "plain",
        norm: str = "batch",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if dimensions not in (2, 3) or (dimensions == 3 and context):
            message = f"dimensions {dimensions} with context {context}: use 2 with any context, or 3 with context 0"
            raise ValueError(message)
        if variant not in VARIANTS or (variant == "attention" and deep_supervision):
            message = f"variant {variant!r}: use one of {', '.join(VARIANTS)}; attention excludes deep supervision"
            raise ValueError(message)
        if len(filters) < FEWEST_LEVELS:
            message = f"filters {filters}: at least three levels are needed"
            raise ValueError(message)
        self.dimensions, self.context, self.fold = dimensions, context, fold
        self.deep_supervision = deep_supervision
        block = fold**dimensions
        ends = (in_channels * (2 * context + 1) * block, out_channels * block)
        if variant == "attention":
            self.body = _attention_unet(dimensions, ends, filters)
        else:
            self.body = DynamicUNet(
                dimensions=dimensions,
                in_channels=ends[0],
                out_channels=ends[1],
                filters=filters,
                norm=norm,
                residual=variant == "residual",
                supervised=min(SUPERVISED_LEVELS, len(filters) - 2) if deep_supervision else 0,
            )
        self._halvings = len(filters) - 1
        self.register_load_state_dict_pre_hook(_fitting_heads)  # type: ignore[no-untyped-call]

    @property
    def multiple(self) -> int:
        """The number of which rows and columns, and in 3D also slices, must be a multiple."""
        return int(self.fold * 2**self._halvings)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        images
            Shape (batch, channel, slice, row, column); in 2D exactly one slice between its neighbours.

        Returns
        -------
        torch.Tensor
            Shape (batch, region, slice, row, column), in 2D of that one slice. In training with deep supervision it is
            (batch, level, region, slice, row, column), the finest level first.
        """
        if self.dimensions == 2:
            folded = fold_plane(images.flatten(1, 2), self.fold)
            output = self.body(folded.contiguous(memory_format=torch.channels_last))
        else:
            folded = fold_volume(images, self.fold)
            output = self.body(folded.contiguous(memory_format=torch.channels_last_3d))
        if self.training and self.deep_supervision:
            return torch.stack([self._unfolded(level) for level in output.unbind(1)], dim=1)
        return self._unfolded(output)

    def _unfolded(self, output: Tensor) -> Tensor:
        if self.dimensions == 2:
            return F.pixel_shuffle(output, self.fold).unsqueeze(2)
        return unfold_volume(output, self.fold)


def _fitting_heads(network: "TumourUNet", state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Add or remove the tensors of deep supervision, so that a file fits a network built with or without it."""
    if network.deep_supervision:
        for name, tensor in network.state_dict().items():
            if name.startswith(_HEADS):
                state.setdefault(prefix + name, tensor)
    else:
        for name in [name for name in state if name.startswith(prefix + _HEADS)]:
            del state[name]


def _attention_unet(dimensions: int, ends: tuple[int, int], filters: list[int]) -> nn.Module:
    from monai.networks.nets.attentionunet import AttentionUnet  # noqa: PLC0415 - MONAI takes longer to load than torch

    return AttentionUnet(
        spatial_dims=dimensions,
        in_channels=ends[0],
        out_channels=ends[1],
        channels=filters,
        strides=[2] * (len(filters) - 1),
    )


def fold_plane(images: Tensor, fold: int) -> Tensor:
    """Compute `torch.nn.functional.pixel_unshuffle` by strides, on a CPU in less than half its time."""
    if fold == 1:
        return images
    parts = [images[:, :, row::fold, column::fold] for row in range(fold) for column in range(fold)]
    return torch.stack(parts, dim=2).flatten(1, 2)


def fold_volume(volume: Tensor, fold: int) -> Tensor:
    """Move blocks of `fold` voxels along each of three axes into the channels."""
    batch, channels, *size = volume.shape
    slices, rows, columns = (length // fold for length in size)
    blocks = volume.reshape(batch, channels, slices, fold, rows, fold, columns, fold)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * fold**3, slices, rows, columns)


def unfold_volume(folded: Tensor, fold: int) -> Tensor:
    """Undo `fold_volume`."""
    batch, channels, slices, rows, columns = folded.shape
    blocks = folded.reshape(batch, channels // fold**3, fold, fold, fold, slices, rows, columns)
    volume = blocks.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return volume.reshape(batch, channels // fold**3, slices * fold, rows * fold, columns * fold)
