"""A denoising autoencoder over whole heads: it learns how a brain appears in four sequences, with tumour or without.

It has the layers of MONAI's AutoEncoder, whose weights fit it under the same names. `inference.dynamic_unet` gives the
reason for building it here.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["HeadAutoencoder"]


class HeadAutoencoder(nn.Module):
    """An autoencoder that reconstructs a volume from a damaged one.

    Parameters
    ----------
    filters
        Feature maps of each level; every level halves the resolution.
    narrow
        Feature maps in the bottleneck. The fewer there are, the less passes that was not in the training data.
    in_channels
        Number of sequences, in the input and in the output.
    """

    dimensions = 3

    def __init__(self, *, filters: list[int], narrow: int, in_channels: int = 4) -> None:
        super().__init__()
        self.multiple = 2 ** len(filters)
        self.body = _Body(in_channels, filters, narrow)

    def forward(self, volumes: Tensor) -> Tensor:
        """Return reconstructed intensities.

        Parameters
        ----------
        volumes
            Normalised intensities, shape (batch, channel, slice, row, column), sizes multiples of `multiple`. An empty
            channel is a missing sequence and is reconstructed from the others.
        """
        output: Tensor = self.body(volumes)
        return output


class _Body(nn.Module):
    def __init__(self, channels: int, filters: list[int], narrow: int) -> None:
        super().__init__()
        down = zip([channels, *filters[:-1]], filters, strict=True)
        self.encode = nn.Sequential(
            OrderedDict(
                (f"encode_{level}", _layer(nn.Conv3d(before, after, 3, stride=2, padding=1)))
                for level, (before, after) in enumerate(down)
            )
        )
        self.intermediate = nn.Sequential(OrderedDict(inter_0=_Narrow(filters[-1], narrow)))
        up = [narrow, *filters[-2::-1], channels]
        self.decode = nn.Sequential(
            OrderedDict(
                (f"decode_{level}", _upward(before, after, last=level == len(filters) - 1))
                for level, (before, after) in enumerate(pairwise(up))
            )
        )

    def forward(self, volumes: Tensor) -> Tensor:
        """Return the reconstruction."""
        output: Tensor = self.decode(self.intermediate(self.encode(volumes)))
        return output


class _Narrow(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        units = (_layer(nn.Conv3d(channels, after, 3, padding=1)) for channels in (before, after))
        self.conv = nn.Sequential(OrderedDict(zip(("unit0", "unit1"), units, strict=True)))
        self.residual = nn.Conv3d(before, after, 1) if before != after else nn.Identity()

    def forward(self, given: Tensor) -> Tensor:
        """Return feature maps."""
        output: Tensor = self.conv(given) + self.residual(given)
        return output


def _layer(convolution: nn.Module) -> nn.Sequential:
    """Return a convolution with norm and rectifier, under MONAI's names."""
    after = OrderedDict[str, nn.Module](N=nn.BatchNorm3d(int(convolution.out_channels)), A=nn.PReLU())  # type: ignore[arg-type]
    return nn.Sequential(OrderedDict[str, nn.Module](conv=convolution, adn=nn.Sequential(after)))


def _upward(before: int, after: int, *, last: bool) -> nn.Sequential:
    upward = nn.ConvTranspose3d(before, after, 3, stride=2, padding=1, output_padding=1)
    layer = nn.Sequential(OrderedDict(conv=upward)) if last else _layer(upward)
    return nn.Sequential(OrderedDict(conv=layer))
