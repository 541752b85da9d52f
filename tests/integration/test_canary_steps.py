"""A step that fails, in the real child process, with a patient in every text: nothing of it is written anywhere."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_node.database.engine import open_database
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs.consequences import Consequence
from dicom_node.settings import read_settings
from tests.support.canary import TEXT, leaks
from tests.support.faults import Faults

pytestmark = pytest.mark.torch

RUN = "0123-abcd"
AT = "manifest.json"

WORKER = """
import json, os, sys
from dicom_node.logs import configure_logs

configure_logs("work")
from dicom_node.settings import read_settings
from dicom_node.runs.child_process import StepProcess

process = StepProcess(read_settings())
for run in sys.stdin:
    outcome = process.perform("convert", run.strip())
    told = {"consequence": outcome.consequence, "code": outcome.code, "reason": outcome.reason}
    os.write(1, json.dumps(told).encode() + b"\\n")
process.stop()
"""


class Worker:
    """A process that has steps performed by its child, which is kept until it has crashed."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self.faults = faults
        self._log = folder / "stderr.jsonl"
        environment = faults.environment | {
            "GLIONODE_NODE_FOLDER": str(folder / "node"),
            "GLIONODE_LIMITS_STEP_MEMORY_GIB": "1",
        }
        settings = read_settings(environment=environment)
        database = open_database(settings.database_url)
        with database.session() as session:
            session.add(StudyRow(study_uid="1.2", key="k"))
            session.flush()
            session.add(RunRow(run_id=RUN, study_uid="1.2", revision=1, manifest_sha256="0", ready_at=utc_now()))
        database.engine.dispose()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", WORKER],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def meets(self, fault: str) -> tuple[dict[str, Any], str]:
        """Have a step performed that meets a fault; return what came of it, and what both processes wrote."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.faults.set(f"TEXT = {TEXT!r}\n{fault}")
        before = self._log.stat().st_size
        self.process.stdin.write(f"{RUN}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        written = self._log.read_bytes()[before:].decode()
        assert leaks(answer, written) == []
        return json.loads(answer), written


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("canary")
    worker = Worker(folder, Faults(folder, AT))
    yield worker
    assert worker.process.stdin is not None
    assert worker.process.stdout is not None
    worker.process.stdin.close()
    worker.process.stdout.close()
    worker.process.wait(30.0)


RAISED = {
    "an error": "raise ValueError(TEXT)",
    "an error that the table knows": "raise OSError(5, TEXT, TEXT)",
    "memory that was refused": "raise MemoryError(TEXT)",
    "a group, with notes and causes": """
inner = ValueError(TEXT)
inner.add_note(TEXT)
inner.__cause__ = KeyError(TEXT)
outer = ExceptionGroup(TEXT, [inner, ExceptionGroup(TEXT, [TypeError(TEXT), OSError(TEXT)])])
outer.add_note(TEXT)
outer.__context__ = LookupError(TEXT)
raise outer from ExceptionGroup(TEXT, [RuntimeError(TEXT)])""",
    "a group that holds itself": """
inner = ValueError(TEXT)
group = ExceptionGroup(TEXT, [inner])
inner.__context__ = group
raise group""",
    "an error that cannot be told": """
class Odd(Exception):
    def __str__(self):
        raise ValueError(TEXT)
    def __bool__(self):
        raise ValueError(TEXT)
raise Odd(TEXT) from Odd(TEXT)""",
    "an error that lies behind one that counts as nothing": """
class Empty(Exception):
    def __len__(self):
        return 0
raise ValueError(TEXT) from Empty(TEXT)""",
    "an end that a library asks for": "raise SystemExit(TEXT)",
}

BESIDE = {
    "a thread that fails": """
import threading
one = threading.Thread(target=int, args=(TEXT,))
one.start()
one.join()""",
    "a destructor that fails": "class Ends:\n    def __del__(self):\n        int(TEXT)\nEnds()",
    "a warning": "import warnings\nwarnings.warn(TEXT)",
    "a log of a library": "import logging\nlogging.getLogger('library').error('%s', TEXT)",
    "a log with a group": """
import logging
try:
    raise ExceptionGroup(TEXT, [ValueError(TEXT)])
except ExceptionGroup:
    logging.getLogger('library').exception(TEXT)""",
    "a log with a handler of its own": """
import logging
logger = logging.getLogger('library.loud')
logger.addHandler(logging.StreamHandler())
logger.error(TEXT)""",
    "a traceback that a library prints": """
import traceback
try:
    int(TEXT)
except ValueError:
    traceback.print_exc()""",
    "what a library prints": "print(TEXT)",
    "what a library writes to stderr": "import sys\nsys.stderr.write(TEXT)",
}

ENDED = {
    "an error that nobody catches": "class Gone(BaseException): pass\nraise Gone(TEXT)",
    "too much memory": "import time\nheld = [TEXT + chr(33 + n) * 2**28 for n in range(5)]\ntime.sleep(60)",
    "a segmentation fault": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
}
"""After each, another child is started, which takes some seconds."""


def _events(written: str) -> list[dict[str, Any]]:
    """Return what was logged; nothing else is written."""
    return [json.loads(line) for line in written.splitlines()]


@pytest.mark.parametrize("fault", RAISED.values(), ids=RAISED.keys())
def test_what_a_step_raises_is_told_without_its_text(fault: str, worker: Worker) -> None:
    outcome, written = worker.meets(fault)
    assert outcome["consequence"] is not None
    assert outcome["reason"].endswith(": see the node's log for the details")
    assert [event["event"] for event in _events(written)] in (["step_defect"], ["step_raised"])


@pytest.mark.parametrize("fault", BESIDE.values(), ids=BESIDE.keys())
def test_what_happens_beside_a_step_is_told_without_its_text(fault: str, worker: Worker) -> None:
    outcome, written = worker.meets(fault)
    assert outcome["code"] == "input_output"  # the file that was opened does not exist
    told = [event["event"] for event in _events(written)]
    assert told.pop() == "step_raised"
    assert set(told) & {"uncaught", "unraisable", "library", "python_warning", "text_withheld"}


def test_a_group_is_told_with_the_places_of_all_that_it_holds(worker: Worker) -> None:
    _, written = worker.meets(RAISED["a group, with notes and causes"])
    (event,) = _events(written)
    kinds = [each["type"] for each in event["exception"]]
    assert kinds == [
        "ExceptionGroup",
        *("ValueError", "KeyError", "ExceptionGroup", "TypeError", "OSError"),
        *("ExceptionGroup", "RuntimeError"),
    ]


@pytest.mark.parametrize("fault", ENDED.values(), ids=ENDED.keys())
def test_a_child_that_is_ended_leaves_nothing_of_the_patient(fault: str, worker: Worker) -> None:
    outcome, written = worker.meets(fault)
    assert outcome["consequence"] in (Consequence.RETRY, Consequence.FAIL)
    assert outcome["code"] in ("step_crashed", "out_of_memory")
    assert _events(written)[-1]["event"] == "step_ended"


def test_the_search_finds_each_canary_in_every_encoding() -> None:
    name = "Kanarienvogel"
    written = [name, name.upper(), name.encode("utf-16-le"), name.encode().hex(), "S2FuYXJpZW52b2dlbA=="]
    assert [bool(leaks(one)) for one in written] == [True] * len(written)
    assert leaks(json.dumps({"text": TEXT})) != []
    assert leaks("nothing of it") == []
