"""A denoising autoencoder over whole heads: it learns what a brain in four sequences looks like, tumour or not."""

from monai.networks.nets.autoencoder import AutoEncoder
from torch import Tensor, nn

__all__ = ["HeadAutoencoder"]


class HeadAutoencoder(nn.Module):
    """An autoencoder (MONAI) that gives back a volume from a damaged one.

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
        self.body = AutoEncoder(
            spatial_dims=3,
            in_channels=in_channels,
            out_channels=in_channels,
            channels=filters,
            strides=[2] * len(filters),
            inter_channels=[narrow],
            norm="batch",
        )

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
