"""Users of the panel: each with a name, a role and a password, which nobody but the user knows."""

import re
from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.access.events import AccessEvent, record
from dicom_node.access.links import new_link, remove_links, use_up
from dicom_node.access.passwords import check_password, hash_password
from dicom_node.access.sessions import end_all
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.database.upload_tables import ApiTokenRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError

__all__ = [
    "LinkUsed",
    "UnknownUser",
    "add_first_administrator",
    "add_user",
    "administrators",
    "change_password",
    "has_administrator",
    "list_users",
    "new_password_link",
    "put_demo_user",
    "remove_user",
    "set_enabled",
    "set_password_by_link",
    "set_role",
    "somebody_can_log_in",
    "user_name",
]

DEMO = "demo"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_ALL_LINKS = tuple(LinkKind)


class UnknownUser(InvalidEntryError):  # noqa: N818 - named for what happened
    """No user has this name."""


class LinkUsed(Exception):  # noqa: N818 - named for what happened
    """A one-time link that has been used, has expired, or never was one."""


def user_name(entered: str) -> str:
    """Return a user's name as it is kept, without regard to case.

    Raises
    ------
    InvalidEntryError
        For a name that cannot be used.
    """
    name = entered.strip().lower()
    if _NAME.fullmatch(name) is None:
        sentence = "A user's name has up to 64 letters a to z, digits, dots, hyphens, underscores and @."
        raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))
    return name


def list_users(database: Database) -> Sequence[UserRow]:
    """Return the users by name."""
    with database.session() as session:
        return session.scalars(sa.select(UserRow).order_by(UserRow.name)).all()


def administrators(database: Database) -> list[str]:
    """Return the names of those whom a user may ask."""
    return [user.name for user in list_users(database) if user.enabled and user.role == UserRole.ADMINISTRATOR]


def has_administrator(database: Database) -> bool:
    """Return whether somebody can log in who can add users; otherwise a start prints the link of the first one."""
    with database.session() as session:
        return bool(session.scalar(sa.select(sa.func.count()).select_from(UserRow).where(*_WHO_CAN_ADMINISTRATE)))


def somebody_can_log_in(database: Database) -> bool:
    """Return whether any user has a password, so that a page may ask for one."""
    with database.session() as session:
        able = sa.select(UserRow.name).where(UserRow.enabled, UserRow.password_hash != "").limit(1)
        return session.scalar(able) is not None


def add_user(database: Database, name: str, role: UserRole, by: str) -> str:
    """Add a user who has no password yet, and return the name as it is kept.

    Raises
    ------
    InvalidEntryError
        For a name that cannot be used or is used already.
    """
    kept = user_name(name)
    with database.session() as session:
        if session.get(UserRow, kept) is not None:
            sentence = f"There is a user named {kept} already."
            raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))
        session.add(UserRow(name=kept, role=role))
    record(AccessEvent.USER_CHANGED, who=by, what=f"add {role}", subject=kept)
    return kept


def new_password_link(database: Database, base_url: str, name: str, by: str) -> str:
    """Make a one-time link by which a user sets a password; what the user had before holds until then.

    Raises
    ------
    UnknownUser
        When there is no such user.
    InvalidEntryError
        For a user who logs in by OpenID Connect.
    """
    with database.session() as session:
        user = session.get(UserRow, name.strip().lower())
    if user is None:
        raise UnknownUser(FieldProblem(field="name", sentence=f"There is no user named {name}."))
    _only_own(user, "password")
    link = new_link(database, base_url, LinkKind.PASSWORD, user.name)
    record(AccessEvent.USER_CHANGED, who=by, what="link to set a password", subject=user.name)
    return link


def put_demo_user(database: Database) -> str:
    """Add the administrator of the demonstration, who has no password and comes in by a link alone."""
    with database.session() as session:
        session.merge(UserRow(name=DEMO, role=UserRole.ADMINISTRATOR, enabled=True))
    return DEMO


def set_role(database: Database, name: str, role: UserRole, by: str) -> None:
    """Change what a user may do; the user logs in again.

    Raises
    ------
    InvalidEntryError
        For an unknown name, where no administrator would be left, and for a user who logs in by OpenID Connect.
    """

    def change(session: Session, user: UserRow) -> None:
        _only_own(user, "role")
        if role is not UserRole.ADMINISTRATOR:
            _keep_an_administrator(session, user)
        user.role = role
        end_all(session, user.name)

    _change(database, name, by, f"role {role}", change)


