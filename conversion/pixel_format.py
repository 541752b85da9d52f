"""Reads the format of stored values from the header: bits, sign, padding (background), inverted greyscale.

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
"""Of one image: 4096 x 4096. The largest matrix of clinical MR is 1024 x 1024, and 2048 x 2048 after interpolation."""

_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("PALETTE COLOR", "RGB", "HSV", "ARGB", "CMYK", "YBR_")
"""How Photometric Interpretations of colour images begin (PS3.3 C.7.6.3.1.2)."""
_ALLOCATED = (8, 16, 32)

AMONG_VALUES = 0.05
"""A padding value lies among tissue values if more than this share of the other pixels is on each side of it; fewer
are outliers."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The layout and the meaning of an instance's stored values.

    Attributes
    ----------
    allocated, stored, high_bit
        Bits of a cell, how many of them hold the value, and the position of its highest bit, counted from 0.
    turned_over
        Whether the lowest value is displayed as white (MONOCHROME1).
    padding
        Lowest and highest stored value that mean background; None if there is no padding.
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
        """Size of one uncompressed frame; frames of 8-bit pixels follow each other without a pad byte."""
        return self.rows * self.columns * self.allocated // 8

    @property
    def least(self) -> int:
        """The smallest value that can be stored."""
        return -(1 << (self.stored - 1)) if self.signed else 0

    @property
    def flaw(self) -> str:
        """What makes the format invalid, in words; empty if it is valid."""
        if not 0 < self.rows * self.columns <= MAXIMUM_FRAME_PIXELS:
            return f"its header states {self.rows} x {self.columns} pixels"
        bits = f"BitsAllocated {self.allocated}, BitsStored {self.stored}, HighBit {self.high_bit}"
        if self.allocated not in _ALLOCATED:
            return f"its pixels are not integers of 8, 16 or 32 bits ({bits})"
        if not 0 < self.stored <= self.high_bit + 1 <= self.allocated:
            return f"its header contradicts itself about the bits ({bits})"
        return ""

    def values_of(self, cells: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return the stored values that complete cells hold; see `conversion.cells`.

        If the header was wrong, no decision records it: decisions are made from headers, before any cell is read.

        Parameters
        ----------
        cells
            Integers, signed or not, at least `allocated` bits wide or as wide as the decoder returned them.
        """
        bits = cells.astype(np.int64) & ((1 << self.allocated) - 1)
        return values_in(bits, self.stored, self.high_bit, self.allocated, signed=self.signed)

    def signed_values(self, values: NDArray[np.generic]) -> NDArray[np.int64]:
        """Return decoded values, which contain no other bits than the stored ones, with their true sign."""
        return signed_or_not(values.astype(np.int64), self.stored, signed=self.signed)

    def turn_over(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return values of MONOCHROME1 as MONOCHROME2, inverted over the stored range for consistent series."""
        return (-1 if self.signed else (1 << self.stored) - 1) - values

    def is_padding(self, values: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return which stored values, before inversion, are background; None if there is no padding.

        Padding lies outside the range of an image's values (PS3.3 C.7.5.1.1.2). If the header states a value that
        occurs in tissue, only areas that touch the edge of the image are taken for padding.
        """
        if self.padding is None:
            return None
        lowest, highest = self.padding
        found = np.asarray((values >= lowest) & (values <= highest))
        fewest = AMONG_VALUES * np.count_nonzero(~found)
        among = min(np.count_nonzero(values < lowest), np.count_nonzero(values > highest)) > fewest
        return _reaching_the_edge(found) if among else found


def _reaching_the_edge(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the areas of a mask that touch its edge."""
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(found.astype(np.uint8))))
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.asarray(found & np.isin(labels, edge))


def is_coloured(attributes: Attributes) -> bool:
    """Return whether pixels are colours, also as indices into a palette: they measure nothing."""
    photometric = attributes.text("PhotometricInterpretation").upper()
    return attributes.integer("SamplesPerPixel") > 1 or photometric not in ("", *_GREY)


