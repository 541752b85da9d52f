"""On the way of an image through the node nothing is promised that a power cut could take: by its system calls."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.database.engine import open_database
from dicom_node.peers.registry import put_peer
from dicom_node.reception.incoming import GATHERED_BYTES
from dicom_node.settings import Settings, read_settings
from tests.support.node import SENDER
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study
from tests.support.system_calls import Call, Volatile, read_calls, under_strace

pytestmark = pytest.mark.strace

LISTENER = """
import sys
import dicom_node.reception.journal
from dicom_node.database.engine import open_database
from dicom_node.reception.listener import Listener
from dicom_node.logs import configure_logs
from dicom_node.settings import read_settings

dicom_node.reception.journal.ADOPT_S = 0.2
configure_logs("listen", speaks=True)
settings = read_settings()
listener = Listener(settings, open_database(settings.database_url))
listener.start()
sys.stdin.read()
listener.stop()
"""
"""A listener that voids what is filed soon after it, and ends with its input."""

SUCCESS = b"\0\0\0\x09\x02\0\0\0\0\0"
"""The element Status of a response, 0x0000."""

DEADLINE_S = 60.0


@dataclass(kw_only=True)
class _Way:
    """Follows the images of a trace, in the order in which they were sent, and notes each promise made too early.

    Attributes
    ----------
    large
        Of those the journal holds no more than that they lie at their place.
    """

    folder: Path
    uids: list[str]
    large: Collection[str] = ()
    volatile: Volatile = field(default_factory=Volatile)
    records: dict[str, Path] = field(default_factory=dict)
    filed: dict[str, Path] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    booked: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def follow(self, calls: list[Call]) -> None:
        """Look at each call when it begins, and go on when it is done."""
        moments = [(call.begun, 0, call) for call in calls] + [(call.done, 1, call) for call in calls]
        for _, done, call in sorted(moments, key=lambda one: one[:2]):
            if done:
                self._go_on(call)
                self.volatile.see(call)
            else:
                self._look(call)

    def _look(self, call: Call) -> None:
        if call.name == "sendto" and call.content.startswith(b"\x04") and SUCCESS in call.content:
            for uid in self._named(call, self.answered):
                self._expect_kept(uid)
                self.answered.add(uid)
        elif call.on.endswith("glionode.sqlite-wal") and not call.failed:
            for uid in self._named(call, self.rows):
                self._expect(uid in self.filed, f"a row for {uid} before its file")
                self._expect_safe(self.filed.get(uid), "a row")
        elif call.name.startswith("rename") and call.paths[1].suffix in (".journal", ".json", ".npz"):
            self._expect(call.paths[0] not in self.volatile.contents, f"{call.paths[1].name} named before it is whole")
        elif call.name == "unlink" and call.paths[0].suffix == ".journal":
            self._expect(call.paths[0] not in self.volatile.contents, "a journal is void, but not on the disk")
            self._expect_booked(call.paths[0])
        elif call.on.endswith(".journal") and call.content.startswith(b"GLIOJRNL"):
            self._expect_booked(Path(call.on))

    def _go_on(self, call: Call) -> None:
        if call.name.startswith("pwritev") and call.content.startswith(b"GLIOENTR"):
            self.records |= dict.fromkeys(self._named(call, self.records), Path(call.on))
        elif call.name.startswith("rename"):
            new = call.paths[1]
            self.filed |= {uid: new for uid in self.uids if new.name.startswith(f"{uid}.") and new.suffix == ".dcm"}
        elif call.on.endswith("glionode.sqlite-wal") and call.name.startswith("pwrite"):
            self.rows |= dict.fromkeys(self._named(call, self.rows), call.done)
        elif call.name in ("fsync", "fdatasync") and not call.failed and call.on.endswith("glionode.sqlite-wal"):
            self.booked |= {uid for uid, since in self.rows.items() if since < call.begun}

    def _named(self, call: Call, known: Collection[str]) -> list[str]:
        return [uid for uid in self.uids if uid not in known and uid.encode() in call.content]

    def _expect_kept(self, uid: str) -> None:
        self._expect_safe(self.records.get(uid), "0x0000")
        if uid in self.large:
            self._expect_safe(self.filed.get(uid), "0x0000")

    def _expect_booked(self, journal: Path) -> None:
        for uid in [uid for uid, path in self.records.items() if path == journal]:
            self._expect(uid in self.booked, f"the journal's record of {uid} is void before its row is on the disk")

    def _expect_safe(self, path: Path | None, promise: str) -> None:
        lost = self.volatile.of(path, self.folder.parent) if path is not None else "the whole file"
        self._expect(not lost, f"{promise} although a power cut would take {lost}")

    def _expect(self, kept: bool, fault: str) -> None:  # noqa: FBT001 - reads as a sentence
        if not kept and fault not in self.faults:
            self.faults.append(fault)


@contextmanager
def _traced_listener(folder: Path, *options: str) -> Iterator[tuple[int, Path]]:
    """Run a listener under strace on a folder that does not exist yet; give its port and the trace."""
    settings = read_settings(environment=_environment(folder))
    trace, log = folder.parent / "trace", folder.parent / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            under_strace(trace, [sys.executable, "-c", LISTENER], *options),
            env={**os.environ, **_environment(folder)},
            stdin=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    try:
        port = _port_of(log, process)
        _let_in(settings)
        yield port, trace
    finally:
        process.stdin.close()
        process.wait(DEADLINE_S)


def _environment(folder: Path) -> dict[str, str]:
    return {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0", "GLIONODE_LISTENER_PROCESSES": "1"}


def _let_in(settings: Settings) -> None:
    database = open_database(settings.database_url)
    put_peer(database, SENDER)
    database.engine.dispose()


def _port_of(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and json.loads(line)["event"] == "listening":
                return int(json.loads(line)["port"])
        time.sleep(0.02)
    message = f"the listener did not start:\n{log.read_text(encoding='utf-8')}"
    raise AssertionError(message)


def _wait_for(trace: Path, text: str, times: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while trace.read_text(encoding="latin-1").count(text) < times:
        assert time.monotonic() < deadline, f"waited for {text}"
        time.sleep(0.05)


def _images() -> list[Dataset]:
    images = make_small_study("sync order", roles=["FLAIR"])[:4]
    large = images[-1]  # what is synced on its way would cover for what is not on the way of the others
    large.Rows, large.Columns = 4096, GATHERED_BYTES // 2 // 4096 + 1
    large.PixelData = bytes(2 * large.Rows * large.Columns)
    return images


def test_no_promise_of_the_listener_comes_before_its_sync(tmp_path: Path) -> None:
    """Four images, of which the last is too large to be gathered; then the journal is voided, and taken away."""
    folder, images = tmp_path / "above" / "node", _images()
    (tmp_path / "above").mkdir()
    with _traced_listener(folder) as (port, trace):
        assert store([instance_of(ds) for ds in images], port) == [0x0000] * 4
        _wait_for(trace, '"GLIOJRNL', 2)
    uids = [str(ds.SOPInstanceUID) for ds in images]
    way = _Way(folder=folder, uids=uids, large=uids[-1:])
    way.follow(read_calls(trace))
    assert way.faults == []
    assert (len(way.answered), len(way.records), len(way.filed), len(way.booked)) == (4, 4, 4, 4)


FILING = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.database.engine import open_database
from dicom_node.reception.inbox import Inbox

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
inbox = Inbox(open_database(f"sqlite:///{folder / 'glionode.sqlite'}"), folder)
arrivals = [
    ArrivedInstance(
        sop_instance_uid=f"1.2.826.{number}", study_uid="1.2", series_uid="1.3", sop_class_uid="1.4",
        transfer_syntax_uid="1.5", patient_key="p", sha256=f"{number:064x}", calling_ae="A", association_id="",
        received_at=datetime(2026, 1, 5, 8, tzinfo=UTC), content=bytes(size),
    )
    for number, size in ((111, 1000), (222, 1000), (333, 4_000_000))
]
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    inbox.file(arrivals)
except OSError:
    print("failed")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
inbox.file(arrivals)
"""
"""Files three instances, the last of which at first is larger than any file may be; then again."""


