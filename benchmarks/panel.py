"""Measures how long the panel takes for its pages with 100,000 studies in the database.

Run ``python -m benchmarks.panel`` with nothing else running; ``--write`` writes ``benchmarks/panel.md``. The database
is made up, on SQLite and, where its programs are installed, on PostgreSQL. The panel is a process of its own, as
`glionode serve` starts it. A page is requested over HTTP, with its session. Then one page of the work is left open,
with many studies in the queue: while nothing happens, and while an image arrives every half second.
"""

import argparse
import contextlib
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from conversion.study_identity import StudyIdentity
from dicom_node.database.engine import Database
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.states import DeliveryState, RunState, StudyState
from dicom_node.database.tables import DecisionRow, DeliveryRow, InstanceRow, ResultRow, RunRow, StudyRow
from dicom_node.studies.identities import identity_row
from tests.support.postgres import postgres_programs, running_postgres
from tests.support.web_child import WebChild, web_child

TABLE = Path(__file__).with_suffix(".md")
BAR_MS = 150.0
"""Target for the median of every page."""

IMAGES, NEWEST, IMAGES_OF_NEWEST = 2, 100, 600
"""Of a study; the newest have as many as a real one, so that the first pages count as many as a site's would."""

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BATCH = 2_000
FAMILIES = ("Müller", "Schmidt", "Doe", "García", "Nowak", "Łukasiewicz", "Rossi", "Dubois", "Jansen", "Søndergaard")
GIVEN = ("John", "Anna", "José", "Zofia", "Marie", "Lars", "Paula", "Ivan", "Mehmet", "Eva")
DESCRIPTIONS = ("MRI brain with contrast", "MR head", "Follow-up glioma", "Schädel nativ und KM", "Stereotaxy")
STATES = (StudyState.DELIVERED,) * 17 + (StudyState.STORED, StudyState.REJECTED, StudyState.FAILED)

SEARCHES: Mapping[str, Mapping[str, str]] = {
    "the 100th page": {"page": "100"},
    "the last page but one": {"page": "1999"},
    "one patient by name": {"text": "zofia lukasiewicz 4711"},
    "one patient by ID": {"text": "pat0047110"},
    "one accession number": {"text": "acc00471"},
    "a family name": {"text": "müller"},
    "a word that nearly all have": {"text": "m"},
    "four words": {"text": "doe john brain mri"},
    "a word that none has": {"text": "quetzalcoatl"},
    "a name, sorted by name": {"text": "doe", "order": "name"},
    "a name, its 20th page": {"text": "doe", "page": "20"},
    "all, sorted by name": {"order": "name"},
    "all, sorted by study date": {"order": "studied"},
    "all, sorted by name, 1000th page": {"order": "name", "page": "1000"},
    "a month": {"first": "2024-05-01", "last": "2024-05-31"},
    "a month and a name, by study date": {
        "first": "2024-05-01",
        "last": "2024-05-31",
        "text": "doe",
        "order": "studied",
    },
    "a state that most have": {"state": "delivered"},
    "a state that few have": {"state": "failed"},
    "a state that few have, by name": {"state": "failed", "order": "name"},
    "a state and a word that none has": {"state": "failed", "text": "quetzalcoatl"},
}
PAGES = ("/work", "/peers", "/rules", "/fetch", "/workbench")

BAR_CPU = 5.0
"""Target for what one open queue may cost of a core, in per cent."""

QUEUED, ARRIVING, WATCHED_S = 60, 20, 30.0
"""Studies that wait and that are being received, each as large as the newest, and how long they are watched."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """The median and the longest time of one page."""

    page: str
    median_ms: float
    longest_ms: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured on one database.

    Attributes
    ----------
    cpu_percent
        Of a core, that the web process took with one open queue, by what happened meanwhile.
    """

    pages: Sequence[Timed]
    cpu_percent: Mapping[str, float]


