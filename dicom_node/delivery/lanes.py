"""Lanes of work, one for each name: tasks in a lane run one after the other, different lanes run in parallel."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["Lanes"]


class Lanes:
    """Runs tasks in a thread for each lane, so that no lane waits for a slow one.

    The thread of a lane ends when the lane is empty, so there are never more threads than names with tasks. The threads
    do not delay the end of the process, which interrupts a running task as a kill would.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[Future[None], Callable[[], None]]]] = {}
        self._at_work: set[threading.Thread] = set()
        self.stopping = threading.Event()

    def put(self, name: str, do: Callable[[], None]) -> Future[None]:
        """Add a task to the end of a lane; the future holds what it raises."""
        future: Future[None] = Future()
        with self._lock:
            if name not in self._waiting:
                thread = threading.Thread(target=self._work, args=(name,), name=f"lane-{name}", daemon=True)
                thread.start()  # it takes its first task when the lock is released
                self._at_work.add(thread)
                self._waiting[name] = deque()
            self._waiting[name].append((future, do))
        return future

    def stop(self) -> None:
        """Start no more tasks; cancel those that wait."""
        self.stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until every lane is empty, up to a time limit."""
        ends = time.monotonic() + timeout_s
        with self._lock:
            threads = list(self._at_work)
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _work(self, name: str) -> None:
        while (one := self._next(name)) is not None:
            future, do = one
            if self.stopping.is_set():
                future.cancel()
                future.set_running_or_notify_cancel()  # else whoever waits for it would wait for ever
                continue
            try:
                do()
            except BaseException as error:  # noqa: BLE001 - the caller gets it from the future, whatever it is
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self, name: str) -> tuple[Future[None], Callable[[], None]] | None:
        """Return the next task; if there is none, remove the lane and its thread."""
        with self._lock:
            waiting = self._waiting[name]
            if waiting:
                return waiting.popleft()
            del self._waiting[name]
            self._at_work.discard(threading.current_thread())
            return None
