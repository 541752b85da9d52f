"""The node for Prometheus: what a scrape of ``/metrics`` answers.

Several listeners, workers and web servers share one database, so everything is read from there and from the node's
folder when it is asked for, and kept for some seconds. No process counts anything in its own memory.
"""

import platform
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dicom_node.access.certificate import certificate_expiry
from dicom_node.audit.ending import trail_ends_as_known
from dicom_node.audit.files import TrailFiles
from dicom_node.database.engine import Database
from dicom_node.database.states import JobState, Priority, RunState, StudyState
from dicom_node.database.tables import REVISION
from dicom_node.database.worker_slots import WorkerStatus, list_workers
from dicom_node.monitoring.counts import NodeCounts, StepTime, read_counts
from dicom_node.settings import Settings
from dicom_node.storage.disk_space import DiskUse, disk_use

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

KEPT_S = 10.0
"""How long an answer is used again: Prometheus asks every 15 s or less often, several of them as often as they like."""

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What one answer is made of."""

    counts: NodeCounts
    workers: tuple[WorkerStatus, ...]
    disk: DiskUse
    free_limit: float
    audit: tuple[bool, bool]
    dialect: str
    certificate: float | None


class Metrics:
    """Answers scrapes.

    Parameters
    ----------
    settings
        Effective settings.
    kept_s
        How long an answer is used again.
    """

    def __init__(self, settings: Settings, database: Database, kept_s: float = KEPT_S) -> None:
        self._settings, self._database, self._kept_s = settings, database, kept_s
        self._lock = threading.Lock()
        self._made_at, self._text = -kept_s, b""

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus."""
        with self._lock:  # several scrapes at once cost one
            if not self._text or time.monotonic() - self._made_at >= self._kept_s:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(_Once(list(_families(self._read()))))
                self._text, self._made_at = generate_latest(registry), time.monotonic()
            return self._text

    def _read(self) -> _Facts:
        folder, expires = self._settings.node.folder, certificate_expiry(self._settings.web)
        return _Facts(
            counts=read_counts(self._database),
            workers=tuple(list_workers(self._database)),
            disk=disk_use(folder),
            free_limit=self._settings.limits.free_disk_gib * GIB,
            audit=(_is_writable(TrailFiles(folder)), _is_whole(self._settings, self._database)),
            dialect=self._database.engine.dialect.name,
            certificate=expires.timestamp() if expires else None,
        )


class _Once(Collector):
    """Hands over what was read."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        return self._families


def _is_writable(files: TrailFiles) -> bool:
    try:
        files.check()
    except OSError:
        return False
    return True


def _is_whole(settings: Settings, database: Database) -> bool:
    try:
        return trail_ends_as_known(settings.node.folder, database)
    except (OSError, sa.exc.SQLAlchemyError):
        return False


def _families(facts: _Facts) -> Iterator[Metric]:
    counts = facts.counts
    yield _build(facts.dialect)
    yield _states("glionode_studies", "Studies by state.", StudyState, counts.studies)
    yield _states("glionode_runs", "Runs by state.", RunState, counts.runs)
    yield _of("glionode_runs_at_step", "Running and failed runs by step.", ("state", "step"), counts.runs_at_step)
    priorities = {priority.name.lower(): counts.queued.get(priority.name.lower(), 0) for priority in Priority}
    yield _of("glionode_queue_length", "Waiting runs by priority.", ("priority",), priorities)
    yield _one("glionode_queue_oldest_seconds", "How long the longest waiting run has waited.", counts.oldest_queued_s)
    yield _of("glionode_deliveries", "Deliveries by peer and state.", ("peer", "state"), counts.deliveries)
    yield _one("glionode_undelivered", "Results that a destination has not accepted yet.", counts.undelivered)
    received = CounterMetricFamily("glionode_instances_received", "Instances received; retries may leave gaps.")
    received.add_metric([], counts.instances_received)
    yield received
    associations = "Associations of the last hour that sent images, by peer."
    yield _of("glionode_associations_last_hour", associations, ("peer",), counts.associations)
    yield _of("glionode_refusals", "Refusals on receipt by code, as kept.", ("code",), counts.refusals)
    yield _states("glionode_workbench_uploads", "Uploads to the workbench by state.", JobState, counts.workbench)
    notices = "Notifications of the last 30 days by channel and state."
    yield _of("glionode_notifications", notices, ("channel", "state"), counts.notices)
    yield _of("glionode_conditions", "What is wrong at present, where somebody is told.", ("code",), counts.conditions)
    yield from _steps(counts.steps)
    yield from _processes(facts)


def _processes(facts: _Facts) -> Iterator[Metric]:
    alive = sum(worker.alive for worker in facts.workers)
    by_state = {"alive": alive, "silent": len(facts.workers) - alive}
    yield _of("glionode_workers", "Workers that have not stopped.", ("state",), by_state)
    ages = {(worker.executor, worker.gpu): worker.age_s for worker in facts.workers}
    yield _of("glionode_worker_heartbeat_age_seconds", "Age of each worker's heartbeat.", ("worker", "gpu"), ages)
    yield _one("glionode_disk_free_bytes", "Free space in the node's folder.", facts.disk.free)
    yield _one("glionode_disk_used_bytes", "Used space of that file system.", facts.disk.used)
    yield _one("glionode_disk_free_limit_bytes", "With less, instances are refused.", facts.free_limit)
    yield _expiry(facts.certificate)
    yield _one("glionode_maintenance", "1 while the node is drained.", facts.counts.maintenance)
    writable, whole = facts.audit
    yield _one("glionode_audit_writable", "0 while the audit trail cannot be written.", writable)
    yield _one("glionode_audit_end_intact", "0 if the trail does not end with the record the database knows.", whole)


def _expiry(timestamp: float | None) -> Metric:
    """Return a family without a value where the node has no certificate of its own."""
    text = "When the certificate of panel and viewer expires."
    family = GaugeMetricFamily("glionode_certificate_expiry_timestamp_seconds", text, labels=[])
    if timestamp is not None:
        family.add_metric([], timestamp)
    return family


def _build(dialect: str) -> Metric:
    family = GaugeMetricFamily(
        "glionode_build_info",
        "Versions of the node, of its tables, of Python and of the kind of database.",
        labels=["version", "revision", "python", "database"],
    )
    family.add_metric([version("glionode"), REVISION, platform.python_version(), dialect], 1)
    return family


def _steps(steps: Mapping[str, StepTime]) -> Iterator[Metric]:
    quantiles = GaugeMetricFamily(
        "glionode_step_seconds", "Duration of the steps that ended in the last day.", labels=["step", "quantile"]
    )
    for step, took in sorted(steps.items()):
        quantiles.add_metric([step, "0.5"], took.median_s)
        quantiles.add_metric([step, "0.95"], took.p95_s)
    yield quantiles
    ended = {step: took.count for step, took in steps.items()}
    yield _of("glionode_steps_last_day", "Steps that ended in the last day, of the newest 5,000.", ("step",), ended)


def _states(name: str, text: str, states: Iterable[str], counts: Mapping[str, int]) -> Metric:
    """Return a family in which every state has a value: an alert on one that never occurred must see 0."""
    return _of(name, text, ("state",), {str(state) or "none": counts.get(state, 0) for state in states})


def _of(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[str, float] | Mapping[tuple[str, str], float]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
