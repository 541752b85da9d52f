"""A cache limited by bytes: a number of entries would not limit its memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Keeps the values requested last, as long as their total size stays below a limit.

    One value is read at a time, so that simultaneous requests for it share it. The newest is kept whatever its size.

    Parameters
    ----------
    most_bytes
        Limit of all values together; the newest alone may exceed it.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.held_bytes = 0

    def get(self, key: Hashable, read: Callable[[], tuple[Value, int]]) -> Value:
        """Return the value kept under a key, or call `read`, which returns a value and its size in bytes."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            value, size = read()
            self._kept[key] = (value, size)
            self.held_bytes += size
            while self.held_bytes > self._most_bytes and len(self._kept) > 1:
                _, (_, removed_bytes) = self._kept.popitem(last=False)
                self.held_bytes -= removed_bytes
            return value
