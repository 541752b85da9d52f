"""Measures how fast the node (durable), Orthanc and DCMTK's storescp, which syncs nothing, receive instances.

The sender is always DCMTK's storescu with TCP_NODELAY=1, over 1, 4 and 16 simultaneous associations, in one run on one
disk. Writes ``benchmarks/ingest.md``.
"""

import argparse
import contextlib
import functools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from tests.support.cluster import running_cluster
from tests.support.node import SENDER
from tests.support.orthanc import free_port, running_orthanc
from tests.support.pacs import echo
from tests.support.small_study import make_small_study, uid_of

ASSOCIATIONS = (1, 4, 16)
SIDE = 256
TABLE = Path(__file__).with_suffix(".md")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A storage SCP."""

    name: str
    ae_title: str
    port: int


# A function that starts a server with its files below a folder.
Open = Callable[[Path], contextlib.AbstractContextManager[Server]]


def make_files(folder: Path, groups: int, each: int, side: int = SIDE) -> list[Path]:
    """Write groups of square MR images. Each group is one series in a separate study."""
    like = make_small_study("ingest", roles=["FLAIR"])[0]
    pixels = np.random.default_rng(0).integers(0, 4096, (side, side), np.uint16).tobytes()
    like.Rows, like.Columns, like.PixelData = side, side, pixels
    for group in range(groups):
        place = folder / str(group)
        place.mkdir(parents=True)
        like.StudyInstanceUID, like.SeriesInstanceUID = (
            uid_of(str(folder), str(group)),
            uid_of(str(folder), str(group), "s"),
        )
        for k in range(each):
            like.SOPInstanceUID = like.file_meta.MediaStorageSOPInstanceUID = uid_of(str(folder), str(group), str(k))
            like.InstanceNumber = k + 1
            pydicom.dcmwrite(place / f"{k:05d}.dcm", like, enforce_file_format=True)
    return [folder / str(group) for group in range(groups)]


def send(groups: Sequence[Path], server: Server) -> float:
    """Send all groups at once, each over a separate association. Return the duration in seconds."""
    begun = time.perf_counter()
    command = ["/usr/bin/storescu", "+sd", "-aet", "SENDER", "-aec", server.ae_title, "127.0.0.1", str(server.port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    senders = [subprocess.Popen([*command, str(group)], env=environment) for group in groups]  # noqa: S603
    failed = sum(sender.wait() != 0 for sender in senders)
    if failed:
        message = f"{failed} of {len(groups)} senders could not send to {server.name}"
        raise RuntimeError(message)
    return time.perf_counter() - begun


@contextlib.contextmanager
def storescp(folder: Path) -> Iterator[Server]:
    """Run DCMTK's storescp with one process per association."""
    folder.mkdir(parents=True)
    port = free_port()
    command = ["/usr/bin/storescp", "--fork", "-aet", "STORESCP", "-od", str(folder), "-uf", str(port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603
    try:
        while not echo(port, called_ae="STORESCP"):
            time.sleep(0.1)
        yield Server(name="DCMTK storescp (no fsync)", ae_title="STORESCP", port=port)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def node(folder: Path, listeners: int) -> Iterator[Server]:
    """Run only the node's listeners, all on one port."""
    url = f"sqlite:///{folder / 'node' / 'glionode.sqlite'}"
    more = {"GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS": "100"}
    names = [f"listen-{number}" for number in range(listeners)]
    with running_cluster(folder, url, names, [SENDER], more) as cluster:
        plural = f"{listeners} processes" if listeners > 1 else "1 process"
        yield Server(name=f"GlioNode, {plural} (fsync)", ae_title="GLIONODE", port=cluster.settings.node.dicom_port)


def measure(open_server: Open, instances: int, place: Path) -> tuple[str, list[float]]:
    """Return a server's name and its rates in instances per second, by number of associations."""
    rates = []
    with open_server(place / "server") as server:
        for number in ASSOCIATIONS:
            groups = make_files(place / f"files {number}", number, instances // number)
            rates.append(instances // number * number / send(groups, server))
            shutil.rmtree(place / f"files {number}")
            sys.stderr.write(f"{server.name}, {number} associations: {rates[-1]:.0f} per second\n")
        return server.name, rates


@contextlib.contextmanager
def orthanc(folder: Path, *, at_once: bool = False) -> Iterator[Server]:
    """Run Orthanc with its defaults, or with TCP_NODELAY=1, which its copy of DCMTK respects."""
    kept = os.environ.pop("TCP_NODELAY", None)
    if at_once:
        os.environ["TCP_NODELAY"] = "1"
    try:
        with running_orthanc(folder, {"SENDER": ("127.0.0.1", 1)}) as running:
            name = "Orthanc 1.10.1, TCP_NODELAY=1" if at_once else "Orthanc 1.10.1, its defaults"
            yield Server(name=name, ae_title="ORTHANC", port=running.dicom_port)
    finally:
        os.environ.pop("TCP_NODELAY", None)
        if kept is not None:
            os.environ["TCP_NODELAY"] = kept


def waits(folder: Path, repeats: int = 100) -> dict[str, float]:
    """Return the cost of one sync to the disk in ms, for each kind of sync that receiving can need."""
    content, existing = os.urandom(SIDE * SIDE * 2), folder / "existing"
    existing.write_bytes(bytes(len(content)))
    database = sqlite3.connect(folder / "database.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE kept (text TEXT)")

    def overwrite(_number: int) -> None:
        with existing.open("r+b", buffering=0) as file:
            file.write(content)
            os.fdatasync(file.fileno())

    def new_file(number: int) -> None:
        with (folder / str(number)).open("xb", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())

    def new_entry(number: int) -> None:
        (folder / f"entry {number}").touch()
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def commit(_number: int) -> None:
        database.execute("INSERT INTO kept VALUES (?)", ("x" * 300,))

    kinds = {
        "overwriting an existing file": overwrite,
        "a new file": new_file,
        "its folder": new_entry,
        "a commit of the database (SQLite)": commit,
    }
    overwrite(0)
    costs = {}
    for name, work in kinds.items():
        begun = time.perf_counter()
        for number in range(repeats):
            work(number)
        costs[name] = 1000 * (time.perf_counter() - begun) / repeats
    database.close()
    return costs


def table(rates: dict[str, list[float]], size_kb: float, costs: dict[str, float]) -> str:
    """Return the page."""
    orthanc_rates = next(values for name, values in rates.items() if name.startswith("Orthanc"))
    storescp_rates = next(values for name, values in rates.items() if name.startswith("DCMTK"))
    head = " | ".join(f"{number} association{'s' if number > 1 else ''}" for number in ASSOCIATIONS)
    lines = [
        "# Ingest",
        "",
        f"Instances per second ({size_kb:.0f} kB each), sent by DCMTK's storescu with TCP_NODELAY=1, in one run on",
        f"one disk and {os.cpu_count()} CPU cores. Made by `python -m benchmarks.ingest`. In brackets: the rate as a",
        "multiple of that of Orthanc with its defaults, and as a share of storescp's.",
        "",
        f"| receiver | {head} |",
        "|---|" + "---|" * len(ASSOCIATIONS),
    ]
    for name, values in rates.items():
        cells = [
            f"{v:.0f} ({v / o:.1f}, {v / s:.2f})" for v, o, s in zip(values, orthanc_rates, storescp_rates, strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    syncs = "; ".join(f"{name} {cost:.1f} ms" for name, cost in costs.items())
    lines += ["", f"One sync to the disk, in the same run: {syncs}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=480)
    parser.add_argument("--folder", type=Path, help="Folder on the disk to measure; by default the temporary folder.")
    arguments = parser.parse_args()
    servers: list[Open] = [orthanc, functools.partial(orthanc, at_once=True), storescp]
    servers += [functools.partial(node, listeners=listeners) for listeners in (1, 2)]
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="glionode-ingest-") as folder:
        for number, one in enumerate(servers):
            name, values = measure(one, arguments.instances, Path(folder, str(number)))
            rates[name] = values
        Path(folder, "waits").mkdir()
        costs = waits(Path(folder, "waits"))
    page = table(rates, SIDE * SIDE * 2 / 1000, costs)
    kept = TABLE.read_text(encoding="utf-8").partition("\n## ")[2] if TABLE.exists() else ""
    TABLE.write_text(page + (f"\n## {kept}" if kept else ""), encoding="utf-8")
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
