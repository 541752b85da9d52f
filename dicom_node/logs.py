"""Logs: events with keys as JSON lines on stderr, never patient data; studies are named by a keyed hash."""

import io
import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import TextIO

import pydicom
import pynetdicom
import structlog

__all__ = ["configure_logs"]

_log = structlog.get_logger()


MOST_ERRORS = 50
"""Most errors logged with one event: a group of errors may contain thousands."""


def configure_logs(role: str, *, quiet: bool = False, speaks: bool = False) -> None:
    """Set up logging once per process.

    Parameters
    ----------
    role
        Name of the process, written into every event.
    quiet
        Leave out everything below an error: for commands, whose one line on stderr is for a person.
    speaks
        Leave stdout as it is: for a process that prints messages for a person there.
    """
    stderr = sys.stderr.stream if isinstance(sys.stderr, _Withheld) else sys.stderr
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)
    logging.raiseExceptions = False  # a record that cannot be written would be printed with its arguments
    for noisy in ("pynetdicom", "dbos", "pydicom", "httpx"):
        # These libraries write UIDs and header values into their messages.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Without this, pynetdicom would compose such messages for every PDU, only to discard them.
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"  # noqa: SLF001 - documented for users in that module
    # pydicom's warnings quote the malformed value, which may be patient data.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom|highdicom")
    structlog.configure(
        processors=[
            _name_role(role),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_where_it_happened),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR if quiet else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stderr),  # one write for a line: other processes write there too
    )
    if not quiet:
        sys.stderr = _Withheld(stderr)
        sys.stdout = sys.stdout if speaks else sys.stderr
    _log_uncaught_errors()


def _log_uncaught_errors() -> None:
    """Log Python's own reports as events; otherwise Python prints an error's text, which may be patient data."""
    sys.excepthook = lambda kind, error, trace: _log_error("uncaught", kind, error, trace)
    threading.excepthook = lambda args: _log_error("uncaught", args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _log_error("unraisable", args.exc_type, args.exc_value, args.exc_traceback)
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,  # noqa: ARG001 - it may quote a header
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature is Python's
    line: str | None = None,  # noqa: ARG001
) -> None:
    _log.warning("python_warning", kind=category.__name__, where=f"{filename}:{lineno}")


def _log_error(event: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):  # a person has ended it
        return
    if error is None:  # there was no memory to make it
        _log.critical(event, exception=[_kind_and_place(kind, trace)])
    else:
        _log.critical(event, exc_info=(kind, error, trace))


class _Withheld(io.TextIOBase):
    """Replaces stderr and stdout: logs where something other than the logs writes, without the text.

    Libraries print values, and so does Python: the traceback of `socketserver`, the text of a `SystemExit`.

    Attributes
    ----------
    stream
        The stream that it replaces.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._places: set[str] = set()

    def write(self, text: str) -> int:
        """Log each place once: a traceback is written in twenty pieces."""
        frames = traceback.extract_stack(sys._getframe(1), limit=3)  # noqa: SLF001 - who writes is the caller
        where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
        if text.strip() and where not in self._places:
            self._places.add(where)
            _log.warning("text_withheld", where=where)
        return len(text)

    def writable(self) -> bool:
        """Return that it can be written to."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that processes started from here inherit."""
        return self.stream.fileno()


class _LibraryHandler(logging.Handler):
    """Logs the level and the place of a library's log record without its text, which may quote headers."""

    def emit(self, record: logging.LogRecord) -> None:
        facts = {"logger": record.name, "where": f"{record.pathname}:{record.lineno}"}
        if record.exc_info and record.exc_info[0] is not None:
            _log.log(record.levelno, "library", exc_info=record.exc_info, **facts)
        else:
            _log.log(record.levelno, "library", **facts)


def _name_role(role: str) -> structlog.typing.Processor:
    """Return a processor that writes the role into every event, whichever thread it comes from."""

    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "role": role}

    return add


def _where_it_happened(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> list[dict[str, object]]:
    """Return the kind and the place of an error, of the errors in it if it is a group, and of its causes.

    Its text, its notes and its local variables may contain header values and UIDs, so none of them is shown.
    """
    shown: list[dict[str, object]] = []
    waiting: list[BaseException] = [exc_info[1]]
    seen: set[int] = set()
    while waiting and len(shown) < MOST_ERRORS:
        error = waiting.pop()
        if id(error) in seen:  # a library can chain errors in a circle
            continue
        seen.add(id(error))
        shown.append(_kind_and_place(type(error), error.__traceback__))
        before = error.__context__ if error.__cause__ is None else error.__cause__
        held = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        waiting += [one for one in (before, *reversed(held)) if one is not None]
    return shown


def _kind_and_place(kind: type[BaseException], trace: TracebackType | None) -> dict[str, object]:
    frames = traceback.extract_tb(trace)
    return {"type": kind.__name__, "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
