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
"""Told of one event: a group of errors may hold thousands."""


def configure_logs(role: str, *, quiet: bool = False, speaks: bool = False) -> None:
    """Set up logging once per process.

    Parameters
    ----------
    role
        Name of the process, written into every event.
    quiet
        Leave out everything below an error: for commands, whose one line on stderr is for a person.
    speaks
        Leave stdout as it is: for a process that has something to say to a person there.
    """
    stderr = sys.stderr.stream if isinstance(sys.stderr, _Withheld) else sys.stderr
    logging.basicConfig(handlers=[_LibraryHandler()], level=logging.WARNING, force=True)
    logging.raiseExceptions = False  # a record that cannot be written would be printed with its arguments
    for noisy in ("pynetdicom", "dbos", "pydicom", "httpx"):
        # These libraries write UIDs and header values into their messages.
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Nor are those messages made, for every PDU, to be thrown away.
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"  # noqa: SLF001 - documented for users in that module
    # pydicom's warnings quote the malformed value, which may be a patient's.
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
    _catch_what_nobody_caught()


def _catch_what_nobody_caught() -> None:
    """Have Python's own reports told as events: each prints an error's text, which may be a patient's."""
    sys.excepthook = lambda kind, error, trace: _tell("uncaught", kind, error, trace)
    threading.excepthook = lambda told: _tell("uncaught", told.exc_type, told.exc_value, told.exc_traceback)
    sys.unraisablehook = lambda told: _tell("unraisable", told.exc_type, told.exc_value, told.exc_traceback)
    warnings.showwarning = _tell_warning


def _tell_warning(
    message: Warning | str,  # noqa: ARG001 - it may quote a header
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature is Python's
    line: str | None = None,  # noqa: ARG001
) -> None:
    _log.warning("python_warning", kind=category.__name__, where=f"{filename}:{lineno}")


def _tell(event: str, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):  # a person has ended it
        return
    if error is None:  # there was no memory to make it
        _log.critical(event, exception=[_told(kind, trace)])
    else:
        _log.critical(event, exc_info=(kind, error, trace))


class _Withheld(io.TextIOBase):
    """Stands for stderr and stdout: tells where something other than the logs writes, without the text.

    Libraries print what they meet, and so does Python: the traceback of `socketserver`, the text of a `SystemExit`.

    Attributes
    ----------
    stream
        What it stands for.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._places: set[str] = set()

    def write(self, text: str) -> int:
        """Tell of each place once: a traceback is written in twenty pieces."""
        frames = traceback.extract_stack(sys._getframe(1), limit=3)  # noqa: SLF001 - who writes is the caller
        where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
        if text.strip() and where not in self._places:
            self._places.add(where)
            _log.warning("text_withheld", where=where)
        return len(text)

    def writable(self) -> bool:
        """Return that it takes what is written."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that processes started from here inherit."""
        return self.stream.fileno()


class _LibraryHandler(logging.Handler):
    """Tells that a library has logged, how bad it is and where, without the text, which may quote headers."""

    def emit(self, record: logging.LogRecord) -> None:
        told = {"logger": record.name, "where": f"{record.pathname}:{record.lineno}"}
        if record.exc_info and record.exc_info[0] is not None:
            _log.log(record.levelno, "library", exc_info=record.exc_info, **told)
        else:
            _log.log(record.levelno, "library", **told)


def _name_role(role: str) -> structlog.typing.Processor:
    """Return a processor that writes the role into every event, whichever thread it comes from."""

    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "role": role}

    return add


def _where_it_happened(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None],
) -> list[dict[str, object]]:
    """Return the kind and the place of an error, of those that it holds as a group, and of its causes.

    Its text, its notes and its local variables may hold header values and UIDs, so none of them is shown.
    """
    shown: list[dict[str, object]] = []
    waiting: list[BaseException] = [exc_info[1]]
    seen: set[int] = set()
    while waiting and len(shown) < MOST_ERRORS:
        error = waiting.pop()
        if id(error) in seen:  # a library can chain errors in a circle
            continue
        seen.add(id(error))
        shown.append(_told(type(error), error.__traceback__))
        before = error.__context__ if error.__cause__ is None else error.__cause__
        held = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        waiting += [one for one in (before, *reversed(held)) if one is not None]
    return shown


def _told(kind: type[BaseException], trace: TracebackType | None) -> dict[str, object]:
    frames = traceback.extract_tb(trace)
    return {"type": kind.__name__, "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
