"""The PDU that carries messages, P-DATA-TF (PS3.8 9.3.5), as bytes: no copies, and no objects for each value."""

import struct
from collections.abc import Iterator

__all__ = ["DataPdu", "data_pdu"]

_HEAD, _ITEM = struct.Struct(">BBI"), struct.Struct(">IB")
_TYPE = 0x04
_SHORTEST_ITEM = 2
"""Context ID and message control header (PS3.8 9.3.5.1)."""


class DataPdu:
    """One that has come, in the place of pynetdicom's PDU and of the primitive that is made of it.

    Parameters
    ----------
    content
        What follows type and length.

    Attributes
    ----------
    presentation_data_value_list
        By context ID each value, with its message control header.

    Raises
    ------
    ValueError
        When the lengths do not add up.
    """

    def __init__(self, content: bytes | bytearray) -> None:
        self.presentation_data_value_list = list(_values(content))

    def to_primitive(self) -> "DataPdu":
        """Return what the state machine hands on."""
        return self


def data_pdu(context_id: int, value: bytes) -> bytes:
    """Return one that carries a value, which has to be as short as every peer takes it."""
    item = _ITEM.pack(len(value) + 1, context_id) + value
    return _HEAD.pack(_TYPE, 0, len(item)) + item


def _values(content: bytes | bytearray) -> Iterator[tuple[int, memoryview]]:
    """Yield the values; one is copied where it would keep a PDU in memory that is much larger than itself."""
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
