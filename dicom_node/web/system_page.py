"""What the page System shows, read for it: charts, workers, models, settings, versions."""

import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dicom_node.access.certificate import certificate_warning
from dicom_node.database.engine import Database
from dicom_node.database.tables import REVISION
from dicom_node.database.worker_slots import WorkerStatus, list_workers
from dicom_node.models.roles import ModelChoice, ModelRole, chosen, history, production_model
from dicom_node.monitoring.activity import Span, read_activity
from dicom_node.monitoring.counts import read_counts
from dicom_node.monitoring.drift import DriftWeek, read_drift
from dicom_node.settings import Settings, masked_settings
from dicom_node.storage.disk_space import disk_use
from dicom_node.web.charts import Chart, Series
from inference.errors import UnusableModel
from inference.registry import Registry, StoredModel

__all__ = ["ModelLine", "Models", "SystemPage"]

DRIFT_KEPT_S = 60.0
"""How long the weeks are used again: they change slowly, and are read from thousands of rows."""

NEWEST_CHOICES = 5
LIBRARIES = ("pydicom", "pynetdicom", "highdicom", "sqlalchemy", "dbos", "torch")


@dataclass(frozen=True, kw_only=True)
class ModelLine:
    """A model and the role it has; `is_production` and `is_shadow` may both be false."""

    model: StoredModel
    is_production: bool
    is_shadow: bool


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of the node.

    Attributes
    ----------
    problem
        Why the model in production cannot be used; empty where it can.
    unusable
        Reasons why folders contain no usable model.
    choice
        The promotion in force; None where the setting counts.
    past
        The newest choices for both roles, newest first.
    """

    lines: tuple[ModelLine, ...]
    problem: str
    unusable: tuple[str, ...]
    choice: ModelChoice | None
    past: tuple[ModelChoice, ...]


class SystemPage:
    """Reads what the page shows."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._lock = threading.Lock()
        self._drift: tuple[DriftWeek, ...] = ()
        self._drift_at = 0.0

    def context(self, span: Span) -> dict[str, Any]:
        """Return the variables of the template."""
        counts, disk = read_counts(self._database), disk_use(self._settings.node.folder)
        return {
            "counts": counts,
            "disk": disk,
            "disk_short": disk.free < self._settings.limits.free_disk_gib * 2**30,
            "certificate_warning": certificate_warning(self._settings.web),
            "limit_gib": self._settings.limits.free_disk_gib,
            "workers": self.workers(),
            "span": span,
            "spans": list(Span),
            "charts": self._activity(span),
            "drift": self._drift_charts(),
            "models": self.models(),
            "sections": masked_settings(self._settings),
            "versions": self.versions(),
        }

    def workers(self) -> Sequence[WorkerStatus]:
        """Return the workers that have not stopped."""
        return list_workers(self._database)

    def models(self) -> Models:
        """Return the models with their roles."""
        listing = Registry(self._settings.node.folder).listing()
        problem, production = "", ""
        try:
            production = production_model(self._database, self._settings).sha256
        except UnusableModel as error:
            problem = str(error)
        shadow = chosen(self._database, ModelRole.SHADOW)
        past = [choice for role in ModelRole for choice in history(self._database, role)]
        return Models(
            lines=tuple(
                ModelLine(
                    model=model,
                    is_production=model.sha256 == production,
                    is_shadow=shadow is not None and model.sha256 == shadow.sha256,
                )
                for model in listing.models
            ),
            problem=problem,
            unusable=tuple(reason for _, reason in listing.unusable),
            choice=chosen(self._database, ModelRole.PRODUCTION),
            past=tuple(sorted(past, key=lambda choice: choice.at, reverse=True)[:NEWEST_CHOICES]),
        )

    def versions(self) -> dict[str, str]:
        """Return the versions of what the node is made of."""
        own = {"GlioNode": version("glionode"), "tables": REVISION, "Python": platform.python_version()}
        return own | {"database": self._database.engine.dialect.name} | {name: _version(name) for name in LIBRARIES}

    def _activity(self, span: Span) -> list[Chart]:
        bins = read_activity(self._database, span)
        labels = [one.begins.strftime("%H:%M" if span is Span.DAY else "%a %d") for one in bins]
        done = [
            Series(name="studies received", values=[one.received for one in bins]),
            Series(name="results", values=[one.results for one in bins]),
            Series(name="rejected or failed", values=[one.failures for one in bins]),
        ]
        took = [
            Series(name="median", values=[one.median_s for one in bins]),
            Series(name="95th percentile", values=[one.p95_s for one in bins]),
        ]
        return [
            Chart(title="Throughput", labels=labels, series=done),
            Chart(title="From ready to result", labels=labels, series=took, unit=" s", lines=True),
        ]

    def _drift_charts(self) -> list[Chart]:
        with self._lock:
            if not self._drift or time.monotonic() - self._drift_at >= DRIFT_KEPT_S:
                self._drift, self._drift_at = read_drift(self._database), time.monotonic()
            weeks = self._drift
        labels = [week.begins.strftime("%d %b") for week in weeks]
        volumes = [Series(name="median of the whole tumour", values=[week.median_ml for week in weeks])]
        shares = [
            Series(name="with a flag", values=[_percent(week.flagged) for week in weeks]),
            Series(name="without a tumour", values=[_percent(week.no_tumour) for week in weeks]),
        ]
        people = [Series(name="opinions that agree", values=[_percent(week.agreed) for week in weeks])]
        dice = [Series(name="shadow against production", values=[week.shadow_dice for week in weeks])]
        return [
            Chart(title="Volume", labels=labels, series=volumes, unit=" ml", digits=1, lines=True),
            Chart(title="Flags and no tumour", labels=labels, series=shares, unit=" %", lines=True, top=100),
            Chart(title="Agreement", labels=labels, series=people, unit=" %", lines=True, top=100),
            Chart(title="Dice of the shadow model", labels=labels, series=dice, digits=3, lines=True, top=1),
        ]


def _version(name: str) -> str:
    """Return the version of a library; a host that runs no models may do without some."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100
