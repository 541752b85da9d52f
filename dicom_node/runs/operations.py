"""What users do to a study: prioritise it, cancel or replay its run, send its results again."""

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.standing import finish, follow
from dicom_node.database.states import DeliveryState, Priority, RunState, StudyState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.peers.registry import destinations
from dicom_node.routing.route import keeps, why_routed
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.studies.run_folder import RunFolder
from dicom_node.studies.run_queue import requeue

__all__ = ["Impossible", "cancel", "prioritise", "replay", "resend", "steps_to_replay"]

_log = structlog.get_logger()

_AT_WORK = (RunState.QUEUED, RunState.RUNNING)


class Problem(enum.StrEnum):
    """Why an operation on a study is not possible."""

    UNKNOWN = "unknown"
    NO_RUN = "no_run"
    NOT_AT_WORK = "not_at_work"
    AT_WORK = "at_work"
    NO_RESULTS = "no_results"
    NO_STEP = "no_step"


class Impossible(Exception):  # noqa: N818 - named for what happened
    """An operation that is not possible in the study's present state."""

    def __init__(self, problem: Problem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem


def prioritise(database: Database, study: str, priority: Priority) -> None:
    """Change the priority of a study's runs, including one that is already queued.

    Parameters
    ----------
    study
        Its UID, or its key in pages and logs.

    Raises
    ------
    Impossible
        When there is no such study.
    """
    with database.session() as session:
        row = _found(session, study)
        row.priority = priority
        queued = sa.update(RunRow).where(RunRow.study_uid == row.study_uid, RunRow.state == RunState.QUEUED)
        session.execute(queued.values(priority=priority))
    _log.info("prioritised", study=row.key, priority=priority.name)


def cancel(database: Database, study: str) -> None:
    """Stop a study's run: at once if it is queued, before its next step if it is running.

    Raises
    ------
    Impossible
        When its newest run is neither queued nor running.
    """
    with database.session() as session:
        row = _found(session, study)
        run = _newest(session, row)
        if run.state not in _AT_WORK:
            raise Impossible(Problem.NOT_AT_WORK, f"its newest run is {run.state}: there is nothing to cancel")
        finish(session, run, RunState.CANCELLED, "cancelled", "cancelled by hand")
    _log.info("cancelled", study=row.key)


def replay(database: Database, settings: Settings, study: str, *, from_start: bool = False, step: str = "") -> str:
    """Queue a study's newest run again, from the step that failed; return that step.

    A study that could not be judged or was kept out is judged again; the step is then ``assemble``.

    Parameters
    ----------
    from_start
        Begin with recognition, so that the current site rules, model and settings apply. A run whose files have been
        removed begins there in any case.
    step
        Begin with this one instead, of `steps_to_replay`.

    Raises
    ------
    Impossible
        When there is no run, it is queued or running, or it cannot begin with that step.
    """
    with database.session() as session:
        row = _found(session, study)
        if row.state in (StudyState.FAILED, StudyState.KEPT_OUT) and not row.current_run:  # no run was made
            row.state, row.reason, row.look_at = StudyState.RECEIVING, "", utc_now()
            _log.info("replayed", study=row.key, step="assemble")
            return "assemble"
        run = _newest(session, row)
        if run.state in _AT_WORK:
            raise Impossible(Problem.AT_WORK, f"its newest run is {run.state}; cancel it first")
        if step:
            run.step = _chosen(settings, run, step)
        elif from_start or not _can_go_on(settings, run):
            run.step = ""
        run.takeovers = 0
        requeue(session, run)
        begins = run.step or Step.SELECT
    _log.info("replayed", study=row.key, step=begins)
    return str(begins)


def steps_to_replay(folder: Path, run_id: str, reached: str) -> tuple[Step, ...]:
    """Return the steps with which a run that has ended can begin again: those that it reached and whose input exists.

    Parameters
    ----------
    folder
        The node's folder.
    reached
        The step in which it ended; empty for the first.
    """
    files, last = RunFolder(folder, run_id), Step(reached) if reached else Step.SELECT
    return tuple(step for step in Step if step.place <= last.place and files.has_arrays_for(step))


def _chosen(settings: Settings, run: RunRow, step: str) -> str:
    """Return the step with which a run is to begin; empty for the first, which reads rules and settings anew."""
    possible = steps_to_replay(settings.node.folder, run.run_id, run.step)
    if step not in possible:
        raise Impossible(Problem.NO_STEP, f"it can begin again with {', '.join(possible)} alone")
    return "" if step == Step.SELECT else step


def resend(database: Database, study: str, destination: str = "") -> int:
    """Send a study's results to its destinations again; return the number of objects.

    Each destination is queried first and gets only what it does not hold; one that was added since gets everything.

    Parameters
    ----------
    destination
        Name of the peer; empty for all.

    Raises
    ------
    Impossible
        When there are no results, they have been removed, or they were not made in the profile of the destination.
    """
    peers = [peer for peer in destinations(database) if destination in ("", peer.name)]
    if not peers:
        raise Impossible(Problem.UNKNOWN, f"no enabled destination is called {destination!r}; see the AE titles page")
    with database.session() as session:
        run = _newest(session, _found(session, study))
        if run.state in _AT_WORK:
            raise Impossible(
                Problem.AT_WORK, f"its newest run is {run.state}: its results are sent when they are ready"
            )
        peers = [peer for peer in peers if keeps(run.route, peer.name)]
        if not peers:
            raise Impossible(Problem.UNKNOWN, f"a routing rule sends its results elsewhere: {why_routed(run.route)}")
        results = session.scalars(
            sa.select(ResultRow).where(ResultRow.run_id == run.run_id, ResultRow.path != "")
        ).all()
        made = {result.profile for result in results}
        unmade = sorted(peer.name for peer in peers if peer.profile.key not in made)
        if not results or unmade:
            what = f"were not made in the form for {', '.join(unmade)}" if results else "do not exist (any more)"
            raise Impossible(Problem.NO_RESULTS, f"its results {what}; `glionode replay --from-start` makes them again")
        concerned = _send_again(session, run, results, {peer.name: peer.profile.key for peer in peers})
        run.state, run.deliver_at, run.rounds = RunState.UNDELIVERED, utc_now(), 0
        follow(session, run)
    _log.info("resent", objects=concerned)
    return concerned


def _send_again(session: Session, run: RunRow, results: Sequence[ResultRow], wanted: Mapping[str, str]) -> int:
    """Mark what was delivered as waiting again; a query finds out what is there, so earlier receipts do not matter."""
    rows = session.scalars(
        sa.select(DeliveryRow).where(DeliveryRow.run_id == run.run_id, DeliveryRow.destination.in_(wanted))
    ).all()
    for row in rows:
        row.state, row.status, row.proof, row.reason = DeliveryState.WAITING, None, "", "to be sent again"
    return sum(result.profile == profile for result in results for profile in wanted.values())


def _found(session: Session, study: str) -> StudyRow:
    row = session.get(StudyRow, study) or session.scalar(sa.select(StudyRow).where(StudyRow.key == study))
    if row is None:
        raise Impossible(Problem.UNKNOWN, "no study of this node has that UID or key; `glionode status` lists them")
    return row


def _newest(session: Session, study: StudyRow) -> RunRow:
    run = session.get(RunRow, study.current_run, with_for_update=True) if study.current_run else None
    if run is None:
        sentence = f"the study is {study.state} and has no run yet; `glionode status` shows what it waits for"
        raise Impossible(Problem.NO_RUN, sentence)
    return run


def _can_go_on(settings: Settings, run: RunRow) -> bool:
    """Return whether the files of the earlier steps still exist."""
    artifacts = RunFolder(settings.node.folder, run.run_id)
    return run.step == "deliver" or artifacts.has_arrays_for(run.step)
