"""What the header says of stored values: how many bits where, signed or not, what is background, what is turned over.

PS3.3 C.7.6.3 (Image Pixel) and C.7.5.1.1.2 (Pixel Padding), PS3.5 8.1.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.cells import signed_or_not, values_in
from conversion.encoding import SettledDataset
from conversion.values import items

__all__ = ["MAXIMUM_FRAME_PIXELS", "PixelFormat", "is_coloured", "pixel_format", "remarks", "unknown_interpretation"]

MAXIMUM_FRAME_PIXELS = 2**24
"""Of one image: 4096 x 4096. The largest matrix of clinical MR is 1024 x 1024, of interpolated images 2048 x 2048."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "YBR_")
"""How the Photometric Interpretations of colours begin (PS3.3 C.7.6.3.1.2)."""
_ALLOCATED = (8, 16, 32)

AMONG_VALUES = 0.05
"""Share of an image's other pixels on either side from which on a padding value lies among them; fewer are outliers."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The layout and the meaning of an instance's stored values.

    Attributes
    ----------
    allocated, stored, high_bit
        Bits of a cell, how many of them hold the value, and the place of the value's highest, counted from 0.
    turned_over
        Whether the lowest value is meant to be white (MONOCHROME1).
    padding
        Lowest and highest stored value that stand for background; None where nothing is padding.
    """

    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    turned_over: bool = False
    padding: tuple[int, int] | None = None

    @property
    def frame_bytes(self) -> int:
        """Size of one frame that is not compressed; of several frames of single bytes, no byte lies between them."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def least(self) -> int:
        """The least value that can be stored."""
        return -(1 << (self.stored - 1)) if self.signed else 0

    @property
    def flaw(self) -> str:
        """What makes it meaningless, in words; empty where nothing does."""
        if not 0 < self.rows * self.columns <= MAXIMUM_FRAME_PIXELS:
            return f"its header states {self.rows} x {self.columns} pixels"
        bits = f"BitsAllocated {self.allocated}, BitsStored {self.stored}, HighBit {self.high_bit}"
        if self.allocated not in _ALLOCATED:
            return f"its pixels are no whole numbers of 8, 16 or 32 bits ({bits})"
        if not 0 < self.stored <= self.high_bit + 1 <= self.allocated:
            return f"what its header says of the bits contradicts itself ({bits})"
        return ""

    def values_of(self, cells: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return the stored values in whole cells, where they are; see `conversion.cells`.

        No decision says where the header was wrong: decisions are made from headers, before any cell is read.

        Parameters
        ----------
        cells
            Integers of any sign, at least `allocated` bits wide or as wide as they were decoded.
        """
        bits = cells.astype(np.int64) & ((1 << self.allocated) - 1)
        return values_in(bits, self.stored, self.high_bit, self.allocated, signed=self.signed)

    def signed_values(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return decoded values, which are the stored ones alone, with the sign that they have."""
        return signed_or_not(values.astype(np.int64), self.stored, signed=self.signed)

    def turn_over(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return values of MONOCHROME1 as MONOCHROME2: by the stored range, so that all images of a series agree."""
        return (-1 if self.signed else (1 << self.stored) - 1) - values

    def is_padding(self, values: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Tell which stored values, before they are turned over, stand for background; None where none can.

        Padding lies beyond the values of an image (PS3.3 C.7.5.1.1.2). Where a header names a value of tissue, only
        what reaches the edge of the image is taken for padding.
        """
        if self.padding is None:
            return None
        lowest, highest = self.padding
        found = np.asarray((values >= lowest) & (values <= highest))
        fewest = AMONG_VALUES * np.count_nonzero(~found)
        among = min(np.count_nonzero(values < lowest), np.count_nonzero(values > highest)) > fewest
        return _reaching_the_edge(found) if among else found


def _reaching_the_edge(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return those of the areas of a mask that touch its edge."""
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8))))
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(found & np.isin(labels, edge))


