"""Who is at the door: connections that have not been let in yet, and the seats of those that have.

A connection costs a stranger nothing, so it takes no seat: that it gets when its association is accepted. Those that
wait are limited for each address and in all, and the one that has waited longest makes room, so silent connections
shut nobody out: a sender that says who it is has waited for milliseconds.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

__all__ = ["Connections"]

ADDRESSES = 8
"""In all, as many may wait as this number of addresses may have waiting; each costs two threads."""


@dataclass(kw_only=True)
class Connections:
    """Counts connections.

    Attributes
    ----------
    waiting_for_each
        Connections from one address that may wait to be let in.
    seats
        Associations at once.
    """

    waiting_for_each: int
    seats: int
    _waiting: dict[Hashable, tuple[str, Callable[[], None]]] = field(default_factory=dict)
    _seated: set[Hashable] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self, one: Hashable, address: str, hang_up: Callable[[], None]) -> None:
        """Have a connection wait; whoever has waited too long for that is hung up on."""
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
        """Give a connection a seat, if one is free; it waits no more."""
        with self._lock:
            if len(self._seated) >= self.seats:
                return False
            self._waiting.pop(one, None)
            self._seated.add(one)
            return True

    def leave(self, one: Hashable) -> None:
        """Forget a connection, which has ended."""
        with self._lock:
            self._waiting.pop(one, None)
            self._seated.discard(one)
