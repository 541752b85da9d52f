"""The loops of a worker: judge studies, read whose they are, start runs, deliver again, take over from dead workers."""

import os
import threading
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

import sqlalchemy as sa
import structlog

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow, utc_now
from dicom_node.database.worker_slots import BEAT_S, SlotLost, WorkerBook, list_workers
from dicom_node.delivery.outbox import Outbox
from dicom_node.retrieval.fetch_requests import fetch_next
from dicom_node.runs.child_process import StepOutcome, StepProcess
from dicom_node.runs.deliver import deliver
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.retention import Retention
from dicom_node.runs.step import Step
from dicom_node.runs.workflow import Workflow
from dicom_node.settings import Settings
from dicom_node.studies.assembly import Assembly
from dicom_node.studies.identities import Identities
from dicom_node.studies.run_queue import (
    claim_next,
    claim_shadow,
    give_back_rounds,
    has_work,
    own_starts,
    put_back,
    requeue,
    take_over,
)

__all__ = ["SpareWork", "Worker"]

_log = structlog.get_logger()

POLL_S = 0.25
"""Interval at which the worker looks for studies that are due: a complete study starts within a second."""

IDENTIFY_S = 0.5
"""Interval at which it reads whose the studies are that have changed: a person sees what is arriving."""

SPARE_S = 1.0
"""Interval at which it looks for spare work, which nobody waits for beside a person at a page."""

DUTY_S = 2.0
"""Interval at which it looks for runs of dead workers, and whether cleaning is due."""

END_S = 20.0
"""Longest wait for its threads when it stops; a fetch or a delivery that takes longer is started again later."""


class SpareWork(Protocol):
    """Work that is done while no clinical study waits."""

    def do_next(self, executor: str) -> bool:
        """Do one piece of work; return whether there was one."""

    def give_back(self, executors: Collection[str]) -> None:
        """Return the work of workers that have ended to the queue."""

    def clean_when_due(self, now: datetime) -> None:
        """Remove what is no longer kept."""

    def stop(self) -> None:
        """Break off."""


