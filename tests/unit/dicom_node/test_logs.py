"""Logs are JSON lines on stderr, and hold nothing that a header says."""

import json
import subprocess
import sys
from typing import Any

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
