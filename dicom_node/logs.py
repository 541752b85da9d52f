"""Logs: events with keys as JSON lines on stderr, never patient data; studies are named by a keyed hash."""

import logging
import sys
import warnings

import pydicom
import structlog

__all__ = ["configure_logs"]


def configure_logs(role: str) -> None:
    """Set up logging once per process.

    Parameters
    ----------
    role
        Name of the process, written into every event.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s", force=True)
    for noisy in ("pynetdicom", "dbos", "pydicom", "httpx"):
        # These libraries write UIDs and header values into their messages.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # pydicom's warnings quote the malformed value, which may be a patient's.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom|highdicom")
    structlog.configure(
        processors=[
            _name_role(role),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _name_role(role: str) -> structlog.typing.Processor:
    """Return a processor that writes the role into every event, whichever thread it comes from."""

    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "role": role}

    return add