def is_coloured(told: Attributes) -> bool:
    """Tell whether pixels are colours, also as indices into a palette: a picture and no measurement."""
    photometric = told.text("PhotometricInterpretation").upper()
    return told.integer("SamplesPerPixel") > 1 or photometric not in ("", *_GREY)


def unknown_interpretation(told: Attributes) -> str:
    """Return, quoted, a Photometric Interpretation that is none: whether the lowest value is black is then unknown."""
    photometric = told.text("PhotometricInterpretation").upper()
    known = photometric in ("", *_GREY) or photometric.startswith(_COLOURS) or told.integer("SamplesPerPixel") > 1
    return "" if known else told.quoted("PhotometricInterpretation")


def pixel_format(ds: Dataset) -> PixelFormat:
    """Read what a header says of its stored values; `PixelFormat.flaw` tells whether it makes sense."""
    told = Attributes(ds)
    allocated, stored = told.integer("BitsAllocated"), told.integer("BitsStored")
    high_bit = told.integer("HighBit") if told.quoted("HighBit") else stored - 1
    signed = told.integer("PixelRepresentation") == 1
    found = PixelFormat(
        rows=told.integer("Rows"),
        columns=told.integer("Columns"),
        frames=max(1, told.integer("NumberOfFrames")),
        allocated=allocated,
        stored=stored,
        high_bit=high_bit,
        signed=signed,
        turned_over=told.text("PhotometricInterpretation").upper() == "MONOCHROME1",
    )
    if _holds_one_frame(ds, found):
        found = replace(found, frames=1)
    if found.flaw or not told.quoted("PixelPaddingValue"):
        return found
    ends = [told.integer("PixelPaddingValue")]
    if told.quoted("PixelPaddingRangeLimit"):
        ends.append(told.integer("PixelPaddingRangeLimit"))
    # Its representation may be that of the pixels or not (US for signed pixels); the bits are the same.
    lowest, highest = np.sort([_as_stored(end, found) for end in ends])[[0, -1]]
    return replace(found, padding=(int(lowest), int(highest)))


def _holds_one_frame(ds: Dataset, stated: PixelFormat) -> bool:
    """Tell whether one image's pixels are all there is, whatever NumberOfFrames says: some write that of the series."""
    length = ds.native_bytes if isinstance(ds, SettledDataset) else None
    several = stated.frames > 1 and not items(ds, "PerFrameFunctionalGroupsSequence")
    return several and length is not None and stated.frame_bytes <= length < stated.frame_bytes + 2


def remarks(ds: Dataset) -> Iterator[tuple[str, str]]:
    """Yield what is done about the values of an instance beyond rescaling them: a code, and what in words."""
    stored = pixel_format(ds)
    if stored.turned_over:
        yield _decision("turned_over", "MONOCHROME1, of which the lowest value is white: values are turned over")
    if (stated := Attributes(ds).integer("NumberOfFrames")) > 1 and stored.frames == 1:
        yield _decision("frames", f"NumberOfFrames says {stated}, and the pixels of one image are there")
    if stored.padding is not None and stored.padding not in ((stored.least, stored.least), (0, 0)):
        lowest, highest = stored.padding
        which = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        yield _decision("padding", f"stored values of {which} are padding, by their header, and taken for background")
    groups = (items(ds, f"{which}FunctionalGroupsSequence") for which in ("Shared", "PerFrame"))
    layers = (ds, *(item for group in groups for item in group))
    if any("RealWorldValueMappingSequence" in layer for layer in layers):
        yield _decision("real_world_values", "a real world value mapping is stated and not applied")


def _decision(code: str, reason: str) -> tuple[str, str]:
    return code, reason


def _as_stored(value: int, stored: PixelFormat) -> int:
    span = 1 << stored.stored
    return value - span if stored.signed and value >= span // 2 else value + span if value < stored.least else value
