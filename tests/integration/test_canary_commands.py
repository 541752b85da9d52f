"""Commands that fail, on files of a patient and among peers that name one: what is logged holds nothing of that.

A person at the terminal is told what is wrong with a file, and what a peer said; that alone may be quoted, there alone.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pydicom.config
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, RefusalRow, StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import read_settings
from tests.support.canary import AE_TITLE, CANARIES, TEXT, leaks, mark
from tests.support.faults import Faults
from tests.support.held_study import hold_small_study
from tests.support.raw_values import put_raw, reread
from tests.support.small_study import make_small_study, uid_of
from tests.support.spiteful_scp import SpitefulScp, running_spiteful_scp
from tests.support.web_source import serving_web

LATIN = TEXT.encode("latin-1")
COMMENT = f"{CANARIES['PatientName']} {CANARIES['PatientID']}"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
AT_TERMINAL = {
    "a position that cannot be read",
    "a refusal",
    "an Orthanc that is none",
    "a status",
    "a status as JSON",
}
"""Where a person is told what stands in the file, what a peer said, and who knocked."""


class Desk:
    """A folder of files, a node's folder, and peers, for commands as processes of their own."""

    def __init__(self, folder: Path, port: int, web: str) -> None:
        self.folder, self.port, self.web = folder, port, web
        self.faults = Faults(folder / "faults", ".dcm")
        self.environment = self.faults.environment | {"GLIONODE_NODE_FOLDER": str(folder / "node")}
        self.settings = read_settings(environment=self.environment)
        self.database: Database = open_database(self.settings.database_url)

    def run(self, *arguments: str) -> tuple[int, str, str, list[str]]:
        """Run a command; return its exit status, stdout, what stderr says to people, and what it logs."""
        done = subprocess.run(
            [sys.executable, "-m", "dicom_node.cli", *arguments],
            env=self.environment,
            capture_output=True,
            timeout=120.0,
            check=False,
        )
        lines = done.stderr.decode().splitlines()
        logged = [line for line in lines if line.startswith("{")]
        assert all("event" in json.loads(line) for line in logged)
        said = "\n".join(line for line in lines if not line.startswith("{"))
        return done.returncode, done.stdout.decode(), said, logged

    def put(self, name: str, datasets: Sequence[Dataset]) -> None:
        """Write files."""
        (self.folder / name).mkdir()
        for number, ds in enumerate(datasets):
            ds.save_as(self.folder / name / f"{number}.dcm", enforce_file_format=True)


