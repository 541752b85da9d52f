"""A command that a test runs in its own process sets up logs for all; the next test finds them as they were."""

import logging
from collections.abc import Iterator

import pydicom.config
import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    kept, mode = structlog.get_config(), pydicom.config.settings.reading_validation_mode
    names = ("", "pynetdicom", "dbos", "pydicom", "httpx")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    structlog.configure(**kept)
    pydicom.config.settings.reading_validation_mode = mode
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