def unknown_interpretation(attributes: Attributes) -> str:
    """Return an invalid Photometric Interpretation, quoted: it is then unknown whether the lowest value is black."""
    photometric = attributes.text("PhotometricInterpretation").upper()
    known = photometric in ("", *_GREY) or photometric.startswith(_COLOURS) or attributes.integer("SamplesPerPixel") > 1
    return "" if known else attributes.quoted("PhotometricInterpretation")


def pixel_format(ds: Dataset) -> PixelFormat:
    """Read the format of stored values from a header; `PixelFormat.flaw` states whether it is valid."""
    attributes = Attributes(ds)
    allocated, stored = attributes.integer("BitsAllocated"), attributes.integer("BitsStored")
    high_bit = attributes.integer("HighBit") if attributes.quoted("HighBit") else stored - 1
    signed = attributes.integer("PixelRepresentation") == 1
    found = PixelFormat(
        rows=attributes.integer("Rows"),
        columns=attributes.integer("Columns"),
        frames=max(1, attributes.integer("NumberOfFrames")),
        allocated=allocated,
        stored=stored,
        high_bit=high_bit,
        signed=signed,
        turned_over=attributes.text("PhotometricInterpretation").upper() == "MONOCHROME1",
    )
    if _holds_one_frame(ds, found):
        found = replace(found, frames=1)
    if found.flaw or not attributes.quoted("PixelPaddingValue"):
        return found
    ends = [attributes.integer("PixelPaddingValue")]
    if attributes.quoted("PixelPaddingRangeLimit"):
        ends.append(attributes.integer("PixelPaddingRangeLimit"))
    # Its VR may differ from the sign of the pixels (US for signed pixels); the bits are the same.
    lowest, highest = np.sort([_as_stored(end, found) for end in ends])[[0, -1]]
    return replace(found, padding=(int(lowest), int(highest)))


def _holds_one_frame(ds: Dataset, stated: PixelFormat) -> bool:
    """Return whether the file has the pixels of one image only: some writers count the whole series as frames."""
    length = ds.native_bytes if isinstance(ds, SettledDataset) else None
    several = stated.frames > 1 and not items(ds, "PerFrameFunctionalGroupsSequence")
    return several and length is not None and stated.frame_bytes <= length < stated.frame_bytes + 2


def remarks(ds: Dataset) -> Iterator[tuple[str, str]]:
    """Yield special treatments of an instance's values beyond rescaling: a code, and a description."""
    stored = pixel_format(ds)
    if stored.turned_over:
        yield _decision("turned_over", "MONOCHROME1, in which the lowest value is white: values are inverted")
    if (stated := Attributes(ds).integer("NumberOfFrames")) > 1 and stored.frames == 1:
        yield _decision("frames", f"NumberOfFrames is {stated}, but only the pixels of one image are present")
    if stored.padding is not None and stored.padding not in ((stored.least, stored.least), (0, 0)):
        lowest, highest = stored.padding
        which = f"{lowest}" if lowest == highest else f"{lowest} to {highest}"
        yield _decision(
            "padding", f"stored values of {which} are padding according to the header and treated as background"
        )
    groups = (items(ds, f"{which}FunctionalGroupsSequence") for which in ("Shared", "PerFrame"))
    layers = (ds, *(item for group in groups for item in group))
    if any("RealWorldValueMappingSequence" in layer for layer in layers):
        yield _decision("real_world_values", "the header contains a real world value mapping, which is not applied")


def _decision(code: str, reason: str) -> tuple[str, str]:
    return code, reason


def _as_stored(value: int, stored: PixelFormat) -> int:
    if stored.signed and value >= 1 << (stored.allocated - 1):
        value -= 1 << stored.allocated  # a sign-extended value, read as US: implicit VR does not tell US from SS
    span = 1 << stored.stored
    return value - span if stored.signed and value >= span // 2 else value + span if value < stored.least else value
