"""Durable execution: each start of a run is a DBOS workflow; a killed worker resumes at the interrupted step.

Only this file uses DBOS, and only its open core: no telemetry, no remote control. `dicom_node.studies.run_queue`
decides which run is next, and what happens to the runs of a host that never returns.
"""

import threading
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, StepOptions

from dicom_node.database.engine import make_engine
from dicom_node.database.states import RunState
from dicom_node.runs.child_process import StepOutcome
from dicom_node.runs.consequences import OUTAGES, Consequence, reason_of
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.studies.run_queue import Start

__all__ = ["Workflow"]

_log = structlog.get_logger()

WORKFLOW_VERSION = "2"
"""Increased when the order of steps changes. Otherwise DBOS would hash the source, and any edit would strand pending
runs. A run that an earlier version left is started again at the step that it was in."""

STEP_ATTEMPTS = 4
FIRST_RETRY_S = 1.0
LONGEST_WAIT_S = 30.0
"""Longest pause between two checks whether there is disk space again, or a database."""

RECOVERY_ATTEMPTS = 20
"""A run during which its worker was killed this often is given up instead of being restarted for ever.

A bad study can only kill the child process; fewer kills of the worker are more likely the fault of the machine.
"""

SHADOW_ATTEMPTS = 1
"""A shadow model that kills its worker is tried once more and then given up, because it holds up production."""

ENDED_KEPT = timedelta(days=7)
"""How long DBOS keeps ended workflows, to find faults; the history of a study is in the node's own database."""

FORGOTTEN_AT_ONCE = 1000
"""Workflows deleted by each hourly cleaning, in one short transaction: more than seven workers finish in an hour at
27 s per study."""

