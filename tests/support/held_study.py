"""Studies as the node leaves them: files in its folder, rows in its books."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dicom_node.database.engine import Database
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from tests.support.small_study import ROLES, make_small_study
from tests.support.viewer_study import instance_row

__all__ = ["hold_run", "hold_small_study"]


def hold_small_study(
    database: Database,
    folder: Path,
    name: str,
    roles: Sequence[str] = ROLES,
    *,
    received_at: datetime | None = None,
    attributes: Mapping[str, object] | None = None,
) -> str:
    """Keep a study that no run has worked on, and return its UID.

    Parameters
    ----------
    name
        From which its UIDs come; also its key.
    attributes
        Of every instance, by keyword; ``SeriesDescription`` may be a text with ``{role}``.
    """
    instances = make_small_study(name, roles)
    study_uid = str(instances[0].StudyInstanceUID)
    with database.session() as session:
        session.add(StudyRow(study_uid=study_uid, key=name, last_received_at=received_at or utc_now()))
        session.flush()
        for number, ds in enumerate(instances):
            for keyword, value in (attributes or {}).items():
                text = value.format(role=ds.SeriesDescription) if isinstance(value, str) else value
                setattr(ds, keyword, text)
            path = Path("inbox", name, f"{number}.dcm")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            ds.save_as(folder / path, enforce_file_format=True)
            session.add(instance_row(ds, str(path)))
    return study_uid


def hold_run(database: Database, state: RunState, step: str = "") -> None:
    """Keep a study, of which nothing else is there, with a run in a state; UID ``1.2``, key ``abc``, run ``run``."""
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="abc", state=StudyState(state), current_run="run"))
        session.flush()
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": state, "step": step}
        session.add(RunRow(run_id="run", study_uid="1.2", **facts))
