"""The heavy steps in a child process: one that hangs, crashes or takes too much memory ends only the child."""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import structlog

from dicom_node.runs.consequences import Consequence, UnreadableStudy, consequence_of, reason_of
from dicom_node.settings import Settings, read_settings

if TYPE_CHECKING:
    from dicom_node.database.engine import Database

__all__ = ["StepOutcome", "StepProcess", "serve_steps"]

_log = structlog.get_logger()

START_S = 120.0
"""Time in which the child must load what the steps need and open the database, on a busy machine."""

LOOK_S = 0.2

Perform = Callable[[str, str], None]
"""Performs a step, by its name, of a run or an upload, by its identifier."""


@dataclass(frozen=True, kw_only=True)
class StepOutcome:
    """The outcome of a step.

    Attributes
    ----------
    consequence
        None if the step was done; otherwise what follows.
    code, reason
        Why, without patient data.
    """

    consequence: Consequence | None = None
    code: str = ""
    reason: str = ""

    @classmethod
    def of_error(cls, error: BaseException) -> "StepOutcome":
        """Return the outcome for an error."""
        code, reason = reason_of(error)
        return cls(consequence=consequence_of(error), code=code, reason=reason)


class StepProcess:
    """Performs steps in a child process, which is kept for the next step and restarted if it has ended.

    Parameters
    ----------
    module
        What the child runs; it ends in `serve_steps`.
    """

    def __init__(self, settings: Settings, module: str = "dicom_node.runs.child_process") -> None:
        self._limits = settings.limits
        self._module = module
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def perform(self, step: str, run_id: str) -> StepOutcome:
        """Perform one step, within the limits of time and memory."""
        with self._lock:
            if self._child is not None and self._child.poll() is not None:
                self._end()
            child = self._child
            if child is None:
                child = self._child = _start(self._module)
                answer = _answer(child, START_S, self._limits.memory_bytes)
                if answer != "ready":
                    self._end()
                    return _crashed(f"the process for the steps did not start ({answer})")
            try:
                _ask(child, {"step": step, "run": run_id})
                answer = _answer(child, self._limits.step_time_s, self._limits.memory_bytes)
            except BrokenPipeError:
                answer = "ended"
            return self._outcome(step, run_id, answer)

    def stop(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def break_off(self) -> None:
        """Kill the child at once, even within a step, whose outcome is then that of a crash."""
        child = self._child
        if child is not None:
            child.kill()

    def _outcome(self, step: str, run_id: str, answer: str) -> StepOutcome:
        if answer.startswith("{"):
            outcome = json.loads(answer)
            consequence = Consequence(outcome["consequence"]) if outcome["consequence"] else None
            return StepOutcome(consequence=consequence, code=outcome["code"], reason=outcome["reason"])
        status = self._end()
        _log.error("step_ended", run=run_id, step=step, why=answer, status=status)
        if answer == "time":
            sentence = (
                f"the step {step} took longer than {self._limits.step_time_s:g} s (limits.step_time_s) and was ended"
            )
            return StepOutcome(consequence=Consequence.FAIL, code="time_limit", reason=sentence)
        if answer == "memory":
            gib = self._limits.memory_bytes / 2**30
            sentence = f"the step {step} took more than {gib:.1f} GiB of memory (limits.step_memory_gib) and was ended"
            return StepOutcome(consequence=Consequence.FAIL, code="out_of_memory", reason=sentence)
        return _crashed(f"the process for the step {step} ended unexpectedly (status {status})")

    def _end(self) -> int | None:
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        status = child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()
        return status


def _crashed(sentence: str) -> StepOutcome:
    return StepOutcome(consequence=Consequence.RETRY, code="step_crashed", reason=sentence)


def _start(module: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", module]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module


def _ask(child: subprocess.Popen[bytes], question: dict[str, str]) -> None:
    questions = cast("IO[bytes]", child.stdin)
    questions.write(json.dumps(question).encode() + b"\n")
    questions.flush()


def _answer(child: subprocess.Popen[bytes], limit_s: float, limit_bytes: int) -> str:
    """Wait for a line; return it, or why there is none: ``time``, ``memory`` or ``ended``."""
    answers = cast("IO[bytes]", child.stdout)
    deadline = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        while not selector.select(LOOK_S):
            if time.monotonic() > deadline:
                return "time"
            if _resident_bytes(child.pid) > limit_bytes:
                return "memory"
    line = answers.readline()
    return line.decode().strip() if line.endswith(b"\n") else "ended"


def _resident_bytes(pid: int) -> int:
    try:
        pages = int(Path("/proc", str(pid), "statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0  # it has just ended
    return pages * os.sysconf("SC_PAGE_SIZE")


def _end_with_parent() -> None:
    """End this process when its parent has died in any way.

    This is polled: the kernel's signal would be sent already when the parent's thread ends.
    """
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os._exit(1)


def serve_steps(load: "Callable[[Settings, Database], Perform]") -> None:
    """Perform the steps that are requested on stdin, one line each, and answer each with a line.

    Parameters
    ----------
    load
        Loads what performs the steps. It is called once logs are set up.
    """
    # Idle threads sleep instead of spinning. The gain is small: beside two busy processes on two cores, eight slices
    # took 0.37 s against 0.41 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what is printed belongs to the log, not to the answers
    from dicom_node.logs import configure_logs  # noqa: PLC0415

    configure_logs("step")  # before anything is loaded that may hold on to the original stderr
    from dicom_node.database.engine import open_database  # noqa: PLC0415 - torch is loaded later, by a step that needs it

    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = read_settings()
    perform = load(settings, open_database(settings.database_url))
    answers.write(b"ready\n")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        outcome = _outcome_of(perform, request["step"], request["run"])
        answer = {"consequence": outcome.consequence, "code": outcome.code, "reason": outcome.reason}
        answers.write(json.dumps(answer).encode() + b"\n")


def _outcome_of(perform: Perform, step: str, run_id: str) -> StepOutcome:
    try:
        perform(step, run_id)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the worker's loop: whatever a step raises, the study gets a reason
        outcome = StepOutcome.of_error(error)
        if outcome.consequence is Consequence.FAIL or isinstance(error, UnreadableStudy):
            _log.exception("step_defect", run=run_id, step=step)
        else:
            _log.warning("step_raised", run=run_id, step=step, error=type(error).__name__)
        return outcome
    return StepOutcome()


def _durable_steps(settings: Settings, database: "Database") -> Perform:
    from dicom_node.runs.durable import DurableSteps  # noqa: PLC0415 - only the child loads what steps need

    return DurableSteps(settings, database).perform


if __name__ == "__main__":
    serve_steps(_durable_steps)
