"""Several receivers and workers on one PostgreSQL and one folder: one that dies or freezes leaves nothing behind."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow
from dicom_node.database.worker_slots import list_workers
from tests.support.cluster import Cluster, running_cluster
from tests.support.node import SENDER, destination
from tests.support.pacs import Pacs, instance_of, running_pacs, store
from tests.support.postgres import Postgres
from tests.support.small_study import make_small_study

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(600)]
PROCESSES = ("listen-0", "listen-1", "work-0", "work-1", "web-0")


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with running_pacs() as running:
        yield running


@pytest.fixture
def cluster(tmp_path: Path, postgres: Postgres, pacs: Pacs) -> Iterator[Cluster]:
    where = {"GLIONODE_WEB_PORT": "0", "GLIONODE_VIEWER_PORT": "0"}
    peers = [SENDER, destination(pacs)]
    with running_cluster(tmp_path, postgres.new_database(), PROCESSES, peers, where) as running:
        running.wait_for_event("working", times=2)
        yield running


def _send(cluster: Cluster, name: str) -> str:
    images = make_small_study(name)
    for ds in images:
        ds.ImagesInAcquisition = len(images) // 4
    assert set(store([instance_of(ds) for ds in images], cluster.settings.node.dicom_port)) == {0x0000}
    return str(images[0].StudyInstanceUID)


def _holder(cluster: Cluster, study_uid: str, step: str) -> str:
    """Wait until a run of the study is within a step; return the process that has it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with cluster.database.session() as session:
            run = session.scalar(sa.select(RunRow).where(RunRow.study_uid == study_uid))
        if run is not None and run.state == RunState.RUNNING and run.step == step:
            return f"work-{run.executor.rpartition('/')[2]}"
        time.sleep(0.005)
    raise cluster.failure(f"no run came to the step {step}")


def _process_of(cluster: Cluster, slot: str) -> str:
    """Return the name of the process that has a slot: which got which is a matter of chance."""
    wanted = slot.removeprefix("work-")
    with cluster.database.session() as session:
        pid = session.execute(
            sa.text("SELECT pid FROM worker WHERE executor LIKE :end"), {"end": f"%/{wanted}"}
        ).scalar_one()
    return next(name for name, process in cluster.processes.items() if process.pid == pid)


def _assert_delivered_once(cluster: Cluster, pacs: Pacs, study_uids: list[str]) -> None:
    studies = cluster.studies()
    expected = {uid for study_uid in study_uids for _, uid, _ in studies[study_uid].results}
    assert len(expected) == 2 * len(study_uids)
    assert set(pacs.received) == expected
    assert all(len(set(versions)) == 1 for versions in pacs.received.values())


def test_work_of_a_host_that_dies_is_taken_over_and_of_one_that_freezes_is_refused(
    cluster: Cluster, pacs: Pacs
) -> None:
    died = _send(cluster, "died")
    cluster.kill_hard(_process_of(cluster, _holder(cluster, died, "segment")))
    cluster.wait_for(["delivered"], [died])

    cluster.start("work-2")
    cluster.wait_for_event("working", times=3)
    frozen = _send(cluster, "frozen")
    victim = _process_of(cluster, _holder(cluster, frozen, "align"))  # seconds; a warm worker segments in 0.15 s
    cluster.signal(victim, signal.SIGSTOP)
    cluster.wait_for(["delivered"], [frozen])
    cluster.signal(victim, signal.SIGCONT)
    after = _send(cluster, "after")
    cluster.wait_for(["delivered"], [after])
    _assert_delivered_once(cluster, pacs, [died, frozen, after])
    with cluster.database.session() as session:
        runs = {run.study_uid: run for run in session.scalars(sa.select(RunRow)).all()}
    assert (runs[died].attempt, runs[frozen].attempt, runs[after].attempt) == (1, 1, 0)
    assert all(run.state == RunState.DELIVERED for run in runs.values())


def test_receivers_share_one_port_and_one_that_dies_is_not_missed(cluster: Cluster, pacs: Pacs) -> None:
    first = [_send(cluster, f"shared {number}") for number in range(4)]
    cluster.kill_hard("listen-0")
    second = [_send(cluster, f"alone {number}") for number in range(2)]
    cluster.wait_for(["delivered"], [*first, *second])
    _assert_delivered_once(cluster, pacs, [*first, *second])
    assert [worker.alive for worker in list_workers(cluster.database)] == [True, True]
