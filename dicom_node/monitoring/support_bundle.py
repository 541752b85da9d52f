"""What those who help need to know of a node, as a zip, without patient data.

It is made of what is counted, of codes and of versions. No text that a person or a sender wrote goes in: no reasons of
runs, no comments, no rules, no names of files.
"""

import io
import json
import platform
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions
from typing import Any, Protocol

import sqlalchemy as sa

from dicom_node.audit.head import audit_key, known_head
from dicom_node.audit.verification import verify
from dicom_node.database.engine import Database
from dicom_node.database.states import RunState
from dicom_node.database.tables import REVISION, RunRow
from dicom_node.models.roles import ModelRole, history
from dicom_node.monitoring.metrics import Metrics
from dicom_node.monitoring.readiness import Readiness
from dicom_node.settings import Settings, masked_settings
from inference.registry import Registry

__all__ = ["Answer", "support_bundle"]

README = """What is in this file: the settings in force (secrets masked), versions, the state of the tables, counts,
metrics, codes of failed runs, models, what `glionode doctor` answered, and whether the audit trail is whole.
It holds no patient data: no name, ID, UID, date, description, comment or image.
The node writes its logs to stderr and keeps none; attach those of systemd or of the container where they help.
They name studies by keyed hashes alone.
"""

NOT_COUNTED = ("instance",)
"""Tables of many millions of rows, whose size the metrics tell without counting them."""

_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))


class Answer(Protocol):
    """One answer of `glionode doctor`."""

    @property
    def name(self) -> str: ...  # noqa: D102 - of the check
    @property
    def ok(self) -> bool: ...  # noqa: D102
    @property
    def detail(self) -> str: ...  # noqa: D102 - a sentence


def support_bundle(settings: Settings, database: Database, answers: Sequence[Answer]) -> bytes:
    """Return the zip.

    Parameters
    ----------
    answers
        Of `glionode doctor`.
    """
    ready = Readiness(settings, database).report()
    doctor = [{"name": one.name, "ok": one.ok, "detail": one.detail} for one in answers]
    content: dict[str, str | bytes] = {
        "README.txt": README,
        "settings.json": _json(masked_settings(settings)),
        "versions.json": _json(_versions(database)),
        "counts.json": _json(_counts(database)),
        "failures.json": _json(_failures(database)),
        "models.json": _json(_models(settings, database)),
        "metrics.txt": Metrics(settings, database).text(),
        "ready.json": _json({"ready": ready.ready, "checks": ready.passed, "worker": ready.worker}),
        "doctor.json": _json(doctor),
        "audit.json": _json(_audit(settings, database)),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in content.items():
            bundle.writestr(name, text)
    return packed.getvalue()


def _json(content: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(content, indent=1, default=str) + "\n"


def _versions(database: Database) -> dict[str, Any]:
    with database.session() as session:
        revision = list(session.execute(sa.select(_VERSION.c.version_num)).scalars())
        server = session.execute(
            sa.text("SELECT sqlite_version()" if _is_sqlite(database) else "SHOW server_version")
        ).scalar_one()
    packages = sorted({f"{one.metadata['Name']} {one.version}" for one in distributions()}, key=str.lower)
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "database": f"{database.engine.dialect.name} {server}",
        "tables": {"wanted": REVISION, "present": revision},
        "packages": packages,
    }


def _is_sqlite(database: Database) -> bool:
    return database.engine.dialect.name == "sqlite"


def _counts(database: Database) -> dict[str, int]:
    """Return the number of rows of each table, one by one: with SQLite, a session keeps others from writing."""
    names = [name for name in sorted(sa.inspect(database.engine).get_table_names()) if name not in NOT_COUNTED]
    counts = {}
    for name in names:
        with database.session() as session:
            counts[name] = session.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0
    return counts


def _failures(database: Database) -> list[dict[str, Any]]:
    columns = (RunRow.state, RunRow.step, RunRow.code)
    ended = RunRow.state.in_([RunState.FAILED, RunState.REJECTED, RunState.UNDELIVERED])
    with database.session() as session:
        rows = session.execute(sa.select(*columns, sa.func.count()).where(ended).group_by(*columns)).all()
    return [{"state": str(state), "step": step, "code": code, "runs": count} for state, step, code, count in rows]


def _models(settings: Settings, database: Database) -> dict[str, Any]:
    listing = Registry(settings.node.folder).listing()
    models = [{"name": one.name, "version": one.version, "sha256": one.sha256} for one in listing.models]
    shown = ("action", "at", "name", "version", "sha256")
    past = {
        role.value: [{key: getattr(choice, key) for key in shown} for choice in history(database, role)]
        for role in ModelRole
    }
    return {"models": models, "unusable": [reason for _, reason in listing.unusable], "choices": past}


def _audit(settings: Settings, database: Database) -> dict[str, Any]:
    verdict = verify(settings.node.folder, audit_key(database), known_head(database))
    findings = [{"kind": one.kind, "file": one.file, "line": one.line} for one in verdict.findings]
    facts = {"records": verdict.records, "files": verdict.files, "first": verdict.first, "last": verdict.last}
    return {"whole": verdict.is_whole, **facts, "findings": findings}
