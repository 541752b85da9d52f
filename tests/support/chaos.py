"""A node under attack: its processes killed at random, its database and PACS stopped, its disk filled; then the count.

Seeded: the same plan every time, on a machine that never schedules it the same way twice.
"""

import contextlib
import hashlib
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom.dsutils import split_dataset

from dicom_node.database.states import RunState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from tests.support.cluster import Cluster, running_cluster
from tests.support.node import SENDER
from tests.support.orthanc import Orthanc, OrthancProcess, free_port
from tests.support.pacs import instance_of, running_pacs, store
from tests.support.postgres import Postgres
from tests.support.small_study import make_small_study

__all__ = ["Attack", "Count", "survive"]

DISK_MIB = 400
PAUSE_S = 0.5
ENDED = ("delivered", "rejected", "failed", "cancelled")
SETTLED_S = 60.0
"""Twice as long as an incomplete study is waited for here."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What is done to the node.

    Attributes
    ----------
    kills
        Of processes, at random.
    database_stops
        Hard, as by a crash; with PostgreSQL alone.
    down_s, refusing_s
        How long Orthanc is down, and how long its port answers 0xA700.
    disk_full_s
        How long the file system of the node's folder has no room.
    """

    studies: int
    receivers: int
    workers: int
    kills: int
    database_stops: int
    down_s: float
    refusing_s: float
    disk_full_s: float
    seed: int = 20261126
    deadline_s: float = 600.0


@dataclass(kw_only=True)
class Count:
    """What came of it.

    Attributes
    ----------
    lost
        Studies without their objects in Orthanc, or with other bytes than were encoded.
    duplicated
        Objects that Orthanc holds twice, or was sent more often than the books know.
    """

    delivered: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    sent_again: int = 0

    @property
    def sentence(self) -> str:
        """The last line."""
        return f"delivered {self.delivered}, lost {len(self.lost)}, duplicated {len(self.duplicated)}"


def survive(attack: Attack, folder: Path, postgres: Postgres | None, tell: Callable[[str], None]) -> Count:
    """Send studies to a node under attack, wait until it has delivered them, and count.

    Parameters
    ----------
    postgres
        A running server; None for SQLite.
    tell
        Told each thing that is done.
    """
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(folder / "disk"))
        orthanc = _orthanc(folder)
        orthanc.start()
        stack.callback(orthanc.stop)
        names = [f"listen-{n}" for n in range(attack.receivers)] + [f"work-{n}" for n in range(attack.workers)]
        url = postgres.new_database() if postgres else f"sqlite:///{disk / 'node' / 'glionode.sqlite'}"
        where = {"GLIONODE_WEB_PORT": str(free_port()), "GLIONODE_VIEWER_PORT": str(free_port())}
        where |= {"GLIONODE_LIMITS_FREE_DISK_GIB": "0.05", "GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS": "100"}
        cluster = stack.enter_context(running_cluster(disk, url, [*names, "web-0"], [SENDER], where))
        port = orthanc.orthanc.dicom_port
        destination = {"host": "127.0.0.1", "port": port, "is_destination": True, "proof": "query"}
        put_peer(cluster.database, Peer(name="Orthanc", ae_title="ORTHANC", **destination))  # type: ignore[arg-type]
        count = Count()
        senders = [_Sender(number, cluster, attack) for number in range(attack.studies)]
        for sender in senders:
            sender.start()
        _Attacker(attack, cluster, orthanc, postgres, tell).run(disk, count)
        for sender in senders:
            sender.join()
        tell("every study is sent and acknowledged; waiting for the results")
        _wait(cluster, [sender.study_uid for sender in senders], attack.deadline_s)
        _count(cluster, orthanc.orthanc, [sender.study_uid for sender in senders], folder / "received.txt", count)
        found = cluster.studies()
        for study_uid in count.lost:
            study = found[study_uid]
            tell(f"lost: {study.key}, {study.state} at {study.step or 'no step'}: {study.reason or 'no reason'}")
        if count.lost:
            tell(cluster.log_of([found[study_uid].key for study_uid in count.lost]))
        return count


