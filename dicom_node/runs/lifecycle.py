"""The state of a run in the database from start to end, and which files are removed at the end."""

from collections.abc import Collection

from dicom_node.database.engine import Database
from dicom_node.database.standing import enter, finish, follow
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow
from dicom_node.models.roles import ModelRole, chosen
from dicom_node.runs.shadow_results import fail_shadow
from dicom_node.runs.traced import trace_run
from dicom_node.settings import Settings
from dicom_node.studies.run_folder import RunFolder

__all__ = ["Lifecycle"]


class Lifecycle:
    """What a worker does with runs besides performing their steps."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database, self._folder = database, settings.node.folder

    def begin(self, run_id: str, step: str) -> None:
        """Note that a step has started."""
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id)
            if run.step != step:
                run.takeovers = 0  # it has advanced, so it is not this study that kills workers
            run.state, run.step = RunState.RUNNING, step
            enter(session, run, step)
            follow(session, run)

    def finish(self, run_id: str, state: RunState, code: str = "", reason: str = "") -> None:
        """Close a run; its study gets the same state unless newer content has arrived meanwhile."""
        with self._database.session() as session:
            finish(session, session.get_one(RunRow, run_id), state, code, reason)
        self.tidy(run_id)

    def is_open(self, run_id: str, attempt: int = 0) -> bool:
        """Return whether a run exists, is not closed, and has not been started again since this attempt."""
        with self._database.session() as session:
            run = session.get(RunRow, run_id)
            return run is not None and run.attempt == attempt and run.state in (RunState.QUEUED, RunState.RUNNING)

    def state_of(self, run_id: str) -> str:
        """Return the state of a run."""
        return self._run(run_id).state

    def tidy(self, run_id: str) -> None:
        """Remove the arrays of a run if nothing will read them any more."""
        run = self._run(run_id)
        ended = run.state in (RunState.DELIVERED, RunState.STORED) and not self._shadow_wanted()
        if ended or run.summary.get("withheld") or run.state == RunState.REJECTED:
            RunFolder(self._folder, run_id).clear_arrays()

    def trace(self, run_id: str, attempt: int, steps: Collection[str]) -> None:
        """Record how long a run and its steps took, where traces are on."""
        trace_run(self._database, run_id, attempt, steps)

    def note_shadow(self, run_id: str) -> None:
        """Note that the shadow model, if there is one, is to process a run that production has finished."""
        wanted = self._shadow_wanted()
        with self._database.session() as session:
            session.get_one(RunRow, run_id).shadow_due = wanted
        if not wanted:
            self.end_shadow(run_id)  # it may have been switched off since production ended

    def end_shadow(self, run_id: str, code: str = "", reason: str = "") -> None:
        """Close the shadow's work on a run, with the reason if it failed; production is not affected."""
        if code:
            fail_shadow(self._database, run_id, code, reason)
        if self._run(run_id).state in (RunState.DELIVERED, RunState.STORED):
            RunFolder(self._folder, run_id).clear_arrays()

    def _shadow_wanted(self) -> bool:
        """Return whether there is a shadow model."""
        return chosen(self._database, ModelRole.SHADOW) is not None

    def _run(self, run_id: str) -> RunRow:
        with self._database.session() as session:
            return session.get_one(RunRow, run_id)
