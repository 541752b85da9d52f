"""Looks attributes up where a header may hold them: in one dataset, or in the functional groups of a frame.

An enhanced multi-frame instance spreads what a classic instance holds in one place over functional groups: those of
the frame, those shared by all frames, the dataset itself, and with Philips a private copy of the classic header
(PS3.3 C.7.6.16). The first layer that knows an attribute answers. Values are read by `conversion.values`, so nothing
that stands in a header raises.
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
"""Philips' private sequence in each frame's functional groups: the header that a classic instance would have."""

UNIT_LENGTH_TOLERANCE = 0.1
"""How far a direction's length may be from one: cosines are rounded, but one of another length is no direction."""


class Attributes:
    """Attributes of one image, empty where the header is silent, absent, empty or not what the standard says."""

    def __init__(self, *layers: Dataset) -> None:
        self._layers = layers
        self._holding: dict[int, list[Dataset]] = {}
        self._with_private: dict[int, list[Dataset]] = {}
        if len(layers) > 1:  # a frame has thirty layers, each with few attributes: they are looked through once
            self._look_through()

    def _look_through(self) -> None:
        """Note which layers hold which attribute, and which hold any of a private group."""
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
        """Return what an enhanced multi-frame instance says of one frame, counted from 0."""
        frames = values.items(ds, "PerFrameFunctionalGroupsSequence")
        return cls._of_groups(frames[frame] if frame < len(frames) else Dataset(), _shared(ds), ds)

    @classmethod
    def of_frames(cls, ds: Dataset) -> Iterator["Attributes"]:
        """Return what an enhanced multi-frame instance says of each of its frames; nothing of a classic one."""
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
        """Return the value as text, several as they stand in the file."""
        return next((found for layer in self._layers_with(keyword) if (found := values.text(layer, keyword))), "")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values of an attribute as text."""
        found = self.text(keyword)
        return tuple(found.split("\\")) if found else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values of a numeric attribute; none when one of them is no number."""
        found = [values.number(value, keyword) for value in self._values(keyword)]
        return tuple(number for number in found if number is not None) if None not in found else ()

    def number(self, keyword: str) -> float | None:
        """Return the value of a numeric attribute that has one; some writers repeat it, as for several echoes."""
        numbers = self.numbers(keyword)
        return numbers[0] if len(set(numbers)) == 1 else None

    def integer(self, keyword: str) -> int:
        """Return the value of an attribute that counts or numbers something; 0 where it does not."""
        number = self.number(keyword)
        return int(number) if number is not None and abs(number) < 2**31 else 0

    def vector(self, keyword: str) -> Vector | None:
        """Return three numbers."""
        numbers = self.numbers(keyword)
        return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None

    def directions(self) -> tuple[Vector, Vector] | None:
        """Return the directions of rows and columns; None unless both are directions, which have a length of one."""
        cosines = self.numbers("ImageOrientationPatient")
        if len(cosines) != 6:
            return None
        row, column = (cosines[0], cosines[1], cosines[2]), (cosines[3], cosines[4], cosines[5])
        usable = all(abs(math.hypot(*direction) - 1.0) <= UNIT_LENGTH_TOLERANCE for direction in (row, column))
        return (row, column) if usable else None

    def spacing_mm(self) -> tuple[float, float] | None:
        """Return the distances of rows and columns; a single value stands for both, as ITK and dcm2niix read it."""
        spacing = self.numbers("PixelSpacing")
        pair = spacing * 2 if len(spacing) == 1 else spacing
        return (pair[0], pair[1]) if len(pair) == 2 and min(pair) > 0 else None

    def quoted(self, keyword: str) -> str:
        """Return what stands in an attribute that is not the patient's, for a sentence; empty where nothing does."""
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
        """Return a private value of representation FL or FD, also where an archive made bytes of it."""
        value = self.private(group, creator, element)
        if isinstance(value, bytes) and len(value) in (4, 8):
            (value,) = struct.unpack("<f" if len(value) == 4 else "<d", value)
        return values.number(value) if value is not None else None

    def private_integer(self, group: int, creator: str, element: int) -> int | None:
        """Return a private value that counts or numbers something."""
        value = self.private(group, creator, element)
        number = values.number(value) if value is not None else None
        return int(number) if number is not None and abs(number) < 2**31 else None


def _shared(ds: Dataset) -> tuple[Dataset, ...]:
    """Return the items of what all frames share."""
    return tuple(item for group in values.items(ds, "SharedFunctionalGroupsSequence")[:1] for item in _items(group))


def _items(groups: Dataset) -> Iterator[Dataset]:
    """Return the item of every functional group; a group that is repeated within a frame tells no single value."""
    for tag in _standard_tags(groups):
        found = values.items(groups, tag)
        if len(found) == 1:
            yield found[0]
            # Gradient directions and inversion times lie one level deeper (PS3.3 C.8.13.5.9).
            for deeper in _standard_tags(found[0]):
                inner = values.items(found[0], deeper)
                if len(inner) == 1:
                    yield inner[0]


def _standard_tags(ds: Dataset) -> list[BaseTag]:
    standard = (tag for tag in ds.keys() if not tag & 0x10000)  # noqa: SIM118 - iterating would convert the values
    return sorted(standard, key=int)