class _Sender(threading.Thread):
    """A modality: it sends an image again until somebody says that it is stored."""

    def __init__(self, number: int, cluster: Cluster, attack: Attack) -> None:
        super().__init__(daemon=True)
        self._images = make_small_study(f"chaos {attack.seed} {number}")
        for ds in self._images:
            ds.ImagesInAcquisition = len(self._images) // 4
        self._port = cluster.settings.node.dicom_port
        self._rng = random.Random(attack.seed + number)  # noqa: S311 - the same plan every time
        self._delay_s = number * 0.5
        self.study_uid = str(self._images[0].StudyInstanceUID)

    def run(self) -> None:
        time.sleep(self._delay_s)
        left: list[Dataset] = list(self._images)
        self._rng.shuffle(left)
        while left:
            try:
                statuses = store([instance_of(ds) for ds in left], self._port)
                left = [ds for ds, status in zip(left, statuses, strict=True) if status != 0x0000]
            except (ConnectionError, OSError, RuntimeError):
                pass  # no listener at the moment
            if left:
                time.sleep(PAUSE_S)


class _Attacker:
    """Does what the plan says, in the order that its seed gives."""

    def __init__(
        self,
        attack: Attack,
        cluster: Cluster,
        orthanc: OrthancProcess,
        postgres: Postgres | None,
        tell: Callable[[str], None],
    ) -> None:
        self._attack, self._cluster, self._orthanc, self._postgres, self._tell = (
            attack,
            cluster,
            orthanc,
            postgres,
            tell,
        )
        self._rng = random.Random(attack.seed)  # noqa: S311 - the same plan every time

    def run(self, disk: Path, count: Count) -> None:
        special: list[Callable[[], None]] = [self._pacs_down, lambda: self._disk_full(disk)]
        if self._postgres is not None:
            special += [self._database_crash] * self._attack.database_stops
        moments = sorted(self._rng.sample(range(1, self._attack.kills), k=min(len(special), self._attack.kills - 1)))
        self._rng.shuffle(special)
        for number in range(self._attack.kills):
            if number in moments:
                special[moments.index(number)]()
            time.sleep(self._rng.uniform(0.5, 4.0))
            kind = ("listen", "work", "web")[number % 3]
            self._kill(self._rng.choice([one for one in self._cluster.processes if one.startswith(kind)]))
            count.kills[kind] += 1

    def _kill(self, name: str) -> None:
        self._tell(f"kill -9 {name}")
        self._cluster.kill_hard(name)
        time.sleep(self._rng.uniform(0.0, 1.0))
        self._cluster.start(name)
        for ended in [one for one, process in self._cluster.processes.items() if process.poll() is not None]:
            self._tell(f"{ended} had ended by itself and is started again")  # as a service manager does
            self._cluster.start(ended)

    def _pacs_down(self) -> None:
        down_s, refusing_s = self._attack.down_s, self._attack.refusing_s
        self._tell(f"Orthanc is down for {down_s:g} s, then its port answers 0xA700 for {refusing_s:g} s")
        self._orthanc.stop()
        time.sleep(down_s)
        with running_pacs("ORTHANC", port=self._orthanc.orthanc.dicom_port) as refusing:
            refusing.answer = 0xA700
            time.sleep(refusing_s)
        self._orthanc.start()

    def _database_crash(self) -> None:
        self._tell("PostgreSQL is stopped hard")
        if self._postgres is not None:
            self._postgres.stop(hard=True)
            time.sleep(2.0)
            self._postgres.start()

    def _disk_full(self, disk: Path) -> None:
        self._tell(f"the disk is full for {self._attack.disk_full_s:g} s")
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(2**20))
        time.sleep(self._attack.disk_full_s)
        filler.unlink()


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path]:
    """Mount a small file system in memory for the node's folder."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)


def _orthanc(folder: Path) -> OrthancProcess:
    """Return an Orthanc that writes down every instance that it is sent, also one that it holds already."""
    script = folder / "received.lua"
    script.write_text(
        "function ReceivedInstanceFilter(dicom, origin)\n"
        f"  local file = io.open('{folder / 'received.txt'}', 'a')\n"
        "  file:write(dicom['SOPInstanceUID'] .. '\\n')\n  file:close()\n  return true\nend\n"
    )
    peers = {"GLIONODE": ("127.0.0.1", 1)}
    return OrthancProcess(folder / "orthanc", peers, {"LuaScripts": [str(script)]})


def _wait(cluster: Cluster, study_uids: Sequence[str], deadline_s: float) -> None:
    """Wait until every study is delivered, or has ended otherwise for so long that nothing more will come of it.

    A sender that was shut out for half a minute finds its study given up; what it sends then makes a run of its own.
    """
    deadline, ended_at = time.monotonic() + deadline_s, None
    while True:
        found = cluster.studies()
        states = Counter(found[uid].state if uid in found else "unknown" for uid in study_uids)
        if set(states) == {"delivered"}:
            return
        if not set(states) <= set(ENDED):
            ended_at = None
        elif ended_at is None:
            ended_at = time.monotonic()
        elif time.monotonic() - ended_at > SETTLED_S:
            return
        if time.monotonic() > deadline:
            raise cluster.failure(f"after {deadline_s:g} s the studies are {dict(states)}")
        time.sleep(1.0)


def _count(cluster: Cluster, orthanc: Orthanc, study_uids: Sequence[str], received: Path, count: Count) -> None:
    """Hold what Orthanc has against what was encoded, and what it was sent against what the books know."""
    sent = Counter(received.read_text(encoding="ascii").split()) if received.exists() else Counter()
    with cluster.database.session() as session:
        for study_uid in study_uids:
            delivered = sa.select(ResultRow).join(RunRow, RunRow.run_id == ResultRow.run_id)
            rows = session.scalars(
                delivered.where(ResultRow.study_uid == study_uid, RunRow.state == RunState.DELIVERED)
            ).all()
            held = Counter(str(one["SOPInstanceUID"]) for one in orthanc.instances(study_uid))
            whole = bool(rows) and all(_is_whole(cluster, orthanc, row) for row in rows)
            count.delivered += whole
            if not whole:
                count.lost.append(study_uid)
            count.duplicated += [uid for uid, number in held.items() if number > 1]
            for row in rows:
                attempts = sa.select(DeliveryRow.attempts).where(DeliveryRow.sop_instance_uid == row.sop_instance_uid)
                known = session.scalars(attempts).one()
                count.sent_again += max(0, sent[row.sop_instance_uid] - 1)
                if sent[row.sop_instance_uid] > known:
                    count.duplicated.append(row.sop_instance_uid)


def _is_whole(cluster: Cluster, orthanc: Orthanc, row: ResultRow) -> bool:
    """Tell whether Orthanc holds an object with the bytes that were encoded, the file meta group aside."""
    wanted = {"Level": "Instance", "Query": {"SOPInstanceUID": row.sop_instance_uid}}
    ids = httpx.post(f"{orthanc.url}/tools/find", json=wanted, timeout=60).raise_for_status().json()
    if len(ids) != 1:
        return False
    content = httpx.get(f"{orthanc.url}/instances/{ids[0]}/file", timeout=60).raise_for_status().content
    encoded = (cluster.settings.node.folder / row.path).read_bytes()
    return _data_set_hash(content, cluster) == _data_set_hash(encoded, cluster)


def _data_set_hash(content: bytes, cluster: Cluster) -> str:
    path = cluster.settings.node.folder.parent / "compared.dcm"
    path.write_bytes(content)
    _, offset = split_dataset(path)
    return hashlib.sha256(content[offset:]).hexdigest()
