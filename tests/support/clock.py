"""A clock that only moves when it is told to."""

from datetime import UTC, datetime, timedelta

__all__ = ["SimulatedClock"]


class SimulatedClock:
    """Give its `now` to whatever asks for the time."""

    def __init__(self) -> None:
        self._start = datetime(2026, 1, 5, 8, tzinfo=UTC)
        self._seconds = 0.0

    def now(self) -> datetime:
        """Return the simulated time."""
        return self._start + timedelta(seconds=self._seconds)

    def at(self, seconds: float) -> datetime:
        """Move to a time, in seconds from the start, never backwards; return it."""
        self._seconds = max(self._seconds, seconds)
        return self.now()
