"""Watches the queue for all open pages at once: it is read and drawn once for each change, however many look on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
import structlog
from starlette.concurrency import run_in_threadpool

__all__ = ["QueueFeed"]

_log = structlog.get_logger()


@dataclass(kw_only=True)
class QueueFeed:
    """The queue as it was read last, and who is to be told when it changes.

    Attributes
    ----------
    read
        Returns the queue; equal values look equal on the page. It is called in a thread, while a page is open.
    draw
        Returns the part of the page that shows it, without and with the buttons.
    look_s
        Interval at which the queue is read.
    heartbeat_s
        A page hears something at least this often; whether its session goes on is asked as often.
    """

    read: Callable[[], Any]
    draw: Callable[[Any, bool], str]
    look_s: float = 2.0
    heartbeat_s: float = 15.0
    _open: int = 0
    _number: int = 0
    _state: Any = None
    _drawn: dict[bool, str] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _watch: "asyncio.Task[None] | None" = None

    async def events(self, *, with_buttons: bool, goes_on: Callable[[], bool]) -> AsyncIterator[str]:
        """Send what the page shows, at once and whenever it changes, until its session has ended.

        Parameters
        ----------
        with_buttons
            Whether the reader may do something about the runs.
        goes_on
            Whether the session has not ended. It is called in a thread.
        """
        with self._following():
            seen = 0
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._after(seen), self.heartbeat_s)
                if not await run_in_threadpool(goes_on):
                    break
                if self._number == seen:
                    yield ": no change\n\n"
                    continue
                seen = self._number
                yield _event(await run_in_threadpool(self._page, with_buttons))
            yield "event: ended\ndata: {}\n\n"

    @contextmanager
    def _following(self) -> Iterator[None]:
        """Read the queue as long as somebody looks at it."""
        self._open += 1
        if self._watch is None:
            self._state, self._number = None, 0
            self._watch = asyncio.create_task(self._look())
        try:
            yield
        finally:
            self._open -= 1
            if self._open == 0:
                self._watch.cancel()
                self._watch = None

    async def _after(self, seen: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._number != seen)

    async def _look(self) -> None:
        while True:
            try:
                state = await run_in_threadpool(self.read)
            except (sa.exc.DBAPIError, OSError) as error:  # it is read again
                _log.warning("queue_not_read", error=type(error).__name__)
            else:
                if state != self._state:
                    self._state, self._drawn = state, {}
                    self._number += 1
                    async with self._changed:
                        self._changed.notify_all()
            await asyncio.sleep(self.look_s)

    def _page(self, with_buttons: bool) -> str:  # noqa: FBT001 - the key of what was drawn
        drawn = self._drawn
        if with_buttons not in drawn:
            drawn[with_buttons] = self.draw(self._state, with_buttons)
        return drawn[with_buttons]


def _event(page: str) -> str:
    lines = "".join(f"data: {line}\n" for line in page.splitlines() if line.strip())
    return f"event: queue\n{lines}\n"
