"""What a worker does with uploads while no clinical study waits."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from dicom_node.database.engine import Database
from dicom_node.runs.child_process import StepProcess
from dicom_node.runs.consequences import Consequence
from dicom_node.settings import Settings
from dicom_node.workbench.jobs import (
    claim_job,
    end_job,
    give_back_jobs,
    is_computed,
    put_back_job,
    remove_expired,
    remove_stopped,
)

__all__ = ["Uploads"]

EVERY = timedelta(minutes=10)
"""How often uploads whose time has passed are removed."""

LOOK_S = 0.5
"""How often a worker looks whether the upload that it computes is still wanted."""

_log = structlog.get_logger()


class Uploads:
    """Computes uploads one after the other, in a child process of its own; implements `runs.worker.SpareWork`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._folder = settings.node.folder
        self._database = database
        self._child = StepProcess(settings, "dicom_node.workbench.job_process")
        self._next: datetime | None = None
        self._stopped = False

    def do_next(self, executor: str) -> bool:
        """Compute the upload that waits longest; return whether there was one."""
        job_id = claim_job(self._database, executor)
        if job_id is None:
            return False
        with self._while_wanted(job_id, executor):
            outcome = self._child.perform("upload", job_id)
        if self._stopped:
            put_back_job(self._database, job_id, executor)
        elif outcome.consequence is Consequence.RETRY:
            _log.warning("upload_interrupted", job=job_id, code=outcome.code)
            self.give_back([executor])
        else:
            _log.info("upload_computed", job=job_id, code=outcome.code)
            end_job(self._database, job_id, executor, outcome.reason)
        remove_stopped(self._database, self._folder, [executor])
        return True

    @contextmanager
    def _while_wanted(self, job_id: str, executor: str) -> Iterator[None]:
        """Break off the child as soon as its upload is no longer wanted, or no longer this worker's."""
        over, broken_off = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_S):
                try:
                    wanted = is_computed(self._database, job_id, executor)
                except sa.exc.DBAPIError as error:  # no database: looked at again
                    _log.warning("round_failed", duty="watch_upload", error=type(error).__name__)
                    continue
                if not wanted:
                    broken_off.set()
                    self._child.break_off()

        watcher = threading.Thread(target=watch, name="watch upload", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            if broken_off.is_set():
                self._child.stop()  # or the next upload could be asked of a child that is about to end

    def give_back(self, executors: Collection[str]) -> None:
        """Return the uploads of workers that have ended to the queue, and remove those that are no longer wanted."""
        give_back_jobs(self._database, executors)
        remove_stopped(self._database, self._folder, executors)

    def clean_when_due(self, now: datetime) -> None:
        """Remove uploads whose time has passed."""
        if self._next is None or now >= self._next:
            self._next = now + EVERY
            if count := remove_expired(self._database, self._folder, now):
                _log.info("uploads_removed", count=count)

    def stop(self) -> None:
        """End the child; the upload that it computes is begun again later."""
        self._stopped = True
        self._child.break_off()
        self._child.stop()
