"""Counts the connections that wait for their association to be accepted, and the associations.

Any machine can open connections, so a connection takes a seat only when its association is accepted. The number of
waiting connections is limited for each address and in all. At the limit, the one that has waited longest is closed. So
silent connections cannot block other senders, whose association requests arrive within milliseconds.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

__all__ = ["Connections"]

ADDRESSES = 8
"""Limit on all waiting connections, as a multiple of the limit for one address; each costs two threads."""


@dataclass(kw_only=True)
class Connections:
    """Counts connections.

    Attributes
    ----------
    waiting_for_each
        Number of connections from one address that may wait for acceptance.
    seats
        Number of simultaneous associations.
    """

    waiting_for_each: int
    seats: int
    _waiting: dict[Hashable, tuple[str, Callable[[], None]]] = field(default_factory=dict)
    _seated: set[Hashable] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, one: Hashable, address: str, hang_up: Callable[[], None]) -> None:
        """Let a connection wait; at the limit, close the one that has waited longest."""
        with self._lock:
            same = [other for other, (whose, _) in self._waiting.items() if whose == address]
            crowded = len(same) >= self.waiting_for_each
            full = len(self._waiting) >= self.waiting_for_each * ADDRESSES
            oldest = same[0] if crowded else next(iter(self._waiting)) if full else None
            evicted = None if oldest is None else self._waiting.pop(oldest)[1]
            self._waiting[one] = (address, hang_up)
        if evicted is not None:
            evicted()

    def sit(self, one: Hashable) -> bool:
        """Give a waiting connection a seat; return False if none is free."""
        with self._lock:
            if len(self._seated) >= self.seats:
                return False
            self._waiting.pop(one, None)
            self._seated.add(one)
            return True

    def leave(self, one: Hashable) -> None:
        """Remove a connection that has ended."""
        with self._lock:
            self._waiting.pop(one, None)
            self._seated.discard(one)
