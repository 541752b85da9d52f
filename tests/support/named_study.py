"""Studies whose headers the worker has read, without their files."""

from datetime import datetime

from conversion.study_identity import StudyIdentity
from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import StudyRow, utc_now
from dicom_node.studies.identities import identity_row

__all__ = ["name_study"]


def name_study(
    database: Database,
    number: int,
    identity: StudyIdentity,
    *,
    state: StudyState = StudyState.DELIVERED,
    received_at: datetime | None = None,
    patients: int = 1,
) -> str:
    """Keep a study with what its header states; return its key."""
    uid, key, at = f"1.2.{number}", f"key{number}", received_at or utc_now()
    with database.session() as session:
        session.add(StudyRow(study_uid=uid, key=key, state=state, last_received_at=at, identity_due=False))
        session.flush()
        session.add(identity_row(uid, at, [identity], patients))
    return key
