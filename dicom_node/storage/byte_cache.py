"""What was read last, up to a number of bytes: a count of entries says nothing of what they take."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["ByteCache"]

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """The values that were asked for last, whose sizes together stay below a limit.

    One value is read at a time, so that many who ask for the same share it; the newest is kept whatever its size.

    Parameters
    ----------
    most_bytes
        Of all values together, the newest apart.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.held_bytes = 0

    def get(self, key: Hashable, read: Callable[[], tuple[Value, int]]) -> Value:
        """Return what is kept under a key, else what is read: a value and its size in bytes."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            value, size = read()
            self._kept[key] = (value, size)
            self.held_bytes += size
            while self.held_bytes > self._most_bytes and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self.held_bytes -= gone
            return value
