"""What a test needs from its surroundings: absent, it is skipped with a sentence; in CI it fails."""

import gc
import logging
import os
import shutil
import socketserver
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path

import pydicom.config
import pytest
import structlog

from tests.support.postgres import Postgres, postgres_programs, running_postgres

_DATA = Path(os.environ.get("GLIONODE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
_SENTENCE = "the shared data sets are not here; set GLIONODE_TEST_DATA to their folder"


_TESTS = Path(__file__).parent
_WITHOUT_TORCH = os.environ.get("GLIONODE_WITHOUT_TORCH") == "1"
_NO_TORCH = "needs torch, which this Python is tested without"
_LOADS_TORCH = frozenset(
    _TESTS / "unit" / f"{path}.py"
    for path in (
        *(
            f"dicom_node/test_{name}"
            for name in ("cli_evaluate", "cli_models", "ground_truth", "model_roles", "pipeline")
        ),
        *(f"dicom_node/test_{name}" for name in ("shadow", "steps", "workbench")),
        "dicom_node/web/test_readme_examples",
        "dicom_node/web/test_segment_api",
        "inference/cases/test_prepared",
        *(
            f"inference/evaluation/test_{name}"
            for name in ("calibration", "document", "evaluation", "figures", "held_out", "lesions", "picture")
        ),
        *(f"inference/evaluation/test_{name}" for name in ("report", "subgroups", "summary", "surface")),
        *(f"inference/foreign/test_{name}" for name in ("monai_bundle", "network", "onnx_model")),
        *(
            f"inference/test_{name}"
            for name in ("arithmetic", "as_monai", "brightness", "claimed_contrast", "components")
        ),
        *(
            f"inference/test_{name}"
            for name in ("image_noise", "midplane", "postprocessing", "preprocessing", "resampling")
        ),
        "inference/test_uncertainty",
        *(
            f"inference/test_{name}"
            for name in ("both_sides", "brain_region", "labelling", "manifest", "model_bundle", "networks")
        ),
        *(
            f"inference/test_{name}"
            for name in ("novelty", "prediction", "registry", "segmenter", "shipped_brain", "trust", "unet")
        ),
        "viewer_integration/test_rehearsal",
    )
)
"""Files of tests that are left out there; one that begins to load torch without standing here fails."""

# pynetdicom's servers look every half second whether they are to stop, which each test that starts one waits for.
socketserver.BaseServer.serve_forever.__defaults__ = (0.02,)


def _missing(marker: str) -> str:
    """Return what a marker's tests lack, or nothing."""
    programs = {
        "orthanc": ("Orthanc",),
        "dcmtk": ("/usr/bin/storescu", "dciodvfy"),
        "browser": ("/usr/bin/chromium",),
        "strace": ("strace",),
        "postgres": (str((postgres_programs() or Path("/usr/lib/postgresql")) / "postgres"),),
    }
    if marker == "data":
        return "" if (_DATA / "README.md").exists() else _SENTENCE
    absent = [program for program in programs[marker] if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed; `make test` as root installs the Debian packages" if absent else ""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Leave out files that are known to load torch where `make pythons` tests a Python without it."""
    report = yield
    known = _WITHOUT_TORCH and collector.path in _LOADS_TORCH
    if known and report.failed and "No module named 'torch'" in str(report.longrepr):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, _NO_TORCH)
    return report


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by the argument they are given to, and pytest numbers them.

    What is packed holds the second in which it was packed: names made of it differ between the processes of a run,
    which ends it.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_finish() -> None:
    """Let the collector of unused objects look through what tests make, not through all that was imported."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose surroundings are missing."""
    if _WITHOUT_TORCH and item.get_closest_marker("torch"):
        pytest.skip(_NO_TORCH)
    for marker in ("data", "orthanc", "dcmtk", "browser", "postgres", "strace"):
        if item.get_closest_marker(marker) and (reason := _missing(marker)):
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """Put logs back as they were: a command that a test runs in-process sets them up for all that come after it."""
    kept, mode = structlog.get_config(), pydicom.config.settings.reading_validation_mode
    names = ("", "pynetdicom", "dbos", "pydicom", "httpx")
    levels = {name: logging.getLogger(name).level for name in names}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning, logging.raiseExceptions
    streams = sys.stdout, sys.stderr
    yield
    sys.stdout, sys.stderr = streams
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning, logging.raiseExceptions = hooks
    structlog.configure(**kept)
    pydicom.config.settings.reading_validation_mode = mode
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the shared data sets."""
    return _DATA


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run one PostgreSQL for the tests of this process; each test that needs it is marked ``postgres``."""
    with running_postgres(durable=False) as server:
        yield server
