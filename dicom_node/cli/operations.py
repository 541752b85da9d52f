"""`glionode` commands on studies (prioritise, cancel, replay, resend, fetch) and on the node (maintenance, ...)."""

import getpass
import sys
from dataclasses import asdict
from typing import Any

import click
from tqdm import tqdm

from dicom_node.cli.conventions import complain, emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import Priority
from dicom_node.database.tables import utc_now
from dicom_node.database.worker_slots import list_workers
from dicom_node.peers.registry import get_peer
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.runs import operations
from dicom_node.runs.retention import Retention
from dicom_node.settings import read_settings

__all__ = ["cancel", "clean", "fetch", "maintenance", "prioritise", "replay", "resend", "workers"]

_study = click.argument("study")


def _database() -> Any:  # noqa: ANN401 - Database, without loading it for --help
    return open_database(read_settings().database_url)


@click.command(epilog=example("glionode prioritise 1.2.840.113619.2.1"))
@_study
@click.option("--routine", is_flag=True, help="Return the study to routine priority.")
@json_option
@one_line_errors
def prioritise(study: str, routine: bool, as_json: bool) -> None:  # noqa: FBT001
    """Process a study before all others (STAT); STUDY is its UID or key."""
    priority = Priority.ROUTINE if routine else Priority.STAT
    operations.prioritise(_database(), study, priority)
    emit(as_json, {"study": study, "priority": priority.name}, [f"{study}: {priority.name}"])


@click.command(epilog=example("glionode cancel 1.2.840.113619.2.1"))
@_study
@json_option
@one_line_errors
def cancel(study: str, as_json: bool) -> None:  # noqa: FBT001
    """Stop a study's run: at once if it is still queued, otherwise before its next step."""
    operations.cancel(_database(), study)
    emit(as_json, {"study": study, "state": "cancelled"}, [f"{study}: cancelled; `glionode replay` runs it again"])


@click.command(epilog=example("glionode replay 1.2.840.113619.2.1 --from-start"))
@_study
@click.option("--from-start", is_flag=True, help="Begin with recognition, with the current rules, model and settings.")
@json_option
@one_line_errors
def replay(study: str, from_start: bool, as_json: bool) -> None:  # noqa: FBT001
    """Run a study again, from the step that failed."""
    step = operations.replay(_database(), read_settings(), study, from_start=from_start)
    emit(as_json, {"study": study, "step": step}, [f"{study}: queued from the step {step}"])


@click.command(epilog=example("glionode resend 1.2.840.113619.2.1 --to PACS"))
@_study
@click.option("--to", "destination", default="", help="Name of a destination; by default all.")
@json_option
@one_line_errors
def resend(study: str, destination: str, as_json: bool) -> None:  # noqa: FBT001
    """Send a study's results to its destinations again; each gets only what it does not have."""
    count = operations.resend(_database(), study, destination)
    emit(as_json, {"study": study, "objects": count}, [f"{study}: {count} objects queued, sent where they are missing"])


@click.command(epilog=example("glionode fetch 1.2.840.113619.2.1 --from PACS --priors 1"))
@_study
@click.option("--from", "source", required=True, help="Name of the peer to fetch from.")
@click.option("--priors", default=0, type=click.IntRange(0, 20), help="Number of earlier MR studies to fetch as well.")
@json_option
@one_line_errors
def fetch(study: str, source: str, priors: int, as_json: bool) -> None:  # noqa: FBT001
    """Fetch a study by its UID from a peer, with WADO-RS, C-GET or C-MOVE as the peer supports."""
    database = _database()
    with tqdm(unit="instance", disable=None, file=sys.stderr) as bar:

        def progress(_count: int) -> None:
            bar.update()

        fetcher = Fetcher(read_settings(), database, get_peer(database, source), progress)
        done = fetcher.fetch(study, priors)
    lines = [f"{one.study_uid}: {one.sentence}" for one in done]
    emit(as_json, {"studies": [asdict(one) for one in done]}, lines)
    if missing := [one.study_uid for one in done if not one.complete]:
        complain(f"incomplete: {', '.join(missing)}; fetch again, instances that are here are not stored twice")
        sys.exit(1)


@click.command(epilog=example("glionode maintenance on"))
@click.argument("state", type=click.Choice(["on", "off"]))
@json_option
@one_line_errors
def maintenance(state: str, as_json: bool) -> None:  # noqa: FBT001
    """Drain the node: new associations are rejected for now, running studies finish, no others start."""
    set_maintenance(_database(), getpass.getuser(), on=state == "on")
    emit(as_json, {"maintenance": state == "on"}, [f"maintenance {state}"])


@click.command(epilog=example("glionode clean"))
@json_option
@one_line_errors
def clean(as_json: bool) -> None:  # noqa: FBT001
    """Remove now what the retention policy no longer keeps; a worker does so every hour."""
    done = asdict(Retention(read_settings(), _database()).clean(utc_now()))
    emit(as_json, done, [f"studies cleaned: {', '.join(f'{kind} {number}' for kind, number in done.items())}"])


@click.command(epilog=example("glionode workers"))
@json_option
@one_line_errors
def workers(as_json: bool) -> None:  # noqa: FBT001
    """Show every worker, and whether it is alive."""
    found = list_workers(_database())
    lines = [f"{one.executor}  {'alive' if one.alive else 'SILENT'}  last heartbeat {one.last_beat}" for one in found]
    emit(as_json, {"workers": [asdict(one) for one in found]}, lines or ["no worker is running: start `glionode work`"])
