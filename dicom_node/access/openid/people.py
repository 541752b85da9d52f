"""Users whom a provider states: added at their first login, with the role that it gives at each."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dicom_node.access.events import AccessEvent, record
from dicom_node.access.openid.claims import Provided
from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.access.sessions import end_all
from dicom_node.access.users import user_name
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole
from dicom_node.invalid_entry import InvalidEntryError

__all__ = ["PROVIDER", "Known", "put_provided"]

PROVIDER = "identity provider"
"""Who changed a user; no user can be called so, since a user's name has no blank."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A user who may log in, and what the login changed about the user, such as ``role operator``; mostly nothing."""

    name: str
    change: str = ""


def put_provided(database: Database, person: Provided) -> Known:
    """Add or update the user of a subject.

    A user is found by the subject alone. A name that another user has is refused: whoever may choose a name at the
    provider would otherwise become that user.

    Raises
    ------
    ProviderLoginRefused
        When there is no role for the subject, its user is disabled, or no name for it.
    """
    try:
        known = _put(database, person)
    except IntegrityError:  # the same person or name, by another request at this moment
        known = _put(database, person)
    if known.change:
        record(AccessEvent.USER_CHANGED, who=PROVIDER, what=known.change, subject=known.name)
    return known


def _put(database: Database, person: Provided) -> Known:
    with database.session() as session:
        chosen = sa.select(UserRow).where(UserRow.subject_sha256 == person.subject_sha256)
        user = session.scalar(chosen)
        if user is None:
            return _added(session, person)
        if person.role is not None or not user.enabled:
            return _updated(session, user, person.role)
        end_all(session, name := user.name)
    raise ProviderLoginRefused(Problem.NO_ROLE, name)


def _added(session: Session, person: Provided) -> Known:
    if person.role is None:
        raise ProviderLoginRefused(Problem.NO_ROLE)
    try:
        name = user_name(person.name)
    except InvalidEntryError as error:
        raise ProviderLoginRefused(Problem.NO_NAME) from error
    taken = session.get(UserRow, name)
    if taken is not None and taken.subject_sha256 == person.subject_sha256:  # added by another request just now
        return _updated(session, taken, person.role)
    if taken is not None:
        raise ProviderLoginRefused(Problem.NAME_TAKEN)
    session.add(UserRow(name=name, role=person.role, subject_sha256=person.subject_sha256))
    return Known(name=name, change=f"add {person.role}")


def _updated(session: Session, user: UserRow, role: UserRole | None) -> Known:
    if not user.enabled:
        raise ProviderLoginRefused(Problem.DISABLED, user.name)
    if role is None or user.role == role:
        return Known(name=user.name)
    user.role = role
    end_all(session, user.name)
    return Known(name=user.name, change=f"role {role}")
