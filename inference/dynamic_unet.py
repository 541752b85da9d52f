"""A U-Net of plain or residual blocks with the layers of MONAI's DynUNet, whose weights fit it under the same names.

It is built here because MONAI takes longer to load than torch, and every process that segments a study would wait for
it: 5.5 s of 8.5 s on a slow processor. A test checks that its outputs equal MONAI's, bit by bit.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DynamicUNet"]

SLOPE = 0.01
"""Negative slope of the leaky rectifier (nnU-Net; Isensee 2021)."""

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_UPWARDS = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_NORMS: Mapping[str, Mapping[int, type[nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d},
}


class DynamicUNet(nn.Module):
    """A U-Net whose resolution halves from each level to the next.

    Parameters
    ----------
    dimensions
        2 or 3.
    in_channels, out_channels
        Of the images and of the output.
    filters
        Feature maps of each level, at least three.
    norm
        ``batch`` or ``instance``, with a scale and a shift to be learned.
    residual
        Whether blocks add their input to their output.
    supervised
        Number of levels below the finest that give an output in training as well; 0 for none.
    """

    def __init__(  # noqa: PLR0913 - a network's shape, by keyword only
        self,
        *,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        filters: Sequence[int],
        norm: str = "batch",
        residual: bool = False,
        supervised: int = 0,
    ) -> None:
        super().__init__()
        if norm not in _NORMS:
            message = f"norm {norm!r}: use one of {', '.join(_NORMS)}"
            raise ValueError(message)
        block = _ResidualBlock if residual else _Block
        self.input_block = block(dimensions, in_channels, filters[0], 1, norm)
        self.downsamples = nn.ModuleList(
            block(dimensions, above, here, 2, norm) for above, here in pairwise(filters[:-1])
        )
        self.bottleneck = block(dimensions, filters[-2], filters[-1], 2, norm)
        upwards = reversed(list(pairwise(filters)))
        self.upsamples = nn.ModuleList(_UpBlock(dimensions, below, here, norm) for here, below in upwards)
        self.output_block = _Output(dimensions, filters[0], out_channels)
        if supervised:
            levels = filters[1 : supervised + 1]
            self.deep_supervision_heads = nn.ModuleList(_Output(dimensions, level, out_channels) for level in levels)
        self._supervised = supervised
        torch.rand(1)  # MONAI draws a number here; without it a seed would give other weights
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of the images' size; in training with deep supervision all levels along axis 1, finest first.

        Parameters
        ----------
        images
            Shape (batch, channel, *axes), sizes multiples of 2 for each level below the finest.
        """
        levels = [self.input_block(images)]
        for block in self.downsamples:
            levels.append(block(levels[-1]))
        features = self.bottleneck(levels[-1])
        coarser = list[Tensor]()
        for depth, block in zip(reversed(range(len(levels))), self.upsamples, strict=True):
            features = block(features, levels[depth])
            if self.training and 0 < depth <= self._supervised:
                coarser.insert(0, self.deep_supervision_heads[depth - 1](features))
        logits: Tensor = self.output_block(features)
        if not coarser:
            return logits
        return torch.stack([logits, *(F.interpolate(level, logits.shape[2:]) for level in coarser)], dim=1)


class _Block(nn.Module):
    """Two convolutions, each with its norm; the first one halves the resolution where the stride is 2."""

    def __init__(self, dimensions: int, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = _convolution(dimensions, in_channels, out_channels, 3, stride)
        self.conv2 = _convolution(dimensions, out_channels, out_channels, 3, 1)
        self.lrelu = nn.LeakyReLU(SLOPE, inplace=True)
        self.norm1, self.norm2 = (_norm(norm, dimensions, out_channels) for _ in range(2))

    def forward(self, given: Tensor) -> Tensor:
        """Return feature maps."""
        features: Tensor = self.lrelu(self.norm2(self.conv2(self.lrelu(self.norm1(self.conv1(given))))))
        return features


class _ResidualBlock(_Block):
    """The same with a skip connection, which is a convolution where the size or the feature maps change."""

    def __init__(self, dimensions: int, in_channels: int, out_channels: int, stride: int, norm: str) -> None:
        super().__init__(dimensions, in_channels, out_channels, stride, norm)
        self._changes = stride != 1 or in_channels != out_channels
        if self._changes:
            self.conv3 = _convolution(dimensions, in_channels, out_channels, 1, stride)
            self.norm3 = _norm(norm, dimensions, out_channels)

    def forward(self, given: Tensor) -> Tensor:
        """Return feature maps."""
        features = self.norm2(self.conv2(self.lrelu(self.norm1(self.conv1(given)))))
        features += self.norm3(self.conv3(given)) if self._changes else given
        output: Tensor = self.lrelu(features)
        return output


class _UpBlock(nn.Module):
    """Doubles the resolution and concatenates the feature maps that the way down had at that level."""

    def __init__(self, dimensions: int, in_channels: int, out_channels: int, norm: str) -> None:
        super().__init__()
        upward = _UPWARDS[dimensions](in_channels, out_channels, 2, stride=2, bias=False)
        self.transp_conv = nn.Sequential(OrderedDict(conv=upward))
        self.conv_block = _Block(dimensions, 2 * out_channels, out_channels, 1, norm)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return feature maps."""
        features: Tensor = self.conv_block(torch.cat((self.transp_conv(below), beside), dim=1))
        return features


class _Output(nn.Module):
    """Feature maps in, logits out."""

    def __init__(self, dimensions: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(OrderedDict(conv=_CONVOLUTIONS[dimensions](in_channels, out_channels, 1)))

    def forward(self, features: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.conv(features)
        return logits


def _convolution(dimensions: int, in_channels: int, out_channels: int, edge: int, stride: int) -> nn.Sequential:
    """Return a convolution under MONAI's name."""
    layer = _CONVOLUTIONS[dimensions](in_channels, out_channels, edge, stride=stride, padding=edge // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=layer))


def _norm(name: str, dimensions: int, channels: int) -> nn.Module:
    return _NORMS[name][dimensions](channels, affine=True)


def _initialise(layer: nn.Module) -> None:
    """Draw weights as in He 2015 for this rectifier; a network on the meta device, built to be counted, has none."""
    if not isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return
    weight, bias = layer.weight, layer.bias
    if isinstance(weight, Tensor) and not weight.is_meta:
        nn.init.kaiming_normal_(weight, a=SLOPE)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)
