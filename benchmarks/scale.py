"""Measures how the node scales: studies per hour with 1, 2 and 4 workers, and response times with a queue of 10,000.

Real workers run on a real PostgreSQL, with the loop, the database and the durable workflow as delivered. Their steps
only wait, so that two cores can simulate many. Writes ``benchmarks/scale.md``.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs.child_process import StepOutcome
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.worker import Worker
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.run_queue import claim_next
from dicom_node.studies.status import read_status
from tests.support.postgres import running_postgres

TABLE = Path(__file__).with_suffix(".md")
WORKERS = (1, 2, 4)
STUDIES_EACH = 12
QUEUE = 10_000
STUDIES_A_DAY = 1_000_000
STUDY_SECONDS = 27.3
"""Time of one real study on two CPU cores, from its files to SEG and SR; see `_cost`."""


class _WaitingWorker(Worker):
    """A worker whose step ``segment`` waits, and whose other steps do nothing."""

    wait_s = 0.0

    def _perform(self, step: str, run_id: str) -> StepOutcome:
        if step == "segment":
            time.sleep(self.wait_s)
        if step == "deliver":
            Lifecycle(self._settings, self._database).finish(run_id, RunState.DELIVERED)
        return StepOutcome()


def _work(url: str, folder: str, wait_s: float, stop: "multiprocessing.synchronize.Event") -> None:
    settings = _settings(url, folder)
    worker = _WaitingWorker(settings, open_database(url))
    worker.wait_s = wait_s
    ended = threading.Event()
    threading.Thread(target=lambda: (stop.wait(), ended.set()), daemon=True).start()
    worker.run(ended)


def _settings(url: str, folder: str) -> Settings:
    return read_settings(environment={"GLIONODE_DATABASE_URL": url, "GLIONODE_NODE_FOLDER": folder})


def fill(database: Database, count: int) -> None:
    """Put this number of studies into the queue."""
    now = utc_now()
    studies, runs = [], []
    for number in range(count):
        uid, run_id = f"1.2.{number}", f"run{number:07d}"
        times = {"first_received_at": now, "last_received_at": now + timedelta(seconds=number), "look_at": now}
        studies.append({"study_uid": uid, "key": run_id, "state": StudyState.QUEUED, "current_run": run_id, **times})
        ready = now + timedelta(seconds=number)
        runs.append({"run_id": run_id, "study_uid": uid, "revision": 1, "manifest_sha256": "0", "ready_at": ready})
    with database.session() as session:
        session.execute(sa.insert(StudyRow), studies)
        session.execute(sa.insert(RunRow), runs)


def studies_an_hour(url: str, workers: int, wait_s: float) -> float:
    """Let workers process their studies, and return their total rate from the first finished study to the last."""
    database = open_database(url)
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=_work, args=(url, folder, wait_s, stop)) for _ in range(workers)]
        for process in processes:
            process.start()
        while _alive(database) < workers:
            time.sleep(0.1)
        time.sleep(3.0)
        fill(database, workers * STUDIES_EACH)
        while len(ended := _ended(database)) < workers * STUDIES_EACH:
            time.sleep(0.2)
        stop.set()
        for process in processes:
            process.join()
    database.engine.dispose()
    settled = ended[workers:]  # the first study of each worker may have started at any time within a polling interval
    return 3600.0 * len(settled) / (settled[-1] - ended[workers - 1])


def _alive(database: Database) -> int:
    with database.session() as session:
        return int(session.execute(sa.text("SELECT count(*) FROM worker WHERE NOT ended")).scalar_one())


def _ended(database: Database) -> list[float]:
    with database.session() as session:
        times = session.scalars(sa.select(RunRow.finished_at).where(RunRow.state == RunState.DELIVERED)).all()
    return sorted(each.timestamp() for each in times if each is not None)


def milliseconds(work: Callable[[], object], repeats: int = 21) -> float:
    """Return the median duration of the work, in ms."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(1000.0 * (time.perf_counter() - begun))
    return statistics.median(taken)


def queue_times(url: str) -> tuple[float, float]:
    """Return how long listing and claiming take with a long queue, in ms."""
    database = open_database(url)
    fill(database, QUEUE)
    listing = milliseconds(lambda: read_status(database))
    claiming = milliseconds(lambda: claim_next(database, "host/0"))
    database.engine.dispose()
    return listing, claiming


def page(rates: dict[int, float], wait_s: float, times: dict[str, tuple[float, float]]) -> str:
    """Return the tables."""
    one = rates[WORKERS[0]]
    lines = [
        "# Scale",
        "",
        f"Real workers on one PostgreSQL. Their step `segment` waits {wait_s:g} s, and the other steps take no time.",
        f"Made by `python -m benchmarks.scale` on {os.cpu_count()} CPU cores.",
        "",
        "| workers | studies per hour | relative to linear scaling |",
        "|---|---|---|",
        *(f"| {number} | {rate:.0f} | {rate / one / number:.2f} |" for number, rate in rates.items()),
        "",
        f"With a queue of {QUEUE:,} studies (medians of 21):",
        "",
        "| database | the panel's list of 100 studies (ms) | claiming the next study (ms) |",
        "|---|---|---|",
        *(f"| {name} | {listing:.1f} | {claiming:.1f} |" for name, (listing, claiming) in times.items()),
        "",
    ]
    return "\n".join([*lines, *_cost()]) + "\n"


def _cost() -> list[str]:
    return [
        "## What a load costs",
        "",
        f"One real study of 287 images (`philips-1.5T-tumour`) takes {STUDY_SECONDS:g} s of two CPU cores from its",
        "files to SEG and SR (`glionode segment`, model loading included). The table is calculated, not measured, with",
        "workers that scale as above, 50 MB and 200 instances per study:",
        "",
        "| studies per day | pairs of cores busy all day | received per day | instances per second |",
        "|---|---|---|---|",
        *(_load(day) for day in (100, 1_000, 10_000, 100_000, STUDIES_A_DAY)),
        "",
        f"A million studies per day are {STUDIES_A_DAY / 86400:.1f} per second. For the rate of one listener process",
        "see `ingest.md`. At such a load the shared folder and the network to the PACS are the limits, so it is split",
        "by hospital or by modality over separate nodes, each with its PostgreSQL.",
    ]


def _load(day: int) -> str:
    pairs, terabytes, instances = day * STUDY_SECONDS / 86400, day * 0.05 / 1000, day * 200 / 86400
    return f"| {day:,} | {pairs:,.2f} | {terabytes:,.2f} TB | {instances:,.1f} |"


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wait", type=float, default=2.0, help="Seconds that the waiting step takes.")
    arguments = parser.parse_args()
    rates = {}
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        times = {
            "SQLite": queue_times(f"sqlite:///{folder}/database.sqlite"),
            "PostgreSQL": queue_times(server.new_database()),
        }
        for number in WORKERS:
            rates[number] = studies_an_hour(server.new_database(), number, arguments.wait)
            sys.stderr.write(f"{number} workers: {rates[number]:.0f} studies per hour\n")
    TABLE.write_text(page(rates, arguments.wait, times), encoding="utf-8")
    sys.stdout.write(TABLE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