def _broken(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(500, COMMENT)
    handler.end_headers()
    handler.wfile.write(LATIN)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for mode in ("reading_validation_mode", "writing_validation_mode"):
            patch.setattr(pydicom.config.settings, mode, pydicom.config.IGNORE)
        images = tuple(mark(ds, series=True) for ds in make_small_study("another", ["FLAIR"])[:2])
        scp = stack.enter_context(running_spiteful_scp(SpitefulScp(comment=COMMENT, sends=images)))
        source = stack.enter_context(serving_web())
        source.replies[""] = _broken
        desk = Desk(tmp_path_factory.mktemp("desk"), scp.port, source.root)
        _fill(desk)
        yield desk
        desk.database.engine.dispose()


def _fill(desk: Desk) -> None:
    two = [mark(ds) for ds in make_small_study("two", ["FLAIR"])]
    for ds in two[:5]:
        ds.PatientID = "SOMEBODY-ELSE"
    desk.put("two", two)
    unreadable = [reread(mark(ds)) for ds in make_small_study("unreadable", ["FLAIR"])]
    for ds in unreadable:
        put_raw(ds, "ImagePositionPatient", "LO", LATIN[:40])
    desk.put("unreadable", unreadable)
    desk.put("one", two[:1])
    (desk.folder / "garbage").mkdir()
    (desk.folder / "garbage" / "0.dcm").write_bytes(bytes(128) + b"DICM" + LATIN)
    (desk.folder / "full").mkdir()
    (desk.folder / "full" / "0").write_bytes(LATIN)
    for peer in (
        Peer(name="Spiteful", ae_title="SPITEFUL", host="127.0.0.1", port=desk.port, is_source=True),
        Peer(name="Web", ae_title="WEB", dicomweb_url=desk.web, is_source=True),
    ):
        put_peer(desk.database, peer)
    _hold(desk)


def _hold(desk: Desk) -> None:
    """Keep a study with a SEG that is none, and a refusal of somebody who called himself by a patient's name."""
    uid = hold_small_study(desk.database, desk.settings.node.folder, "held", ["FLAIR"], attributes=CANARIES)
    (desk.settings.node.folder / "inbox" / "held" / "0.dcm").write_bytes(bytes(128) + b"DICM" + LATIN)
    with desk.database.session() as session:
        session.get_one(StudyRow, uid).state = StudyState.FAILED
        row = session.scalars(sa.select(InstanceRow)).first()
        assert row is not None
        row.sop_class_uid = SEG
        session.add(RefusalRow(calling_ae=AE_TITLE, address="127.0.0.1", code="calling_ae_title", reason=TEXT))


def _command(*parts: str) -> Callable[[Desk], list[str]]:
    """Return a command; ``@`` stands for the folder, ``#`` for the port."""
    return lambda desk: [part.replace("@", f"{desk.folder}/").replace("#", str(desk.port)) for part in parts]


COMMANDS: dict[str, Callable[[Desk], list[str]]] = {
    "two patients": _command("convert", "@two", "@out-two"),
    "two patients as JSON": _command("convert", "@two", "@out-two", "--json"),
    "a position that cannot be read": _command("convert", "@unreadable", "@out-unreadable"),
    "no DICOM file": _command("convert", "@garbage", "@out-garbage"),
    "two patients for the networks": _command("segment", "@two", "@out-segment"),
    "a file that is damaged": lambda desk: ["send", f"{desk.folder}/garbage", "--to", f"A@127.0.0.1:{desk.port}"],
    "a refusal": lambda desk: ["send", f"{desk.folder}/one", "--to", f"A@127.0.0.1:{desk.port}"],
    "nobody there": lambda desk: ["send", f"{desk.folder}/one", "--to", "A@127.0.0.1:1"],
    "another study": _command("fetch", "1.2.3", "--from", "Spiteful"),
    "a source that fails": _command("fetch", "1.2.3", "--from", "Web"),
    "a set that is full": _command("export", "--training", "@full"),
    "a SEG that is none": _command("export", "--training", "@out-export"),
    "an Orthanc that is none": lambda desk: ["doctor", "--orthanc", desk.web],
    "a status": _command("status"),
    "a status as JSON": _command("status", "--json"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_fails_logs_nothing_of_the_patient(name: str, desk: Desk) -> None:
    status, stdout, said, logged = desk.run(*COMMANDS[name](desk))
    assert status == (0 if "status" in name else 1), said
    assert leaks(*logged) == []
    if name in AT_TERMINAL:
        assert leaks(stdout, said)
    else:
        assert leaks(stdout, said) == []
    files = [path for path in desk.settings.node.folder.rglob("*") if path.suffix in (".log", ".jsonl", ".txt")]
    assert files == []


@pytest.mark.parametrize("error", ["LookupError", "ValueError", "UnicodeError", "RuntimeError", "MemoryError"])
def test_an_error_that_nobody_foresaw_is_told_without_its_text(error: str, desk: Desk) -> None:
    desk.faults.set(f"TEXT = {TEXT!r}\nraise {error}(TEXT)")
    status, stdout, said, logged = desk.run("convert", str(desk.folder / "one"), str(desk.folder / f"out-{error}"))
    desk.faults.clear()
    assert status == 1
    assert said or logged
    assert leaks(stdout, said, *logged) == []


def test_what_is_asked_of_broken_books_is_not_told(desk: Desk) -> None:
    """An error of the database quotes the statement with its values."""
    with desk.database.session() as session:
        session.execute(sa.text("ALTER TABLE study RENAME TO gone"))
    status, stdout, said, logged = desk.run("cancel", CANARIES["PatientID"])
    with desk.database.session() as session:
        session.execute(sa.text("ALTER TABLE gone RENAME TO study"))
    assert status == 1
    assert leaks(stdout, said, *logged) == []
    assert uid_of("held") not in said
