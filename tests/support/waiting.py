"""Waits with deadlines that only a failure reaches, also on a machine that is busy."""

import time
from collections.abc import Callable

__all__ = ["ANSWER_S", "wait_until"]

ANSWER_S = 60.0
"""For an HTTP answer; httpx would give up after 5 s."""
DEADLINE_S = 60.0
POLL_S = 0.01


def wait_until(holds: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline, f"waited for {deadline_s:g} s in vain"
        time.sleep(POLL_S)
