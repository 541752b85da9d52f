"""A denoising autoencoder over whole heads: it learns what a brain in four sequences looks like, tumour or not.

Layer by layer it is MONAI's AutoEncoder, whose weights fit it under the same names; why it is built here says
`inference.dynamic_unet`.
"""

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["HeadAutoencoder"]


class HeadAutoencoder(nn.Module):
    """An autoencoder that gives back a volume from a damaged one.

    Parameters
    ----------
    filters
        Feature maps of each level; every level halves the resolution.
    narrow
        Feature maps at the narrowest place. The fewer, the less of what was never learned gets through.
    in_channels
        Sequences; as many come out.
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
            Normalised intensities, shape (batch, channel, slice, row, column), sizes multiples of `multiple`; an empty
            channel is a sequence that is not there, and is made up from the others.
        """
        found: Tensor = self.body(volumes)
        return found


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
        """Return what comes out of the narrowest place."""
        found: Tensor = self.decode(self.intermediate(self.encode(volumes)))
        return found


class _Narrow(nn.Module):
    """Two convolutions with a way around."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        units = (_layer(nn.Conv3d(channels, after, 3, padding=1)) for channels in (before, after))
        self.conv = nn.Sequential(OrderedDict(zip(("unit0", "unit1"), units, strict=True)))
        self.residual = nn.Conv3d(before, after, 1) if before != after else nn.Identity()

    def forward(self, given: Tensor) -> Tensor:
        """Return feature maps."""
        found: Tensor = self.conv(given) + self.residual(given)
        return found


def _layer(convolution: nn.Module) -> nn.Sequential:
    """Return a convolution with norm and rectifier, under the names that MONAI gives them."""
    after = OrderedDict[str, nn.Module](N=nn.BatchNorm3d(int(convolution.out_channels)), A=nn.PReLU())  # type: ignore[arg-type]
    return nn.Sequential(OrderedDict[str, nn.Module](conv=convolution, adn=nn.Sequential(after)))


def _upward(before: int, after: int, *, last: bool) -> nn.Sequential:
    upward = nn.ConvTranspose3d(before, after, 3, stride=2, padding=1, output_padding=1)
    layer = nn.Sequential(OrderedDict(conv=upward)) if last else _layer(upward)
    return nn.Sequential(OrderedDict(conv=layer))
