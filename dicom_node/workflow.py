"""Durable work: each run is a DBOS workflow of six steps, and a killed node resumes at the step that was cut off.

DBOS stays in this file. Its open core alone is used: no telemetry, no remote control.
"""

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID, StepOptions

from dicom_node.database import RunState, make_engine
from dicom_node.failures import Consequence, consequence_of, reason_of
from dicom_node.settings import Settings
from dicom_node.steps import STEPS, Steps

__all__ = ["Workflow"]

_log = structlog.get_logger()

WORKFLOW_VERSION = "1"
"""Raised when the order of steps changes. DBOS would else hash the source, and any edit would strand pending work."""

QUEUE_POLL_S = 0.5
STEP_ATTEMPTS = 4
FIRST_RETRY_S = 1.0
RECOVERY_ATTEMPTS = 5
"""A run that kills its worker this often is left aside instead of killing it for ever."""

DELIVERY_ROUNDS_S = (5.0, 15.0)
"""Pauses between rounds of delivery while a destination does not accept everything."""

SHADOW_PRIORITY = 10
"""Behind every study that waits for production, whose priority is DBOS's highest."""

SHADOW_ATTEMPTS = 1
"""A shadow that kills its worker is tried once more and then left aside: production is held up by it."""

_SHADOW = "-shadow"
_DONE = "done"
_CLOSED = "closed"
_QUEUE = "studies"
_GIVEN_UP = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"

_steps: list[Steps] = []
"""The step bodies of this process; DBOS finds workflows by module-level name, so they cannot be closed over."""


class Workflow:
    """The worker's side of the queue."""

    def __init__(self, settings: Settings, steps: Steps) -> None:
        url = settings.database_url
        if url.startswith("sqlite"):
            # A file of its own, so that bookkeeping of steps and of arrivals do not wait for each other.
            url = f"sqlite:///{settings.node.folder.absolute() / 'workflow.sqlite'}"
        self._config = DBOSConfig(
            name="glionode",
            system_database_url=url,
            system_database_engine=make_engine(url, lock_at_begin=False),
            executor_id=f"{settings.node.ae_title}-worker-0",
            application_version=WORKFLOW_VERSION,
            serializer=DBOSPortableJSONSerializer(),
            enable_otlp=False,
            log_level="CRITICAL",
        )
        _steps[:] = [steps]

    def launch(self) -> None:
        """Start working, beginning with what an earlier process left unfinished."""
        DBOS(config=self._config)
        DBOS.launch()
        DBOS.register_queue(_QUEUE, worker_concurrency=1, polling_interval_sec=QUEUE_POLL_S)

    def enqueue(self, run_id: str) -> None:
        """Queue a run; the same id twice is one run."""
        with SetWorkflowID(run_id):
            DBOS.enqueue_workflow(_QUEUE, process_study, run_id)

    def close_given_up(self) -> None:
        """Give a reason to every run that was cut off too often to be tried again."""
        for status in DBOS.list_workflows(status=_GIVEN_UP, load_input=False, load_output=False):
            if status.workflow_id.endswith(_SHADOW):
                _steps[0].end_shadow(status.workflow_id.removesuffix(_SHADOW), "worker_killed", "its worker was killed")
            if _steps[0].is_open(status.workflow_id):
                reason = (
                    f"its worker was killed {RECOVERY_ATTEMPTS} times while at it; look at memory and the node's log"
                )
                _steps[0].finish(status.workflow_id, RunState.FAILED, "worker_killed", reason)
                _log.error("given_up", run=status.workflow_id)

    def stop(self) -> None:
        """Stop working; a step in flight is repeated at the next start."""
        DBOS.destroy()


@DBOS.workflow(name="process_study", max_recovery_attempts=RECOVERY_ATTEMPTS)
def process_study(run_id: str) -> str:
    """Take one run through its steps."""
    for name in STEPS:
        outcome = _perform(name, run_id)
        if outcome != _DONE:
            return outcome
    for pause_s in DELIVERY_ROUNDS_S:
        if DBOS.run_step(StepOptions(name="delivered"), _is_delivered, run_id):
            break
        DBOS.sleep(pause_s)
        _perform("deliver", run_id)
    if DBOS.run_step(StepOptions(name="shadow_wanted"), _shadow_wanted, run_id):
        with SetWorkflowID(run_id + _SHADOW), SetEnqueueOptions(priority=SHADOW_PRIORITY):
            DBOS.enqueue_workflow(_QUEUE, shadow_study, run_id)
    return _DONE


@DBOS.workflow(name="shadow_study", max_recovery_attempts=SHADOW_ATTEMPTS)
def shadow_study(run_id: str) -> str:
    """Let the shadow model look at one run whose results are out; whatever happens to it, they stay as they are."""
    return DBOS.run_step(StepOptions(name="shadow"), _run_shadow, run_id)


def _perform(name: str, run_id: str) -> str:
    options = StepOptions(name=name, retries_allowed=True, max_attempts=STEP_ATTEMPTS, interval_seconds=FIRST_RETRY_S)
    try:
        return DBOS.run_step(options, _run_step, name, run_id)
    except Exception as error:  # noqa: BLE001 - the worker's loop: whatever a step raises, the study keeps a reason
        attempts: list[Exception] = getattr(error, "errors", [error])  # DBOS tells what every attempt raised
        code, reason = reason_of(attempts[-1])
        return DBOS.run_step(StepOptions(name=f"{name}_failed"), _give_up, run_id, code, reason)


def _run_step(name: str, run_id: str) -> str:
    steps = _steps[0]
    if name != "deliver" and not steps.is_open(run_id):
        return _CLOSED  # killed between closing the run and noting the step
    steps.begin(run_id, name)
    try:
        getattr(steps, name)(run_id)
    except Exception as error:
        consequence = consequence_of(error)
        _log.warning("step_failed", run=run_id, step=name, consequence=consequence, error=type(error).__name__)
        if consequence is Consequence.RETRY:
            raise
        if consequence is Consequence.FAIL:
            _log.exception("step_defect", run=run_id, step=name)
        state = RunState.REJECTED if consequence is Consequence.REJECT else RunState.FAILED
        steps.finish(run_id, state, *reason_of(error))
        return _CLOSED
    _log.info("step_done", run=run_id, step=name)
    return _DONE


def _give_up(run_id: str, code: str, reason: str) -> str:
    _steps[0].finish(run_id, RunState.FAILED, code, f"{reason} (given up after {STEP_ATTEMPTS} attempts)")
    return _CLOSED


def _shadow_wanted(run_id: str) -> bool:
    wanted = _steps[0].shadow_wanted()
    if not wanted:
        _steps[0].end_shadow(run_id)  # it may have been switched off since production ended
    return wanted


def _run_shadow(run_id: str) -> str:
    steps = _steps[0]
    try:
        steps.shadow(run_id)
    except Exception as error:  # noqa: BLE001 - the worker's loop: the shadow's failure is a line in the books
        _log.warning("shadow_failed", run=run_id, error=type(error).__name__)
        steps.end_shadow(run_id, *reason_of(error))
        return _CLOSED
    steps.end_shadow(run_id)
    _log.info("shadow_done", run=run_id)
    return _DONE


def _is_delivered(run_id: str) -> bool:
    return _steps[0].is_delivered(run_id)
