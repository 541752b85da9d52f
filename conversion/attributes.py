"""Looks attributes up where a header may hold them: in one dataset, or in the functional groups of a frame.

An enhanced multi-frame instance spreads what a classic instance holds in one place over functional groups: those of
the frame, those shared by all frames, the dataset itself, and with Philips a private copy of the classic header
(PS3.3 C.7.6.16). The first layer that knows an attribute answers.
"""

import struct
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.values import convert_SQ

__all__ = ["Attributes"]

_PHILIPS_FRAME_HEADER = 0x2005140F
"""Philips' private sequence in each frame's functional groups: the header that a classic instance would have."""


class Attributes:
    """Attributes of one image, empty where the header is silent, absent, empty or not what the standard says."""

    def __init__(self, *layers: Dataset) -> None:
        self._layers = layers

    @classmethod
    def of_frame(cls, ds: Dataset, frame: int) -> "Attributes":
        """Return what an enhanced multi-frame instance says of one frame, counted from 0."""
        own = ds.PerFrameFunctionalGroupsSequence[frame]
        shared = ds.get("SharedFunctionalGroupsSequence") or []
        layers = (*_items(own), *(item for group in shared[:1] for item in _items(group)), ds)
        return cls(*layers, *_philips_header(own))

    def value(self, keyword: str) -> object:
        """Return the first value that is not empty, else None."""
        for layer in self._layers:
            value: object = layer.get(keyword)
            empty = (
                value is None or value == "" or (isinstance(value, (MultiValue, Sequence, list)) and len(value) == 0)
            )
            if not empty:
                return value
        return None

    def text(self, keyword: str) -> str:
        """Return the value as text."""
        value = self.value(keyword)
        return "" if value is None else str(value).strip()

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values of an attribute as text."""
        value = self.value(keyword)
        if value is None:
            return ()
        return tuple(str(item) for item in value) if isinstance(value, (MultiValue, list)) else (str(value),)

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values of a numeric attribute; none when one of them is no number."""
        value = self.value(keyword)
        try:
            return tuple(float(str(item)) for item in (value if isinstance(value, (MultiValue, list)) else (value,)))
        except ValueError:
            return ()

    def number(self, keyword: str) -> float | None:
        """Return the value of a numeric attribute that has exactly one."""
        numbers = self.numbers(keyword)
        return numbers[0] if len(numbers) == 1 else None

    def integer(self, keyword: str) -> int:
        """Return the value of an attribute that counts or numbers something; 0 where it does not."""
        number = self.number(keyword)
        return int(number) if number is not None and abs(number) < 2**31 else 0

    def vector(self, keyword: str) -> tuple[float, float, float] | None:
        """Return three numbers."""
        numbers = self.numbers(keyword)
        return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None

    def private(self, group: int, creator: str, element: int) -> object:
        """Return a private value of a creator's block; of the first block where no creator is named (PS3.5 7.8.1)."""
        for layer in self._layers:
            try:
                return layer.private_block(group, creator)[element].value
            except KeyError:
                tag = (group, 0x1000 + element)
                if tag in layer and (group, 0x0010) not in layer:
                    return layer[tag].value
        return None

    def private_float(self, group: int, creator: str, element: int) -> float | None:
        """Return a private value of representation FL or FD, also where an archive made bytes of it."""
        value = self.private(group, creator, element)
        if isinstance(value, bytes) and len(value) in (4, 8):
            (value,) = struct.unpack("<f" if len(value) == 4 else "<d", value)
        return float(value) if isinstance(value, (int, float)) else None


def _philips_header(groups: Dataset) -> list[Dataset]:
    """Return Philips' copy of the classic header, also from bytes, which are in implicit VR then (PS3.5 6.2.2)."""
    element = groups.get(_PHILIPS_FRAME_HEADER)
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        try:
            value = convert_SQ(value, is_implicit_VR=True, is_little_endian=True)
        except Exception:  # noqa: BLE001 - what no sequence can be made of tells nothing
            return []
    return list(value)[:1] if isinstance(value, Sequence) else []


def _items(groups: Dataset) -> Iterator[Dataset]:
    """Return the item of every functional group; a group that is repeated within a frame tells no single value."""
    for element in groups:
        if element.VR == "SQ" and not element.tag.is_private and len(element.value) == 1:
            yield element.value[0]
            # Gradient directions and inversion times lie one level deeper (PS3.3 C.8.13.5.9).
            yield from (inner.value[0] for inner in element.value[0] if inner.VR == "SQ" and len(inner.value) == 1)
