"""Lanes of work: in order within a lane, at the same time in different ones, and no lane falls by a task."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

import pytest

from dicom_node.delivery.lanes import Lanes

PATIENCE_S = 30.0


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    """Give lanes of which nothing is at work afterwards."""
    opened, before = Lanes(), set(threading.enumerate())
    yield opened
    opened.stop()
    opened.join(PATIENCE_S)
    assert not set(threading.enumerate()) - before


def _end_of(future: Future[None]) -> BaseException | None:
    return future.exception(PATIENCE_S)


def _raising(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


def test_the_tasks_of_a_lane_run_in_the_order_in_which_they_were_put(lanes: Lanes) -> None:
    may_begin, ran = threading.Event(), list[int]()
    first = lanes.put("PACS", lambda: None if may_begin.wait(PATIENCE_S) else pytest.fail("never let go"))
    rest = [lanes.put("PACS", lambda number=number: ran.append(number)) for number in range(20)]  # type: ignore[misc]
    assert (ran, any(future.done() for future in (first, *rest))) == ([], False)
    may_begin.set()
    assert [_end_of(future) for future in (first, *rest)] == [None] * 21
    assert ran == list(range(20))


def test_a_lane_does_not_wait_for_another(lanes: Lanes) -> None:
    met = threading.Barrier(3, timeout=PATIENCE_S)

    def meet() -> None:
        met.wait()

    futures = [lanes.put(name, meet) for name in ("slow", "quick", "third")]
    assert [_end_of(future) for future in futures] == [None] * 3


@pytest.mark.parametrize("error", [ValueError("full"), SystemExit(1), KeyboardInterrupt()])
def test_what_a_task_raises_is_in_its_future_and_the_next_one_runs(lanes: Lanes, error: BaseException) -> None:
    broken, next_one = lanes.put("PACS", _raising(error)), lanes.put("PACS", lambda: None)
    assert _end_of(broken) is error
    assert _end_of(next_one) is None


def test_a_lane_that_was_empty_takes_tasks_again_in_a_thread_that_no_process_waits_for(lanes: Lanes) -> None:
    workers = list[threading.Thread]()
    for _ in range(2):
        future = lanes.put("PACS", lambda: workers.append(threading.current_thread()))
        lanes.join(PATIENCE_S)
        assert future.done()
        assert not workers[-1].is_alive()
    assert workers[0] is not workers[1]
    assert [(worker.name, worker.daemon) for worker in workers] == [("lane-PACS", True)] * 2


def test_stopping_lets_a_task_end_and_cancels_those_behind_it(lanes: Lanes) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def task() -> None:
        begun.set()
        may_end.wait(PATIENCE_S)

    running, behind = lanes.put("PACS", task), lanes.put("PACS", lambda: None)
    assert begun.wait(PATIENCE_S)
    lanes.stop()
    may_end.set()
    lanes.join(PATIENCE_S)
    assert (running.cancelled(), running.result(0), behind.cancelled()) == (False, None, True)
    assert wait([running, behind], PATIENCE_S).not_done == set(), "who waits for a cancelled task waits for ever"
    later = lanes.put("PACS", lambda: None)
    lanes.join(PATIENCE_S)
    assert later.cancelled()


def test_joining_ends_at_its_time_limit_although_several_lanes_are_at_work(lanes: Lanes) -> None:
    may_end = threading.Event()

    def task() -> None:
        may_end.wait(PATIENCE_S)

    futures = [lanes.put(f"{number}", task) for number in range(50)]
    lanes.join(0.02)
    assert not any(future.done() for future in futures)
    may_end.set()
    lanes.join(PATIENCE_S)
    assert all(future.done() for future in futures)
