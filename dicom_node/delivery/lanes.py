"""Lanes of work, one for each name: in a lane one thing after the other, the lanes beside each other."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

__all__ = ["Lanes"]


class Lanes:
    """Threads that do what is put into their lanes: no lane waits for another one that is slow.

    A lane's thread ends with its work, so there are never more threads than names with work. They do not hold up the
    end of the process: what takes too long is cut off there, as by a kill.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[Future[None], Callable[[], None]]]] = {}
        self._at_work: set[threading.Thread] = set()
        self.stopping = threading.Event()

    def put(self, name: str, do: Callable[[], None]) -> Future[None]:
        """Have something done behind what waits in a lane; what it raises is kept in the future."""
        future: Future[None] = Future()
        with self._lock:
            if name not in self._waiting:
                thread = threading.Thread(target=self._work, args=(name,), name=f"lane-{name}", daemon=True)
                thread.start()  # it looks for its work when the lock is free
                self._at_work.add(thread)
                self._waiting[name] = deque()
            self._waiting[name].append((future, do))
        return future

    def stop(self) -> None:
        """Begin nothing any more; what waits is called off."""
        self.stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until every lane is empty, at most for some time."""
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
                continue
            try:
                do()
            except BaseException as error:  # noqa: BLE001 - whoever put it in is told, whatever it was
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self, name: str) -> tuple[Future[None], Callable[[], None]] | None:
        """Return what comes next; at the end of the lane, the lane is gone with its thread."""
        with self._lock:
            waiting = self._waiting[name]
            if waiting:
                return waiting.popleft()
            del self._waiting[name]
            self._at_work.discard(threading.current_thread())
            return None
