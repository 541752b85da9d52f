"""The roles of the node as processes: listener, worker, web; and all of them together.

Listener, worker and web never call each other. They share the inbox, the database and the work queue, so that a
crash or an upgrade of one leaves the others running.
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from dicom_node.database.engine import Database, open_database
from dicom_node.logs import configure_logs
from dicom_node.settings import Settings
from dicom_node.storage.private_folder import keep_private
from dicom_node.telemetry.spans import tracing

__all__ = ["ROLES", "run_listener", "run_web", "run_worker", "serve"]

_log = structlog.get_logger()

ROLES = ("listen", "work", "web")
"""What `serve` runs; the settings give the number of listeners."""

_ARGUMENTS = {"web": ("web", "--no-link")}
"""`serve` has printed the link already."""

POLL_S = 0.25
"""Interval at which `serve` checks whether a role has ended."""

RESTART_S = 1.0
"""Pause before a role that ended unexpectedly is started again."""


def run_listener(settings: Settings) -> None:
    """Serve DICOM until a signal stops the process."""
    configure_logs("listen")  # before anything is loaded that may hold on to the original stderr; so in the others
    from dicom_node.reception.listener import Listener  # noqa: PLC0415 - each role loads only what it runs

    keep_private(settings.node.folder)
    database = open_database(settings.database_url)
    listener = Listener(settings, database)
    gc.freeze()  # otherwise each full collection scans all that was loaded: 0.1 s in which no image is received
    stop = _stop_on_signal()
    ending = _recorded(settings, database, "listen")
    listener.start()
    stop.wait()
    listener.stop()
    ending()


def run_worker(settings: Settings, gpu: str = "") -> None:
    """Assemble and process studies until a signal stops the process; only its child process loads torch.

    Parameters
    ----------
    gpu
        Number of the GPU to use, as CUDA counts; empty: as in the settings.
    """
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # for the child too, before anything loads CUDA
    configure_logs("work")
    from dicom_node.runs.worker import Worker  # noqa: PLC0415
    from dicom_node.workbench.spare_work import Uploads  # noqa: PLC0415

    keep_private(settings.node.folder)
    database = open_database(settings.database_url)
    worker, stop = Worker(settings, database, gpu, Uploads(settings, database)), _stop_on_signal()
    ending = _recorded(settings, database, "work")
    with tracing(settings, "work"), _notifying(settings, database):
        worker.run(stop)
    ending()


def run_web(settings: Settings, announce: Callable[[Database], None]) -> None:
    """Serve the panel and the viewer, each on its own port, until a signal stops the process.

    Parameters
    ----------
    announce
        Called once, when the database is ready.
    """
    configure_logs("web", speaks=True)
    from dicom_node.setup.doctor import diagnose  # noqa: PLC0415
    from dicom_node.web.ports import panel_server, viewer_server  # noqa: PLC0415
    from dicom_node.web.secure_login import nobody_elsewhere  # noqa: PLC0415

    keep_private(settings.node.folder)
    database = open_database(settings.database_url)
    announce(database)
    panel, viewer = panel_server(settings, database, diagnose), viewer_server(settings, database)
    if nobody_elsewhere(settings):
        _log.warning("nobody_can_log_in_from_another_host", remedy="web.certificate or web.proxy")
    _log.info("serving", panel=settings.web.port, viewer=settings.viewer.port)

    async def both() -> None:
        await asyncio.gather(panel.serve(), viewer.serve())

    ending = _recorded(settings, database, "web")
    with tracing(settings, "web"), _notifying(settings, database):
        asyncio.run(both())
    ending()


@contextlib.contextmanager
def _notifying(settings: Settings, database: Database) -> Iterator[None]:
    """Tell administrators what needs them while the block runs, where the settings name any."""
    if not settings.notifications.is_on:
        yield
        return
    from dicom_node.notifications.notifier import Notifier  # noqa: PLC0415 - as above

    notifier = Notifier(settings, database)
    notifier.start()
    try:
        yield
    finally:
        notifier.stop()


def _recorded(settings: Settings, database: Database, role: str) -> Callable[[], object]:
    """Record in the audit trail that a process started, and return what records that it stopped."""
    from dicom_node.audit.trail import AuditTrail  # noqa: PLC0415 - as above

    trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
    trail.record(trail.report.activity(role, started=True))
    return lambda: trail.record(trail.report.activity(role, started=False))


def serve(settings: Settings, site_file: Path | None, announce: Callable[[Database], None]) -> None:
    """Run every role in a process of its own, and restart one that ends.

    Parameters
    ----------
    site_file
        First peers and rules; read only while the database has none.
    announce
        Called once, when the database is ready and before the roles start.
    """
    configure_logs("serve", speaks=True)
    from dicom_node.peers.registry import seed_peers  # noqa: PLC0415
    from dicom_node.rules.site_rules import seed_rules  # noqa: PLC0415

    keep_private(settings.node.folder)
    database = open_database(settings.database_url)
    if site_file is not None:
        seed_peers(database, site_file)
        seed_rules(database, site_file)
    announce(database)
    stop = _stop_on_signal()
    roles = ["listen"] * (settings.listener.processes - 1) + list(ROLES)
    children = [_start(*_ARGUMENTS.get(role, (role,))) for role in roles]
    while not stop.wait(POLL_S):
        for number, role in enumerate(roles):
            if (status := children[number].poll()) is not None:
                _log.error("role_ended", ended=role, status=status)
                time.sleep(RESTART_S)
                children[number] = _start(*_ARGUMENTS.get(role, (role,)))
    for child in children:
        child.terminate()
    for child in children:
        child.wait()


def _start(*role: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own module, and nothing from the working directory (-P)
        [sys.executable, "-P", "-m", "dicom_node.cli", *role],
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - one call into libc, no Python locks are touched
    )


def _end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, however it dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _stop_on_signal() -> threading.Event:
    """Return an event that is set when a signal stops this process.

    A signal handler in Python runs in the main thread, in the middle of whatever that thread does, and not before it
    wakes up. Setting the event there could wait for a lock that the thread holds, or never happen. Instead, the
    interpreter writes to a pipe at once, in whichever thread the signal arrives, and a thread that reads the pipe sets
    the event.
    """
    stop = threading.Event()
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)

    def pass_on() -> None:
        os.read(read_end, 1)
        stop.set()

    threading.Thread(target=pass_on, daemon=True).start()
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return stop