_SHADOW = "-shadow"
_DONE = "done"
_CLOSED = "closed"
_GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_OPEN = ["PENDING", "ENQUEUED"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED"]

Perform = Callable[[str, str], StepOutcome]
"""Performs the named step of a run."""

_stopping = threading.Event()
_lifecycle: list[Lifecycle] = []
_perform_step: list[Perform] = []
"""Those of this process. DBOS finds workflows by module-level name, so they cannot be closed over."""


class StepFailed(Exception):  # noqa: N818 - named for what happened
    """A step failed with a temporary fault; DBOS tries it again."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Workflow:
    """Durable execution for one worker.

    Parameters
    ----------
    executor
        The worker's slot, stable over restarts: DBOS finds unfinished workflows by it.
    perform
        Performs a step, in this process or in another.
    """

    def __init__(self, settings: Settings, lifecycle: Lifecycle, executor: str, perform: Perform) -> None:
        url = settings.database_url
        if url.startswith("sqlite"):
            # A file of its own, so that records of steps and of received instances do not wait for each other.
            url = f"sqlite:///{settings.node.folder.absolute() / 'workflow.sqlite'}"
        self._config = DBOSConfig(
            name="glionode",
            system_database_url=url,
            system_database_engine=make_engine(url, lock_at_begin=False),
            executor_id=executor,
            application_version=WORKFLOW_VERSION,
            serializer=DBOSPortableJSONSerializer(),
            enable_otlp=False,
            log_level="CRITICAL",
        )
        _lifecycle[:], _perform_step[:] = [lifecycle], [perform]

    def launch(self) -> None:
        """Open the database and resume what an earlier process in this slot left unfinished."""
        _stopping.clear()
        DBOS(config=self._config)
        DBOS.launch()

    def start(self, start: Start) -> None:
        """Begin a run in the background; the same start twice is one workflow."""
        with SetWorkflowID(start.workflow_id):
            DBOS.start_workflow(process_study, start.run_id, start.attempt, start.first or Step.SELECT.value)

    def start_shadow(self, run_id: str) -> None:
        """Run the shadow model on a run, in the background."""
        with SetWorkflowID(run_id + _SHADOW):
            DBOS.start_workflow(shadow_study, run_id)

    def is_idle(self) -> bool:
        """Return whether no workflow of this worker is open."""
        mine = DBOS.list_workflows(
            status=_OPEN, executor_id=self._config["executor_id"], load_input=False, load_output=False, limit=1
        )
        return not mine

    def abandon(self, starts: Iterable[Start]) -> None:
        """Cancel the workflows of ended starts, so that a worker that returns does not continue them."""
        for start in starts:
            DBOS.cancel_workflow(start.workflow_id)

    def left_by_earlier_versions(self, alive: Collection[str]) -> list[str]:
        """Cancel the open workflows of earlier versions, and return the ids of their runs.

        Parameters
        ----------
        alive
            Other live workers; they keep their workflows, whatever the version.
        """
        found = DBOS.list_workflows(status=_OPEN, load_input=False, load_output=False)
        older = [
            each.workflow_id for each in found if each.app_version != WORKFLOW_VERSION and each.executor_id not in alive
        ]
        for one in older:
            DBOS.cancel_workflow(one)
        return [one for one in older if not one.endswith(_SHADOW)]

    def close_given_up(self) -> None:
        """Fail, with a reason, every run that was interrupted too often to be tried again."""
        for status in DBOS.list_workflows(status=_GIVEN_UP, load_input=True, load_output=False):
            if status.workflow_id.endswith(_SHADOW):
                _lifecycle[0].end_shadow(
                    status.workflow_id.removesuffix(_SHADOW), "worker_killed", "its worker was killed"
                )
                continue
            run_id, attempt = _named(status.workflow_id)
            if _lifecycle[0].is_open(run_id, attempt):
                reason = f"the worker was killed {RECOVERY_ATTEMPTS} times in this run; check memory and the node's log"
                _lifecycle[0].finish(run_id, RunState.FAILED, "worker_killed", reason)
                _log.error("given_up", run=run_id)

    def forget_ended(self, now: datetime) -> int:
        """Delete workflows that ended long ago; return their number."""
        before = (now - ENDED_KEPT).isoformat()
        found = DBOS.list_workflows(
            status=_ENDED, completed_before=before, load_input=False, load_output=False, limit=FORGOTTEN_AT_ONCE
        )
        ended = [one.workflow_id for one in found]
        if ended:
            DBOS.delete_workflows(ended)
            _log.info("workflows_forgotten", workflows=len(ended))
        return len(ended)

    def stop(self) -> None:
        """Stop working; a step in flight is repeated at the next start."""
        _stopping.set()
        DBOS.destroy()


def _named(workflow: str) -> tuple[str, int]:
    run_id, _, attempt = workflow.partition(".")
    return run_id, int(attempt or 0)


@DBOS.workflow(name="process_study", max_recovery_attempts=RECOVERY_ATTEMPTS)
def process_study(run_id: str, attempt: int = 0, first: str = Step.SELECT.value) -> str:
    """Perform the steps of one run, from the first that is left."""
    steps, outcome = [step.value for step in list(Step)[Step(first).place :]], _DONE
    for step in steps:
        outcome = _perform(step, run_id, attempt)
        if outcome != _DONE:
            break
    _lifecycle[0].trace(run_id, attempt, steps)
    if outcome != _DONE:
        return outcome
    DBOS.run_step(StepOptions(name="shadow_due"), _note_shadow, run_id)
    return _DONE


@DBOS.workflow(name="shadow_study", max_recovery_attempts=SHADOW_ATTEMPTS)
def shadow_study(run_id: str) -> str:
    """Run the shadow model on a run that production has finished; whatever happens, the results stay as they are."""
    return DBOS.run_step(StepOptions(name="shadow"), _run_shadow, run_id)


def _perform(name: str, run_id: str, attempt: int) -> str:
    options = StepOptions(name=name, retries_allowed=True, max_attempts=STEP_ATTEMPTS, interval_seconds=FIRST_RETRY_S)
    try:
        return DBOS.run_step(options, _run_step, name, run_id, attempt)
    except Exception as error:  # noqa: BLE001 - the worker's loop: whatever a step raises, the study gets a reason
        attempts: list[Exception] = getattr(error, "errors", [error])  # DBOS lists what every attempt raised
        last = attempts[-1]
        code, reason = (last.code, last.reason) if isinstance(last, StepFailed) else reason_of(last)
        return DBOS.run_step(StepOptions(name=f"{name}_failed"), _give_up, run_id, attempt, code, reason)


def _run_step(name: str, run_id: str, attempt: int = 0) -> str:
    """Perform a step; retry while the disk is full or the database cannot be reached: that is no study's fault."""
    pause_s = FIRST_RETRY_S
    while True:
        try:
            return _try_step(name, run_id, attempt)
        except (StepFailed, sa.exc.OperationalError) as error:
            code = error.code if isinstance(error, StepFailed) else reason_of(error)[0]
            if code not in OUTAGES or _stopping.wait(pause_s):
                raise
            _log.warning("step_waits", run=run_id, step=name, code=code)
            pause_s = min(2 * pause_s, LONGEST_WAIT_S)


def _try_step(name: str, run_id: str, attempt: int) -> str:
    lifecycle = _lifecycle[0]
    if not lifecycle.is_open(run_id, attempt):
        return _CLOSED  # killed between closing the run and noting the step, cancelled, or started again elsewhere
    lifecycle.begin(run_id, name)
    outcome = _perform_step[0](name, run_id)
    if outcome.consequence is Consequence.RETRY:
        _log.warning("step_failed", run=run_id, step=name, code=outcome.code)
        raise StepFailed(outcome.code, outcome.reason)
    if outcome.consequence is not None:
        _log.warning("step_failed", run=run_id, step=name, code=outcome.code)
        state = RunState.REJECTED if outcome.consequence is Consequence.REJECT else RunState.FAILED
        if lifecycle.is_open(run_id, attempt):
            lifecycle.finish(run_id, state, outcome.code, outcome.reason)
        return _CLOSED
    _log.info("step_done", run=run_id, step=name)
    return _DONE


def _give_up(run_id: str, attempt: int, code: str, reason: str) -> str:
    if _lifecycle[0].is_open(run_id, attempt):
        _lifecycle[0].finish(run_id, RunState.FAILED, code, f"{reason} (given up after {STEP_ATTEMPTS} attempts)")
    return _CLOSED


def _note_shadow(run_id: str) -> str:
    _lifecycle[0].note_shadow(run_id)
    return _DONE


def _run_shadow(run_id: str) -> str:
    outcome = _perform_step[0]("shadow", run_id)
    _lifecycle[0].end_shadow(run_id, outcome.code, outcome.reason)
    if outcome.code:
        _log.warning("shadow_failed", run=run_id, code=outcome.code)
        return _CLOSED
    _log.info("shadow_done", run=run_id)
    return _DONE