@pytest.mark.parametrize(
    ("limit", "options"),
    [
        pytest.param(2_000_000, (), id="the third file finds no room"),
        pytest.param(0, ("-e", "inject=syncfs:error=EIO:when=1"), id="the disk fails at the sync"),
    ],
)
def test_a_second_try_trusts_nothing_of_the_first(tmp_path: Path, limit: int, options: tuple[str, ...]) -> None:
    folder, trace = tmp_path / "node", tmp_path / "trace"
    command = under_strace(trace, [sys.executable, "-c", FILING, str(folder), str(limit)], *options)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "failed\n"
    way = _Way(folder=folder, uids=["1.2.826.111", "1.2.826.222", "1.2.826.333"])
    way.follow(read_calls(trace))
    assert way.faults == []
    assert way.booked == set(way.uids)


KEEPING = """
import sys
from pathlib import Path
from dicom_node.runs.artifacts import Artifacts

Artifacts(Path(sys.argv[1]), "run").save_rules([])
"""


def test_what_a_step_leaves_for_the_next_is_whole_and_stays(tmp_path: Path) -> None:
    folder, trace = tmp_path / "node", tmp_path / "trace"
    subprocess.run(under_strace(trace, [sys.executable, "-c", KEEPING, str(folder)]), check=True)
    way = _Way(folder=folder, uids=[])
    way.follow(read_calls(trace))
    (kept,) = (folder / "work" / "run").iterdir()
    assert (way.faults, way.volatile.of(kept, tmp_path)) == ([], "")


