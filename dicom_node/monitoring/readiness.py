"""Whether the node is ready: it can take images and keep them."""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import REVISION
from dicom_node.database.worker_slots import list_workers
from dicom_node.settings import Settings
from dicom_node.storage.disk_space import free_bytes

__all__ = ["Readiness", "ReadinessReport"]

KEPT_S = 2.0
"""How long a report is used again: a stranger may ask as often as they like, and a check writes to the disk."""

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


@dataclass(frozen=True, kw_only=True)
class ReadinessReport:
    """What was found.

    Attributes
    ----------
    passed
        Each check by its name: ``database`` answers, ``migration`` is the one of this program, ``folder`` can be
        written to, ``disk`` has as much free space as ``limits.free_disk_gib`` asks for.
    worker
        Whether a worker is alive. It does not decide: images are received and kept without one, and a load balancer
        must not take the panel away from those who find out why.
    """

    passed: Mapping[str, bool]
    worker: bool

    @property
    def ready(self) -> bool:
        """Whether every check has passed."""
        return all(self.passed.values())


class Readiness:
    """Makes reports.

    Parameters
    ----------
    kept_s
        How long a report is used again.
    """

    def __init__(self, settings: Settings, database: Database, kept_s: float = KEPT_S) -> None:
        self._folder, self._free = settings.node.folder, settings.limits.free_disk_gib * 2**30
        self._database, self._kept_s = database, kept_s
        self._lock = threading.Lock()
        self._made_at = 0.0
        self._report: ReadinessReport | None = None

    def report(self) -> ReadinessReport:
        """Return the newest report, or make one."""
        with self._lock:
            if self._report is None or time.monotonic() - self._made_at >= self._kept_s:
                self._report, self._made_at = self._make(), time.monotonic()
            return self._report

    def _make(self) -> ReadinessReport:
        checks: dict[str, Callable[[], bool]] = {
            "database": self._answers,
            "migration": self._is_migrated,
            "folder": self._is_writable,
            "disk": lambda: free_bytes(self._folder) >= self._free,
        }
        passed = {name: _holds(check) for name, check in checks.items()}
        return ReadinessReport(passed=passed, worker=_holds(self._has_worker))

    def _answers(self) -> bool:
        with self._database.session() as session:
            return bool(session.execute(sa.text("SELECT 1")).scalar_one())

    def _is_migrated(self) -> bool:
        with self._database.session() as session:
            return list(session.execute(sa.select(_VERSION.c.version_num)).scalars()) == [REVISION]

    def _is_writable(self) -> bool:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            return file.write(b"glionode") > 0

    def _has_worker(self) -> bool:
        return any(worker.alive for worker in list_workers(self._database))


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (OSError, sa.exc.SQLAlchemyError):
        return False
