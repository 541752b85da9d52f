"""Measures the resources of a listener after 10,000 associations and 100,000 instances: sockets, threads, memory, rate.

Half of the associations are aborted, broken off or fall silent. The others send a C-ECHO. The instances are sent in
rounds, so that growth would show. Writes its part of ``benchmarks/ingest.md``.
"""

import argparse
import contextlib
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest import TABLE, Server, make_files, send
from tests.support.cluster import running_cluster
from tests.support.node import SENDER
from tests.support.pacs import VERIFICATION, association

HEADING = "## Resources after sustained load"
SETTLE_S = 20.0
CALLERS = 32
IDLE_LIMIT_S = 5
SMALL = 64
"""Rows and columns of the images, so that 100,000 of them fit on a disk."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """The resources that a process holds."""

    memory_mib: float
    threads: int
    sockets: int
    files: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """Return the resources that a process holds now."""
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        status = {
            line.partition(":")[0]: line.split()[1] for line in lines if line.count(":") and len(line.split()) > 1
        }
        open_now = []
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                open_now.append(str(one.readlink()))
        sockets = sum(name.startswith("socket:") for name in open_now)
        return cls(
            memory_mib=int(status["VmRSS"]) / 1024,
            threads=int(status["Threads"]),
            sockets=sockets,
            files=len(open_now) - sockets,
        )


def associate(port: int, number: int) -> None:
    """Open an association, or only a connection, and end it as some senders do."""
    if number % 8 == 0:  # a load balancer's health check: a connection without any data
        with socket.create_connection(("127.0.0.1", port), timeout=30):
            return
    if number % 8 == 1:  # a connection that stops in the middle of a request, until the listener closes it
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            line.sendall(bytes([1, 0, 0, 0, 1, 0]))
            while line.recv(1024):
                pass
            return
    with contextlib.suppress(ConnectionRefusedError), association([(VERIFICATION, "1.2.840.10008.1.2")], port) as assoc:
        if number % 8 == 2:
            assoc.abort()
        elif number % 8 == 3:  # silent, until the listener closes it
            while assoc.is_established:
                time.sleep(0.1)
        else:
            assoc.send_c_echo()


def rounds_of_instances(server: Server, pid: int, rounds: int, each: int, place: Path) -> list[tuple[float, Footprint]]:
    """Send the rounds one after the other. Return the rate of each, and the listener's resources after it."""
    measured = []
    for number in range(rounds):
        groups = make_files(place / str(number), 4, each // 4, SMALL)
        seconds = send(groups, server)
        shutil.rmtree(place / str(number))
        measured.append((each / seconds, Footprint.of(pid)))
        sys.stderr.write(f"round {number + 1}: {measured[-1][0]:.0f} per second, {measured[-1][1]}\n")
    return measured


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--associations", type=int, default=10_000)
    parser.add_argument("--instances", type=int, default=100_000)
    arguments = parser.parse_args()
    order = list(range(arguments.associations))
    random.Random(0).shuffle(order)  # noqa: S311 - the same order every time
    with tempfile.TemporaryDirectory(prefix="glionode-endurance-") as folder:
        url = f"sqlite:///{folder}/node/glionode.sqlite"
        limits = {
            "GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS": "100",
            "GLIONODE_LISTENER_ASSOCIATION_TIMEOUT_S": str(IDLE_LIMIT_S),
            "GLIONODE_LISTENER_NETWORK_TIMEOUT_S": str(IDLE_LIMIT_S),
        }
        with running_cluster(Path(folder), url, ["listen-0"], [SENDER], limits) as cluster:
            pid, port = cluster.processes["listen-0"].pid, cluster.settings.node.dicom_port
            before = Footprint.of(pid)
            begun = time.perf_counter()
            with ThreadPoolExecutor(CALLERS) as pool:
                list(pool.map(lambda number: associate(port, number), order))
            seconds = time.perf_counter() - begun
            time.sleep(SETTLE_S)
            after = Footprint.of(pid)
            sys.stderr.write(f"{before}\n{after}\n")
            server = Server(name="node", ae_title="GLIONODE", port=port)
            rounds = max(4, arguments.instances // 5000)
            measured = rounds_of_instances(server, pid, rounds, arguments.instances // rounds, Path(folder, "files"))
    _write(before, after, seconds, arguments.associations, measured, arguments.instances)


def _write(
    before: Footprint,
    after: Footprint,
    seconds: float,
    associations: int,
    measured: list[tuple[float, Footprint]],
    instances: int,
) -> None:
    third = max(1, len(measured) // 3)
    early, late = measured[:third], measured[-third:]
    lines = [
        HEADING,
        "",
        f"One listener. Made by `python -m benchmarks.endurance`. First {associations:,} associations in",
        f"{seconds:.0f} s: half of them are aborted, broken off or silent until the listener closes them.",
        f"The resources are read {SETTLE_S:g} s later. Then {instances:,} instances of 8 kB each. Sockets: the",
        "listening socket. Files: the journal, and the files that the pool of database connections keeps open.",
        "",
        "| | threads | sockets | files | memory (MiB) | instances per second |",
        "|---|---|---|---|---|---|",
        f"| before | {before.threads} | {before.sockets} | {before.files} | {before.memory_mib:.0f} | |",
        f"| after the associations | {after.threads} | {after.sockets} | {after.files} | {after.memory_mib:.0f} | |",
        _row("first third of the instances", early),
        _row("last third of the instances", late),
    ]
    kept = TABLE.read_text(encoding="utf-8").partition(f"\n{HEADING}")[0].rstrip()
    TABLE.write_text(kept + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


def _row(name: str, measured: list[tuple[float, Footprint]]) -> str:
    most = [max(getattr(one, what) for _, one in measured) for what in ("threads", "sockets", "files")]
    memory = statistics.median(one.memory_mib for _, one in measured)
    rate = statistics.median(rate for rate, _ in measured)
    return f"| {name} | {' | '.join(map(str, most))} | {memory:.0f} | {rate:.0f} |"


if __name__ == "__main__":
    main()