def set_enabled(database: Database, name: str, by: str, *, enabled: bool) -> None:
    """Let a user log in or not; who may not is logged out at once, with every token and link.

    Raises
    ------
    InvalidEntryError
        For an unknown name, and where no administrator would be left.
    """

    def change(session: Session, user: UserRow) -> None:
        if not enabled:
            _keep_an_administrator(session, user)
            end_all(session, user.name)
            remove_links(session, user.name, *_ALL_LINKS)
        user.enabled = enabled

    _change(database, name, by, "enable" if enabled else "disable", change)


def remove_user(database: Database, name: str, by: str) -> None:
    """Remove a user with every session, link and token; what the user did keeps the name.

    Raises
    ------
    InvalidEntryError
        For an unknown name, and where no administrator would be left.
    """

    def change(session: Session, user: UserRow) -> None:
        _keep_an_administrator(session, user)
        end_all(session, user.name)
        remove_links(session, user.name, *_ALL_LINKS)
        session.execute(sa.delete(ApiTokenRow).where(ApiTokenRow.user == user.name))
        session.delete(user)

    _change(database, name, by, "remove", change)


def change_password(database: Database, name: str, password: str, again: str) -> None:
    """Give a user, who is logged in and has stated the old password, a new one; every session ends.

    Raises
    ------
    InvalidEntryError
        For a password that cannot be used.
    """
    check_password(name, password, again)
    kept = hash_password(password)
    _change(database, name, name, "password", lambda session, user: _set_password(session, user, kept))


def set_password_by_link(database: Database, token: str, name: str, password: str, again: str) -> None:
    """Give a user a password by the one-time link made for that; every session ends.

    Raises
    ------
    LinkUsed
        When the link is not valid any more.
    InvalidEntryError
        For a password that cannot be used; the link stays valid.
    """
    check_password(name, password, again)
    kept = hash_password(password)

    def change(session: Session, user: UserRow) -> None:
        if not user.enabled or not use_up(database, session, token, LinkKind.PASSWORD, user.name):
            raise LinkUsed
        _set_password(session, user, kept)

    _change(database, name, name, "password by link", change)


def add_first_administrator(database: Database, token: str, name: str, password: str, again: str) -> str:
    """Add the first administrator by the one-time link of the first start, and return the name as it is kept.

    Raises
    ------
    LinkUsed
        When the link is not valid any more, or there is an administrator already.
    InvalidEntryError
        For a name or a password that cannot be used; the link stays valid.
    """
    kept = user_name(name)
    check_password(kept, password, again)
    hashed = hash_password(password)
    with database.session() as session:
        if not use_up(database, session, token, LinkKind.FIRST):
            raise LinkUsed
        if session.scalar(sa.select(UserRow.name).where(*_WHO_CAN_ADMINISTRATE).limit(1)):
            raise LinkUsed
        if session.get(UserRow, kept) is not None:
            sentence = f"There is a user named {kept} already. Choose another name."
            raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))
        session.add(UserRow(name=kept, role=UserRole.ADMINISTRATOR, password_hash=hashed))
    record(AccessEvent.USER_CHANGED, who=kept, what="add first administrator", subject=kept)
    return kept


_WHO_CAN_ADMINISTRATE = (
    UserRow.enabled,
    UserRow.role == UserRole.ADMINISTRATOR,
    UserRow.password_hash != "",
)


def _keep_an_administrator(session: Session, user: UserRow) -> None:
    """Refuse to take the last administrator away."""
    able = sa.select(UserRow).where(*_WHO_CAN_ADMINISTRATE).order_by(UserRow.name).with_for_update()
    rows = session.scalars(able).all()
    if [row.name for row in rows] == [user.name]:
        sentence = f"{user.name} is the only administrator with a password. Make another one first."
        raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))


def _only_own(user: UserRow, what: str) -> None:
    """Refuse to give a user of an identity provider what the provider alone gives."""
    if user.subject_sha256 is not None:
        sentence = f"{user.name} logs in by OpenID Connect, and has the {what} there alone. Change it there."
        raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))


def _set_password(session: Session, user: UserRow, hashed: str) -> None:
    user.password_hash = hashed
    end_all(session, user.name)
    remove_links(session, user.name, *_ALL_LINKS)  # browsers that are known too: who knew the old password had one


def _change(database: Database, name: str, by: str, what: str, change: Callable[[Session, UserRow], None]) -> None:
    with database.session() as session:
        user = session.get(UserRow, name.strip().lower())
        if user is None:
            raise UnknownUser(FieldProblem(field="name", sentence=f"There is no user named {name}."))
        change(session, user)
        kept = user.name
    record(AccessEvent.USER_CHANGED, who=by, what=what, subject=kept)
