"""The examples that the manual gives programs for the workbench run as they stand, but for address and files."""

import io
import json
import re
import shlex
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from conversion.nifti import write_nifti
from dicom_node.access.tokens import add_token
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.spare_work import Uploads
from tests.support.detector_model import write_detector
from tests.support.small_head import head_volume
from tests.support.viewer_port import served

pytestmark = pytest.mark.torch

MANUAL = (Path(__file__).parents[4] / "dicom_node" / "workbench" / "README.md").read_text("utf-8")
STATED = "http://127.0.0.1:8040"
COMPUTED_S = 240


def _example(language: str) -> str:
    """Return the first block of a language."""
    return MANUAL.partition(f"```{language}\n")[2].partition("```")[0]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Serve a panel and compute what is sent; give its address and a token."""
    for name, value in {
        "NODE_FOLDER": str(tmp_path / "node"),
        "PROCESSING_MODEL": str(write_detector(tmp_path / "detector")),
        "PROCESSING_THREADS": "1",
        "WORKBENCH_NICENESS": "0",  # beside other tests it would wait for ever
        "PROCESSING_ADMIT": "not_a_brain",
    }.items():
        monkeypatch.setenv(f"GLIONODE_{name}", value)
    settings = read_settings()
    database = open_database(settings.database_url)
    uploads, stop = Uploads(settings, database), threading.Event()

    def work() -> None:
        while not stop.wait(0.1):
            uploads.do_next("here/0")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        with served(panel_app(settings, database), uploads=UPLOAD_PATH) as url:
            yield url, add_token(database, "program")
    finally:
        stop.set()
        uploads.stop()
        thread.join()
        database.engine.dispose()


def test_the_example_for_curl(node: tuple[str, str], tmp_path: Path) -> None:
    url, token = node
    for name in ("flair", "t1ce"):
        write_nifti(head_volume("axial", (4.0, 2.0, 2.0)), tmp_path / f"{name}.nii.gz")
    send, status, fetch = [
        shlex.split(line.replace(STATED, url).replace("$TOKEN", token), comments=True)
        for line in _example("bash").splitlines()
    ]

    def run(command: list[str]) -> bytes:
        return subprocess.run([*command, "-sS"], cwd=tmp_path, capture_output=True, timeout=60, check=True).stdout

    job = json.loads(run(send))
    assert [file["role"] for file in job["sent"]] == ["FLAIR", "T1CE"]
    deadline = time.monotonic() + COMPUTED_S
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        job = json.loads(run([part.replace("/ID", f"/{job['id']}") for part in status]))
    assert (job["state"], job["reason"]) == ("done", "")
    run([part.replace("/ID", f"/{job['id']}") for part in fetch])
    assert (tmp_path / "result.zip").read_bytes()[:2] == b"PK"


def test_the_example_for_python(node: tuple[str, str], tmp_path: Path) -> None:
    url, token = node
    Image.new("L", (96, 96), 90).save(tmp_path / "slice.png")
    (tmp_path / "study.zip").write_bytes(_zipped(tmp_path / "slice.png"))
    example = _example("python").replace(STATED, url)
    assert re.search(r"\btoken\b", example)
    (tmp_path / "example.py").write_text(f"token = {token!r}\n{example}")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=COMPUTED_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "WT" in done.stdout or "no tumour" in done.stdout.lower(), done.stdout


def _zipped(path: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, "flair/slice.png")
    return packed.getvalue()
