"""Sends the progress of an upload as server-sent events: at once, and again whenever it changes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from dicom_node.database.states import JobState
from dicom_node.web.job_model import JobModel

__all__ = ["ENDED", "EventStreams"]

ENDED = (JobState.DONE, JobState.FAILED)

_FULL = "As many streams of events are open as may be; load the page or ask for the state again instead."

Ask = Callable[[], JobModel | None]


@dataclass(kw_only=True)
class EventStreams:
    """The streams that are open.

    Attributes
    ----------
    most
        How many may be open: each has a connection of the port, and asks the database.
    look_s
        Interval at which each asks for its upload.
    heartbeat_s
        A client hears something at least this often, so that it knows of a connection that broke.
    """

    most: int = 50
    look_s: float = 1.0
    heartbeat_s: float = 15.0
    _open: int = 0

    def answer(self, ask: Ask) -> Response:
        """Return the answer with all that happens to an upload until its end.

        Parameters
        ----------
        ask
            Returns the upload as it is, and None once it was removed. It is called in a thread.
        """
        return self.stream(self._events(ask))

    def stream(self, events: AsyncIterator[str]) -> Response:
        """Return the answer that sends events, or says that as many streams are open as may be."""
        return _Stream(self, events)

    def enter(self) -> bool:
        """Count one more, unless as many are open as may be."""
        if self._open >= self.most:
            return False
        self._open += 1
        return True

    def leave(self) -> None:
        """Count one less."""
        self._open -= 1

    async def _events(self, ask: Ask) -> AsyncIterator[str]:
        said, quiet_s = "", 0.0
        while (job := await run_in_threadpool(ask)) is not None:
            text = job.model_dump_json()
            if text != said:
                yield f"data: {text}\n\n"
                said, quiet_s = text, 0.0
            elif quiet_s >= self.heartbeat_s:
                yield ": no change\n\n"
                quiet_s = 0.0
            if job.state in ENDED:
                return
            await asyncio.sleep(self.look_s)
            quiet_s += self.look_s
        yield "event: removed\ndata: {}\n\n"


class _Stream(StreamingResponse):
    """One stream; it is counted from its first byte until its client goes away or it ends, however that happens."""

    def __init__(self, streams: EventStreams, events: AsyncIterator[str]) -> None:
        headers = {"X-Accel-Buffering": "no"}  # or nginx before the node would hold it back
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, or the answer that there are too many streams."""
        if not self._streams.enter():
            await JSONResponse({"detail": _FULL}, 503, {"Retry-After": "60"})(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.leave()