class Worker:
    """One worker process, on one GPU or on the CPU.

    Parameters
    ----------
    spare
        What it does beside clinical studies.
    """

    def __init__(self, settings: Settings, database: Database, gpu: str = "", spare: SpareWork | None = None) -> None:
        self._settings = settings
        self._spare = spare
        self._database = database
        self._book = WorkerBook(database, gpu)
        self._child = StepProcess(settings)
        self._lifecycle = Lifecycle(settings, database)
        self._workflow = Workflow(settings, self._lifecycle, self._book.executor, self._perform)
        self._assembly = Assembly(database, settings.node.folder, settings.assembly, settings.node.ae_title)
        self._identities = Identities(database, settings.node.folder)
        self._outbox = Outbox(settings, database, self._book.executor)
        self._retention = Retention(settings, database)
        self._stop = threading.Event()
        self._next_duty = 0.0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        self._stop = stop
        loops = (self._beat, self._judge, self._identify, self._send, self._fetch)
        threads = [threading.Thread(target=loop, name=loop.__name__, daemon=True) for loop in loops]
        for thread in threads:
            thread.start()
        self._workflow.launch()
        self._resume()
        if self._spare is not None:  # not before what this slot left was given back
            threads.append(threading.Thread(target=self._do_spare_work, name="spare", daemon=True))
            threads[-1].start()
        _log.info("working", executor=self._book.executor)
        while not stop.wait(POLL_S):
            self._alone("begin", self._begin)
            if time.monotonic() >= self._next_duty:
                self._do_duties()
                self._next_duty = time.monotonic() + DUTY_S
        self._outbox.stop()
        self._child.stop()
        if self._spare is not None:
            self._spare.stop()
        self._workflow.stop()
        ends = time.monotonic() + END_S
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        self._outbox.join(max(0.0, ends - time.monotonic()))
        self._book.end()

    def _alone(self, duty: str, do: Callable[[], object]) -> None:
        """Do one duty; an error in it ends neither the worker nor its other duties."""
        try:
            do()
        except (sa.exc.DBAPIError, OSError) as error:  # no database or no disk space: tried again in the next round
            _log.warning("round_failed", duty=duty, error=type(error).__name__)
        except Exception:  # noqa: BLE001 - the worker's loop: a defect in one duty must not end the others
            _log.exception("round_defect", duty=duty)
            self._stop.wait(DUTY_S)  # otherwise a lasting defect fills the log

    def _begin(self) -> None:
        if not in_maintenance(self._database):
            self._begin_next()

    def _resume(self) -> None:
        """Resume the runs that this slot had when it stopped, and those left by an earlier version of the workflow."""
        if self._spare is not None:
            self._spare.give_back([self._book.executor])
        alive = {worker.executor for worker in list_workers(self._database) if worker.alive}
        older = self._workflow.left_by_earlier_versions(alive - {self._book.executor})
        with self._database.session() as session:
            give_back_rounds(session, [self._book.executor])
            for run_id in older:
                run = session.get(RunRow, run_id, with_for_update=True)
                if run is not None and run.state in (RunState.QUEUED, RunState.RUNNING):
                    _log.info("begun_anew", run=run_id, step=run.step)
                    requeue(session, run)
        for start in own_starts(self._database, self._book.executor):
            self._workflow.start(start)

    def _begin_next(self) -> None:
        if has_work(self._database, self._book.executor) or not self._workflow.is_idle():
            return
        start = claim_next(self._database, self._book.executor)
        if start is not None:
            self._workflow.start(start)
        elif (run_id := claim_shadow(self._database)) is not None:
            self._workflow.start_shadow(run_id)

    def _do_duties(self) -> None:
        self._alone("close_given_up", self._workflow.close_given_up)
        self._alone("put_back", self._put_back)
        self._alone("take_over", self._take_over)
        self._alone("clean", self._clean)

    def _put_back(self) -> None:
        if self._workflow.is_idle():  # its workflow has given up the runs that the database still assigns to it
            with self._database.session() as session:
                for start in put_back(session, [self._book.executor]):
                    _log.warning("put_back", run=start.run_id, step=start.first)

    def _take_over(self) -> None:
        if not self._book.has_lease("takeover"):
            return
        with self._database.session() as session:
            dead = self._book.dead_executors(session)
            ended = take_over(session, dead)
        for start in ended:
            _log.warning("taken_over", run=start.run_id, step=start.first)
        self._workflow.abandon(ended)
        if self._spare is not None:
            self._spare.give_back(dead)

    def _clean(self) -> None:
        if not self._book.has_lease("takeover"):
            return
        if self._retention.clean_when_due(utc_now()) is not None:
            self._workflow.forget_ended(utc_now())
        if self._spare is not None:
            self._spare.clean_when_due(utc_now())

    def _perform(self, step: str, run_id: str) -> StepOutcome:
        if step != Step.DELIVER:
            return self._child.perform(step, run_id)
        try:
            deliver(run_id, self._outbox, self._lifecycle)
        except Exception as error:  # noqa: BLE001 - the worker's loop: whatever a step raises, the study gets a reason
            _log.exception("step_raised", run=run_id, step=step)
            return StepOutcome.of_error(error)
        return StepOutcome()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self._book.beat()
            except SlotLost:
                _log.critical("slot_lost", executor=self._book.executor)
                os._exit(1)  # another worker has the slot's runs by now; this process is restarted in another slot
            except Exception as error:  # noqa: BLE001 - an unreachable database must not end the heartbeat
                _log.warning("no_heartbeat", error=type(error).__name__)

    def _judge(self) -> None:
        while not self._stop.wait(POLL_S):
            self._alone("judge", self._judge_due)

    def _judge_due(self) -> None:
        for ready in self._assembly.ready_studies(utc_now()):
            _log.info("study_ready", study=ready.study_key, instances=ready.instances, reason=ready.reason)

    def _identify(self) -> None:
        while not self._stop.wait(IDENTIFY_S):
            self._alone("identify", self._identities.read_due)

    def _send(self) -> None:
        while not self._stop.wait(POLL_S):
            self._alone("deliver", lambda: self._outbox.send_due(utc_now()))

    def _fetch(self) -> None:
        while not self._stop.wait(POLL_S):
            self._alone("fetch", lambda: fetch_next(self._settings, self._database, self._book.executor))

    def _do_spare_work(self) -> None:
        while not self._stop.wait(SPARE_S):
            self._alone("spare", self._do_next_spare)

    def _do_next_spare(self) -> None:
        """Begin only while no study waits; one that arrives later goes on beside it, with precedence for the cores."""
        busy = has_work(self._database, self._book.executor) or not self._workflow.is_idle()
        if self._spare is not None and not busy and not in_maintenance(self._database):
            self._spare.do_next(self._book.executor)