FETCHING = """
import io, sys
from pathlib import Path
from dicom_node.database.engine import open_database
from dicom_node.reception.inbox import Inbox
from tests.support.small_study import make_small_study

folder, buffer = Path(sys.argv[1]), io.BytesIO()
image = make_small_study("sync order", roles=["FLAIR"])[0]
image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.826.444"
image.save_as(buffer, enforce_file_format=True)
inbox = Inbox(open_database(f"sqlite:///{folder / 'glionode.sqlite'}"), folder)
inbox.receive(buffer.getvalue(), buffer.getvalue(), "SOURCE", "1.2.826.444")
"""
"""Takes one instance as a fetch does, without a journal."""

RESULTS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.runs.durable import DurableRun
from dicom_node.runs.segmenters import Segmenters
from dicom_node.database.tables import RunRow, StudyRow
from viewer_integration.result import ResultObject, ResultObjects

settings = read_settings(environment={"GLIONODE_NODE_FOLDER": sys.argv[1]})
database = open_database(settings.database_url)
with database.session() as session:
    session.add(StudyRow(study_uid="1.2", key="k"))
    session.flush()
    run = RunRow(run_id="run", study_uid="1.2", revision=1, manifest_sha256="m")
    run.ready_at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    session.add(run)
made = ResultObject(
    kind="1.2.826.444", sop_class_uid="1.4", sop_instance_uid="1.2.826.444", series_uid="1.3", content=b"a result"
)
DurableRun("run", settings, database, Segmenters(settings)).encoded({"": ResultObjects(objects=(made,), decisions=())})
"""
"""Keeps a result as the step encode does; the file is named by its kind, which here is its UID."""


@pytest.mark.parametrize("program", [FETCHING, RESULTS], ids=["what is fetched", "what is sent"])
def test_no_row_is_there_before_its_file(tmp_path: Path, program: str) -> None:
    folder, trace = tmp_path / "node", tmp_path / "trace"
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = under_strace(trace, [sys.executable, "-c", program, str(folder)])
    subprocess.run(command, check=True, env={**os.environ, **here}, capture_output=True)
    way = _Way(folder=folder, uids=["1.2.826.444"])
    way.follow(read_calls(trace))
    assert way.faults == []
    assert (set(way.filed), way.booked) == (set(way.uids), set(way.uids))
