"""Finds attributes wherever a header may hold them: in one dataset, or in the functional groups of a frame.

A classic instance holds its attributes in one place. An enhanced multi-frame instance spreads them over several layers:
the functional groups of the frame, those shared by all frames, the dataset itself, and with Philips a private copy of
the classic header (PS3.3 C.7.6.16). The first layer that contains an attribute is used. `conversion.values` reads the
values, so no content of a header raises an error.
"""

import math
import struct
from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.tag import BaseTag

from conversion import values
from conversion.study import Vector

__all__ = ["Attributes"]

_PHILIPS_FRAME_HEADER = 0x2005140F
"""Philips' private sequence in the functional groups of each frame: the header that a classic instance would have."""

UNIT_LENGTH_TOLERANCE = 0.1
"""How far the length of a direction may differ from 1: cosines are rounded, but a larger difference is no direction."""


class Attributes:
    """Attributes of one image; empty where the header has no value, or one that does not conform to the standard."""

    def __init__(self, *layers: Dataset) -> None:
        self._layers = layers
        self._holding: dict[int, list[Dataset]] = {}
        self._with_private: dict[int, list[Dataset]] = {}
        if len(layers) > 1:  # a frame has thirty layers with few attributes each: index them once
            self._index()

    def _index(self) -> None:
        """Record which layers contain each attribute, and which contain any attribute of a private group."""
        for layer in self._layers:
            tags = layer.keys()
            for tag in tags:
                self._holding.setdefault(tag, []).append(layer)
            for group in {tag >> 16 for tag in tags if tag & 0x10000}:
                self._with_private.setdefault(group, []).append(layer)

    def _layers_with(self, keyword: str) -> Sequence[Dataset]:
        return self._layers if len(self._layers) == 1 else self._holding.get(values.tag_of(keyword), ())

    @classmethod
    def of_frame(cls, ds: Dataset, frame: int) -> "Attributes":
        """Return the attributes of one frame of an enhanced multi-frame instance, counted from 0."""
        frames = values.items(ds, "PerFrameFunctionalGroupsSequence")
        return cls._of_groups(frames[frame] if frame < len(frames) else Dataset(), _shared(ds), ds)

    @classmethod
    def of_frames(cls, ds: Dataset) -> Iterator["Attributes"]:
        """Return the attributes of each frame of an enhanced multi-frame instance; nothing for a classic one."""
        frames = values.items(ds, "PerFrameFunctionalGroupsSequence")
        shared = _shared(ds) if frames else ()
        return (cls._of_groups(own, shared, ds) for own in frames)

    @classmethod
    def _of_groups(cls, own: Dataset, shared: tuple[Dataset, ...], ds: Dataset) -> "Attributes":
        return cls(*_items(own), *shared, ds, *values.items(own, _PHILIPS_FRAME_HEADER)[:1])

    def _values(self, keyword: str) -> tuple[values.Value, ...]:
        return next((found for layer in self._layers_with(keyword) if (found := values.values(layer, keyword))), ())

    def items(self, keyword: str) -> tuple[Dataset, ...]:
        """Return the items of a sequence."""
        return next(
            (tuple(found) for layer in self._layers_with(keyword) if (found := values.items(layer, keyword))), ()
        )

    def text(self, keyword: str) -> str:
        """Return the value as text; several values stay as they are stored in the file."""
        return next((found for layer in self._layers_with(keyword) if (found := values.text(layer, keyword))), "")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values of an attribute as text."""
        found = self.text(keyword)
        return tuple(found.split("\\")) if found else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values of a numeric attribute; none if one of them is not a number."""
        found = [values.number(value, keyword) for value in self._values(keyword)]
        return tuple(number for number in found if number is not None) if None not in found else ()

    def number(self, keyword: str) -> float | None:
        """Return the value of a numeric attribute that has one value; some writers repeat it, as for several echoes."""
        numbers = self.numbers(keyword)
        return numbers[0] if len(set(numbers)) == 1 else None

    def integer(self, keyword: str) -> int:
        """Return the value of an integer attribute; 0 if there is none that can be read."""
        number = self.number(keyword)
        return int(number) if number is not None and abs(number) < 2**31 else 0

    def vector(self, keyword: str) -> Vector | None:
        """Return three numbers."""
        numbers = self.numbers(keyword)
        return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None

    def directions(self) -> tuple[Vector, Vector] | None:
        """Return the directions of rows and columns; None unless both have a length of 1."""
        cosines = self.numbers("ImageOrientationPatient")
        if len(cosines) != 6:
            return None
        row, column = (cosines[0], cosines[1], cosines[2]), (cosines[3], cosines[4], cosines[5])
        usable = all(abs(math.hypot(*direction) - 1.0) <= UNIT_LENGTH_TOLERANCE for direction in (row, column))
        return (row, column) if usable else None

    def spacing_mm(self) -> tuple[float, float] | None:
        """Return the spacing of rows and columns; a single value is used for both, as in ITK and dcm2niix."""
        spacing = self.numbers("PixelSpacing")
        pair = spacing * 2 if len(spacing) == 1 else spacing
        return (pair[0], pair[1]) if len(pair) == 2 and min(pair) > 0 else None

    def quoted(self, keyword: str) -> str:
        """Return the value of an attribute, quoted for a sentence; empty if absent. Not for patient data."""
        return next((found for layer in self._layers_with(keyword) if (found := values.quoted(layer, keyword))), "")

    def private(self, group: int, creator: str, element: int) -> values.Value | None:
        """Return the first value of a creator's private attribute (PS3.5 7.8.1)."""
        layers = self._layers if len(self._layers) == 1 else self._with_private.get(group, ())
        for layer in layers:
            tag = values.private_tag(layer, group, creator, element)
            found = values.values(layer, tag) if tag is not None else ()
            if found:
                return found[0]
        return None

    def private_float(self, group: int, creator: str, element: int) -> float | None:
        """Return a private value with VR FL or FD, also if an archive converted it to bytes."""
        value = self.private(group, creator, element)
        if isinstance(value, bytes) and len(value) in (4, 8):
            (value,) = struct.unpack("<f" if len(value) == 4 else "<d", value)
        return values.number(value) if value is not None else None

    def private_integer(self, group: int, creator: str, element: int) -> int | None:
        """Return a private value that is an integer."""
        value = self.private(group, creator, element)
        number = values.number(value) if value is not None else None
        return int(number) if number is not None and abs(number) < 2**31 else None


def _shared(ds: Dataset) -> tuple[Dataset, ...]:
    """Return the items of the functional groups that all frames share."""
    return tuple(item for group in values.items(ds, "SharedFunctionalGroupsSequence")[:1] for item in _items(group))


def _items(groups: Dataset) -> Iterator[Dataset]:
    """Yield the item of every functional group; a group with several items in one frame has no single value."""
    for tag in _standard_tags(groups):
        found = values.items(groups, tag)
        if len(found) == 1:
            yield found[0]
            # Gradient directions and inversion times are one level deeper (PS3.3 C.8.13.5.9).
            for deeper in _standard_tags(found[0]):
                inner = values.items(found[0], deeper)
                if len(inner) == 1:
                    yield inner[0]


def _standard_tags(ds: Dataset) -> list[BaseTag]:
    standard = (tag for tag in ds.keys() if not tag & 0x10000)  # noqa: SIM118 - iterating would convert the values
    return sorted(standard, key=int)
