"""A listener in a process of its own that is attacked PDU by PDU, while a sender sends it a study; and what is left."""

import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from dicom_node.database.engine import open_database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import read_settings
from tests.support.listener_process import listening
from tests.support.pacs import echo, instance_of, store
from tests.support.pdu_fuzz import acknowledged, make_attack, speak
from tests.support.small_study import make_small_study

__all__ = ["Outcome", "attack", "is_held", "speak_all"]

ATTACKERS = 16
WARM_UP = 300
"""Until then a process that is attacked grows to its size: with 6,000 attacks it stayed there."""
SETTLE_S = 30.0
POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an attack left.

    Attributes
    ----------
    leaked
        Threads and sockets more than before, by kind.
    grown_mib
        Resident memory more than before.
    false_thanks
        Answers 0x0000 without the sent bytes in the books and in a file.
    study_statuses
        Of the images of the real study.
    noise
        Lines of the log that tell of an error that nobody foresaw.
    """

    attacks: int
    thanks: int
    false_thanks: int
    study_statuses: tuple[int | None, ...]
    study_held: bool
    leaked: dict[str, int]
    grown_mib: float
    noise: tuple[str, ...]


def attack(folder: Path, count: int, seed: int, tell: Callable[[str], None] = lambda _sentence: None) -> Outcome:
    """Attack a listener with associations that are wrong, and see what became of it."""
    environment = {
        "GLIONODE_NODE_FOLDER": str(folder / "node"),
        "GLIONODE_NODE_DICOM_PORT": "0",
        "GLIONODE_LISTENER_ASSOCIATION_TIMEOUT_S": "3",
        "GLIONODE_LISTENER_NETWORK_TIMEOUT_S": "6",
    }
    settings = read_settings(environment=environment)
    database = open_database(settings.database_url)
    put_peer(database, Peer(name="Sender", ae_title="SENDER"))
    put_peer(database, Peer(name="Scanner", ae_title="SCANNER"))
    try:
        with listening(folder, environment) as (process, port):
            pid = process.pid
            thanks = speak_all(port, WARM_UP, seed + 1, tell)
            before, memory = _settled(pid, None), _memory_mib(pid)
            study = [instance_of(ds) for ds in make_small_study("real", roles=["T1", "T1CE", "T2", "FLAIR"])]
            sent: list[int | None] = []
            sender = threading.Thread(target=lambda: sent.extend(store(study, port, "SCANNER")))
            sender.start()
            thanks += speak_all(port, count, seed, tell)
            sender.join()
            after = _settled(pid, before)
            grown = _memory_mib(pid) - memory
            assert echo(port)
            assert process.poll() is None
        with database.session() as session:
            rows = {row.sha256: (row.sop_instance_uid, row.path) for row in session.scalars(sa.select(InstanceRow))}
        held = {uid for uid, _ in rows.values()}
        return Outcome(
            attacks=count,
            thanks=len(thanks),
            false_thanks=sum(not any(is_held(settings.node.folder, rows, one) for one in each) for each in thanks),
            study_statuses=tuple(sent),
            study_held=held >= {one.sop_instance_uid for one in study},
            leaked={kind: after[kind] - before[kind] for kind in before},
            grown_mib=grown,
            noise=_noise(folder),
        )
    finally:
        database.engine.dispose()


def speak_all(port: int, count: int, seed: int, tell: Callable[[str], None]) -> list[set[str]]:
    """Attack from several threads; return the SHA-256 sums that each answer of success may speak of."""

    def one(number: int) -> list[set[str]]:
        rng = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable on purpose
        image = make_small_study("attack", roles=["FLAIR"])[0]
        if number % 1000 == 0:
            tell(f"attack {number}")
        return acknowledged(speak(port, make_attack(rng, image, seed * 10**7 + number)))

    with ThreadPoolExecutor(ATTACKERS) as pool:
        return [each for found in pool.map(one, range(count)) for each in found]


def _settled(pid: int, wanted: dict[str, int] | None) -> dict[str, int]:
    """Wait until the process has no more of anything than wanted, or, not knowing that, as little as it ever has."""
    deadline, least = time.monotonic() + (SETTLE_S if wanted else 5.0), _counts(pid)
    while time.monotonic() < deadline:
        now = _counts(pid)
        least = {kind: min(least[kind], now[kind]) for kind in now}
        if wanted and all(now[kind] <= wanted[kind] for kind in now):
            return now
        time.sleep(POLL_S)
    return least if wanted is None else _counts(pid)


def _counts(pid: int) -> dict[str, int]:
    sockets = 0
    for entry in Path("/proc", str(pid), "fd").iterdir():
        try:
            sockets += entry.readlink().name.startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return {"threads": len(list(Path("/proc", str(pid), "task").iterdir())), "sockets": sockets}


def _memory_mib(pid: int) -> float:
    status = Path("/proc", str(pid), "status").read_text("ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def is_held(folder: Path, rows: dict[str, tuple[str, str]], sha256: str) -> bool:
    """Tell whether bytes of a SHA-256 sum are in the books, by UID and path, and in a file."""
    return sha256 in rows and (folder / rows[sha256][1]).is_file()


def _noise(folder: Path) -> tuple[str, ...]:
    log = (folder / "stderr.jsonl").read_text("utf-8").splitlines()
    return tuple(line for line in log if '"level": "error"' in line or not line.startswith("{"))
