"""The P-DATA-TF PDU, which carries messages (PS3.8 9.3.5), as bytes: without copies or an object for each value."""

import struct
from collections.abc import Iterator

__all__ = ["DataPdu", "data_pdu"]

_HEAD, _ITEM = struct.Struct(">BBI"), struct.Struct(">IB")
_TYPE = 0x04
_SHORTEST_ITEM = 2
"""Context ID and message control header (PS3.8 9.3.5.1)."""


class DataPdu:
    """A received PDU; replaces both pynetdicom's PDU and the primitive made from it.

    Parameters
    ----------
    content
        The bytes after type and length.

    Attributes
    ----------
    presentation_data_value_list
        Pairs of context ID and value, which begins with its message control header.

    Raises
    ------
    ValueError
        When the lengths do not add up.
    """

    def __init__(self, content: bytes | bytearray) -> None:
        self.presentation_data_value_list = list(_values(content))

    def to_primitive(self) -> "DataPdu":
        """Return the primitive, for the state machine."""
        return self


def data_pdu(context_id: int, value: bytes) -> bytes:
    """Return a PDU with one value, which must be short enough for every peer."""
    item = _ITEM.pack(len(value) + 1, context_id) + value
    return _HEAD.pack(_TYPE, 0, len(item)) + item


def _values(content: bytes | bytearray) -> Iterator[tuple[int, memoryview]]:
    """Yield the values; copy a value that would otherwise keep a much larger PDU in memory."""
    offset, size, view = 0, len(content), memoryview(content)
    while offset < size:
        length, context_id = _ITEM.unpack_from(content, offset) if offset + _ITEM.size <= size else (0, 0)
        end = offset + 4 + length
        if length < _SHORTEST_ITEM or end > size:
            message = "the lengths in a P-DATA-TF PDU do not add up"
            raise ValueError(message)
        value = view[offset + _ITEM.size : end]
        yield context_id, value if 2 * len(value) >= size else memoryview(bytes(value))
        offset = end
