"""Logs are JSON lines on stderr, and hold nothing that a header says."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import logging, warnings
import structlog
from dicom_node.logs import configure_logs

configure_logs("work"{options})
log = structlog.get_logger()

def read(patient):
    raise ValueError(f"cannot read {{patient}}")

def step(patient):
    try:
        read(patient)
    except ValueError as error:
        raise KeyError(patient) from error

{body}
"""


def _stderr(body: str, options: str = "") -> str:
    program = PROGRAM.format(body=body, options=options)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr


def _events(body: str, options: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in _stderr(body, options).splitlines()]


def test_an_event_is_one_json_line_with_role_level_and_time() -> None:
    (event,) = _events("log.info('study_ready', study='abc', instances=3)")
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "study_ready", "study": "abc", "instances": 3, "role": "work", "level": "info"}


def test_an_error_is_told_by_kind_and_place_and_never_by_its_values() -> None:
    body = "try:\n    step('TELLTALE')\nexcept KeyError:\n    log.exception('step_defect')"
    text = _stderr(body)
    assert "TELLTALE" not in text
    event = json.loads(text)
    assert [error["type"] for error in event["exception"]] == ["KeyError", "ValueError"]
    assert [frame.split()[-1] for frame in event["exception"][1]["frames"]] == ["step", "read"]


def test_libraries_that_quote_headers_stay_silent() -> None:
    body = """
for name in ("pynetdicom", "pynetdicom.acse", "dbos", "pydicom", "httpx"):
    logging.getLogger(name).error("TELLTALE")
from pydicom.dataset import Dataset
import io, pydicom
ds = Dataset()
ds.PatientBirthDate = "19700101"
ds["PatientBirthDate"]._value = "TELLTALE"
buffer = io.BytesIO()
pydicom.dcmwrite(buffer, ds, implicit_vr=True, little_endian=True)
buffer.seek(0)
assert pydicom.dcmread(buffer, force=True).PatientBirthDate == "TELLTALE"
"""
    assert _stderr(body) == ""


def test_a_command_keeps_its_stderr_for_errors() -> None:
    body = "log.info('peer_added')\nlog.warning('refused')\nlog.error('broken')"
    assert [event["event"] for event in _events(body, ", quiet=True")] == ["broken"]


UNCAUGHT = {
    "main thread": "step('TELLTALE')",
    "chained in a circle": """
try:
    step('TELLTALE')
except KeyError as error:
    error.__cause__.__cause__ = error
    raise""",
    "thread": """
import threading
thread = threading.Thread(target=step, args=('TELLTALE',))
thread.start()
thread.join()""",
    "destructor": """
class Ends:
    def __del__(self):
        step('TELLTALE')
del Ends.__init__, Ends
""".replace("del Ends.__init__, Ends", "Ends()"),
    "task": """
import asyncio, gc
async def one():
    step('TELLTALE')
async def main():
    task = asyncio.create_task(one())
    await asyncio.sleep(0)
    del task
    gc.collect()
asyncio.run(main())""",
    "library": "logging.getLogger('some.library').error('broken: %s', 'TELLTALE')",
    "library with exception": """
try:
    step('TELLTALE')
except KeyError:
    logging.getLogger('some.library').exception('TELLTALE')""",
    "library with wrong arguments": "logging.getLogger('some.library').error('%d %d', 'TELLTALE')",
    "warning": "warnings.warn('TELLTALE', UserWarning)",
}


@pytest.mark.parametrize("body", UNCAUGHT.values(), ids=UNCAUGHT.keys())
def test_what_nobody_caught_is_told_by_kind_and_place_and_never_by_its_values(body: str) -> None:
    program = PROGRAM.format(body=body, options="")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "TELLTALE" not in done.stdout + done.stderr
    assert done.returncode == (1 if body in (UNCAUGHT["main thread"], UNCAUGHT["chained in a circle"]) else 0)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["event"] for event in events} <= {"uncaught", "unraisable", "library", "python_warning"}
    if "exception" in body or "step(" in body:
        assert events[0]["exception"][0]["frames"]
    assert events


@pytest.mark.parametrize(
    "defect",
    [
        'from pydicom.multival import MultiValue\n    MultiValue(int, ["TELLTALE"])',
        'from fractions import Fraction\n    Fraction("TELLTALE")',
        'import datetime\n    datetime.datetime.strptime("TELLTALE", "%Y")',
        'from conversion.sequences import Role\n    Role("TELLTALE")',
    ],
)
def test_a_command_that_meets_a_defect_of_a_library_does_not_quote_what_a_file_holds(
    tmp_path: Path, defect: str
) -> None:
    """Sentences of the node's own stay as they are: a person reads them on stderr."""
    program = """
import click
from pathlib import Path
from dicom_node.cli.conventions import one_line_errors

@click.command()
@one_line_errors
def library():
    DEFECT

library()
""".replace("DEFECT", defect)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "TELLTALE" not in done.stderr
    assert done.stderr.startswith("glionode: ")
    assert len(done.stderr.splitlines()) == 1


WRITING = """
import structlog
from dicom_node.logs import configure_logs

configure_logs("listen")
structlog.get_logger().info("short")
structlog.get_logger().info("long", value="x" * 20_000)
"""


def test_an_event_is_written_at_once() -> None:
    """Several processes write to one stderr, and a line that one of them interrupts is no JSON any more."""
    read, write = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # keeps apart what was written apart
    with read, write:
        read.settimeout(30.0)
        subprocess.run([sys.executable, "-c", WRITING], check=True, stderr=write)
        events = [json.loads(read.recv(2**20)) for _ in range(2)]
    assert [event["event"] for event in events] == ["short", "long"]
