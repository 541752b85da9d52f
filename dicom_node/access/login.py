"""The login by name and password, and by a link that opens a session at once."""

import math
from dataclasses import dataclass
from datetime import timedelta

from dicom_node.access.attempts import Attempt, admit, forget
from dicom_node.access.events import AccessEvent, record
from dicom_node.access.links import find_link, keep_token, use_up
from dicom_node.access.passwords import hash_password, is_password, needs_new_hash
from dicom_node.access.sessions import SessionLimits, begin_session
from dicom_node.access.users import LinkUsed
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole

__all__ = [
    "Entered",
    "LoggedIn",
    "LoginRefused",
    "check_password_role",
    "log_in",
    "open_session",
    "open_session_by_link",
    "right_password",
]


@dataclass(frozen=True, kw_only=True)
class Entered:
    """What somebody enters to log in, from an address; `browser` is the cookie of a known browser, if it has one."""

    name: str
    password: str
    address: str
    browser: str = ""


@dataclass(frozen=True, kw_only=True)
class LoggedIn:
    """The cookies of a login: of the session, and of the browser, which is known from now on."""

    name: str
    session: str
    browser: str = ""


class LoginRefused(Exception):  # noqa: N818 - named for what happened
    """A login that was refused, with a sentence that does not tell whether there is such a user.

    Parameters
    ----------
    wait
        How long no further attempt is taken; zero where one is.
    """

    def __init__(self, sentence: str, wait: timedelta = timedelta()) -> None:
        super().__init__(sentence)
        self.wait = wait


def log_in(database: Database, limits: SessionLimits, entered: Entered, least: UserRole = UserRole.VIEWER) -> LoggedIn:
    """Begin a session for a user who states the password.

    Parameters
    ----------
    least
        The least role that may log in by a password.

    Raises
    ------
    LoginRefused
        When name and password do not belong together, the user is disabled, or too many attempts failed. With the
        right password only: when the user's role may not log in by one.
    """
    kept, address, browser = entered.name.strip().lower(), entered.address, entered.browser
    right_password(database, kept, entered.password, address=address, browser=browser)
    check_password_role(database, kept, least, address=address)
    return open_session(database, limits, kept, address=address, remember=not _known(database, kept, browser))


def check_password_role(database: Database, name: str, least: UserRole, *, address: str) -> None:
    """Check that a user may log in by a password at all.

    Raises
    ------
    LoginRefused
        When the role is below the least one.
    """
    with database.session() as session:
        user = session.get(UserRow, name)
    if user is not None and not UserRole(user.role).covers(least):
        record(AccessEvent.LOGIN_REFUSED, who=name, what="not by password", address=address)
        raise LoginRefused("Only administrators log in with a password here. Use the button above.")


def right_password(database: Database, name: str, password: str, *, address: str, browser: str = "") -> None:
    """Check the password of a user, as often as is allowed.

    Raises
    ------
    LoginRefused
        As `log_in` does.
    """
    attempt = Attempt(name=name, address=address, known_browser=browser if _known(database, name, browser) else "")
    with database.session() as session:
        user = session.get(UserRow, name)
    known = "" if user is None else user.name
    if (wait := admit(database, attempt)) is not None:
        record(AccessEvent.LOGIN_REFUSED, who=known, what="too many attempts", address=address)
        minutes = math.ceil(wait.total_seconds() / 60)
        sentence = f"Too many logins failed. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}."
        raise LoginRefused(sentence, wait)
    hashed = "" if user is None or not user.enabled else user.password_hash
    if not is_password(hashed, password) or user is None:
        record(AccessEvent.LOGIN_REFUSED, who=known, what="wrong name or password", address=address)
        raise LoginRefused("Name and password do not belong together, or this user is disabled.")
    forget(database, attempt)
    if needs_new_hash(hashed):
        renewed = hash_password(password)
        with database.session() as session:
            session.get_one(UserRow, name).password_hash = renewed


def open_session(
    database: Database, limits: SessionLimits, name: str, *, address: str, remember: bool, by: str = "password"
) -> LoggedIn:
    """Begin a session for a user who has shown who they are.

    Parameters
    ----------
    remember
        Whether the browser is known from now on.
    """
    token = begin_session(database, name, limits, address)
    browser = ""
    if remember:
        with database.session() as session:
            browser = keep_token(database, session, LinkKind.DEVICE, name)
    record(AccessEvent.LOGIN, who=name, what=by, address=address)
    return LoggedIn(name=name, session=token, browser=browser)


def open_session_by_link(database: Database, limits: SessionLimits, token: str, *, address: str) -> LoggedIn:
    """Begin a session by a link that opens one.

    Raises
    ------
    LinkUsed
        When the link is not valid any more, or its user is gone or disabled.
    """
    link = find_link(database, token, LinkKind.OPEN)
    with database.session() as session:
        user = session.get(UserRow, link.user) if link else None
        if user is None or not user.enabled or not use_up(database, session, token, LinkKind.OPEN, user.name):
            raise LinkUsed
    return open_session(database, limits, user.name, address=address, remember=False, by="link")


def _known(database: Database, name: str, browser: str) -> bool:
    link = find_link(database, browser, LinkKind.DEVICE)
    return link is not None and link.user == name