def main() -> None:
    """Make the databases, and time each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=15, help="how often each page is requested")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    arguments = parser.parse_args()
    measured = {"SQLite": _on_sqlite(arguments)}
    if postgres_programs() is not None:
        measured["PostgreSQL"] = _on_postgres(arguments)
    text = "\n".join(_report(arguments, measured)) + "\n"
    sys.stdout.write(text)
    if arguments.write:
        TABLE.write_text(text, encoding="utf-8")


def _on_sqlite(arguments: argparse.Namespace) -> Measured:
    with tempfile.TemporaryDirectory() as kept:
        return _on(Path(kept), arguments)


def _on_postgres(arguments: argparse.Namespace) -> Measured:
    with tempfile.TemporaryDirectory() as kept, running_postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLIONODE_DATABASE_URL", server.new_database())
        return _on(Path(kept), arguments)


def _on(folder: Path, arguments: argparse.Namespace) -> Measured:
    with web_child(folder) as web:
        _fill(web.database, arguments.studies)
        _queue(web.database, arguments.studies)
        with web.logged_in() as client:
            pages = list(_timed(web, client, arguments.times))
            with client.stream("GET", "/work/events"):
                quiet = _cpu_percent(web, lambda: None)
                busy = _cpu_percent(web, lambda: _arrive(web.database, arguments.studies))
            return Measured(pages=pages, cpu_percent={"nothing happens": quiet, "an image arrives every 0.5 s": busy})


def _cpu_percent(web: WebChild, happens: Callable[[], None]) -> float:
    """Return what the web process takes of a core, while something happens every half second."""
    begun, used = time.monotonic(), web.cpu_s()
    while time.monotonic() < begun + WATCHED_S:
        happens()
        time.sleep(0.5)
    return 100 * (web.cpu_s() - used) / (time.monotonic() - begun)


def _queue(database: Database, studies: int) -> None:
    """Let the newest studies wait or arrive again."""
    newest = [f"1.2.826.0.1.{number}" for number in range(studies - QUEUED - ARRIVING, studies)]
    with database.session() as session:
        waiting, arriving = StudyRow.study_uid.in_(newest[:QUEUED]), StudyRow.study_uid.in_(newest[QUEUED:])
        session.execute(sa.update(StudyRow).where(waiting).values(state=StudyState.QUEUED))
        session.execute(sa.update(RunRow).where(RunRow.study_uid.in_(newest[:QUEUED])).values(state=RunState.QUEUED))
        session.execute(sa.update(StudyRow).where(arriving).values(state=StudyState.RECEIVING))


def _arrive(database: Database, studies: int) -> None:
    with database.session() as session:
        row = session.get_one(StudyRow, f"1.2.826.0.1.{studies - 1}")
        row.last_received_at, row.awaited = datetime.now(UTC), [f"{time.monotonic_ns()} of 600 images"]


def _timed(web: WebChild, client: httpx.Client, times: int) -> Iterator[Timed]:
    with web.database.session() as session:
        newest = session.scalar(sa.select(StudyRow.key).order_by(StudyRow.last_received_at.desc()).limit(1))
    requests: dict[str, tuple[str, str, Mapping[str, str]]] = {"newest studies": ("GET", "/studies", {})}
    requests |= {what: ("POST", "/studies", form) for what, form in SEARCHES.items()}
    requests |= {"one study": ("GET", f"/studies/{newest}", {})}
    requests |= {path: ("GET", path, {}) for path in PAGES}
    for what, (method, address, form) in requests.items():
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            answer = client.request(method, address, data=dict(form) or None)
            taken.append(1000 * (time.perf_counter() - begun))
            answer.raise_for_status()
        yield Timed(page=what, median_ms=statistics.median(taken), longest_ms=max(taken))


def _fill(database: Database, studies: int) -> None:
    """Make up studies with images, runs, decisions, results and deliveries."""
    draw = random.Random(7)  # noqa: S311 - made up patients
    for start in range(0, studies, BATCH):
        numbers = range(start, min(start + BATCH, studies))
        rows: dict[Any, list[dict[str, Any]]] = {}
        for number in numbers:
            for table, row in _study(number, studies, draw):
                rows.setdefault(table, []).append(row)
        with database.session() as session:
            for table, values in rows.items():
                session.execute(sa.insert(table), values)
    with contextlib.closing(database.engine.raw_connection()) as connection:
        connection.cursor().execute("ANALYZE")
        connection.commit()


def _study(number: int, studies: int, draw: random.Random) -> Iterator[tuple[Any, dict[str, Any]]]:
    uid, run, key = f"1.2.826.0.1.{number}", f"{number:012x}-0", f"{number:012x}"
    at, state = NOW - timedelta(minutes=30 * (studies - number)), draw.choice(STATES)
    yield StudyRow, {"study_uid": uid, "key": key, "state": state, "current_run": run, "identity_due": False} | {
        "first_received_at": at, "last_received_at": at, "look_at": at, "awaited": [], "source": {}
    }  # fmt: skip
    identity = StudyIdentity(
        patient_name=f"{draw.choice(FAMILIES)}^{draw.choice(GIVEN)}",
        patient_id=f"PAT{draw.randrange(studies):06d}0",
        birth_date="1960-02-03",
        sex="F",
        accession_number=f"ACC{number:06d}",
        study_date=at.date().isoformat(),
        study_time="10:15",
        description=draw.choice(DESCRIPTIONS),
        modality="MR",
    )
    row = identity_row(uid, at, [identity], 1)
    yield StudyIdentityRow, {column.key: getattr(row, column.key) for column in sa.inspect(StudyIdentityRow).columns}
    for image in range(IMAGES_OF_NEWEST if number >= studies - NEWEST else IMAGES):
        uids = {"sop_instance_uid": f"{uid}.{image}", "study_uid": uid, "series_uid": f"{uid}.{image % 5}"}
        kinds = {"sop_class_uid": "1.2", "transfer_syntax_uid": "1.2", "patient_key": key, "sha256": f"{image:064x}"}
        path = f"inbox/{uid}/{image}.dcm"
        yield InstanceRow, uids | kinds | {"path": path, "calling_ae": "PACS", "received_at": at, "current": True}
    summary = {
        "sequences": {"T1CE": "series 5", "FLAIR": "series 3"},
        "volumes_ml": {"WT": 61.5, "TC": 20.1, "ET": 9.7},
    }
    yield RunRow, {"run_id": run, "study_uid": uid, "revision": 1, "manifest_sha256": "0" * 64, "ready_at": at} | {
        "state": RunState(state), "summary": summary, "finished_at": at
    }  # fmt: skip
    for ordinal in range(6):
        reason = "recognised by its timing and contrast agent"
        yield DecisionRow, {"run_id": run, "ordinal": ordinal, "code": "role", "subject": "series 5", "reason": reason}
    for kind in ("SEG", "SR"):
        result = f"{uid}.9.{kind == 'SR':d}"
        yield ResultRow, {"sop_instance_uid": result, "run_id": run, "study_uid": uid, "series_uid": uid} | {
            "sop_class_uid": "1.2", "kind": kind, "path": f"results/{uid}/{kind}.dcm", "sha256": "0" * 64
        }  # fmt: skip
        yield (
            DeliveryRow,
            {"run_id": run, "sop_instance_uid": result, "destination": "PACS"} | {"state": DeliveryState.ACCEPTED},
        )


def _report(arguments: argparse.Namespace, measured: Mapping[str, Measured]) -> Iterator[str]:
    timed = {name: one.pages for name, one in measured.items()}
    yield "# Panel"
    yield ""
    yield f"Time for each page of the panel with {arguments.studies:,} studies, each requested {arguments.times} times"
    yield f"over HTTP. {os.cpu_count()} CPU cores, Python {platform.python_version()}. Made by"
    yield "`python -m benchmarks.panel --write`."
    yield ""
    yield f"| page | {' | '.join(f'{name}: median (ms) | longest (ms)' for name in timed)} |"
    yield f"|---|{'---|---|' * len(timed)}"
    for rows in zip(*timed.values(), strict=True):
        yield f"| {rows[0].page} | {' | '.join(f'{one.median_ms:.0f} | {one.longest_ms:.0f}' for one in rows)} |"
    worst = max((one for rows in timed.values() for one in rows), key=lambda one: one.median_ms)
    yield ""
    met = "met" if worst.median_ms <= BAR_MS else "**missed**"
    yield f"Target: a median of at most {BAR_MS:g} ms for every page: {met}."
    yield f"The slowest is {worst.page}, {worst.median_ms:.0f} ms."
    yield ""
    yield f"One open page of the work, with {QUEUED} studies that wait and {ARRIVING} that arrive:"
    yield ""
    yield f"| while | {' | '.join(f'{name}: CPU of the web process (% of a core)' for name in measured)} |"
    yield f"|---|{'---|' * len(measured)}"
    costs = [one.cpu_percent for one in measured.values()]
    for what in costs[0]:
        yield f"| {what} | {' | '.join(f'{cost[what]:.1f}' for cost in costs)} |"
    met = "met" if max(max(cost.values()) for cost in costs) <= BAR_CPU else "**missed**"
    yield ""
    yield f"Target: at most {BAR_CPU:g} % of a core: {met}."


if __name__ == "__main__":
    main()
