"""The login: who gets in, how often one may fail, and that a stranger cannot lock anyone out for ever."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from structlog.testing import capture_logs

import dicom_node.access.passwords
from dicom_node.access.attempts import PER_ADDRESS, PER_NAME, WINDOW, Attempt, admit, forget
from dicom_node.access.links import new_link
from dicom_node.access.login import Entered, LoggedIn, LoginRefused, log_in, open_session_by_link
from dicom_node.access.sessions import SessionLimits, caller_of
from dicom_node.access.users import LinkUsed, add_user, change_password, set_enabled
from dicom_node.database.access_tables import LoginFailureRow, UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.database.tables import utc_now

LIMITS = SessionLimits(idle=timedelta(hours=1), longest=timedelta(hours=12))
WORDS = "correct horse battery"
HOME, FAR = "192.0.2.1", "203.0.113.9"


@pytest.fixture
def anna(books: Database) -> Database:
    add_user(books, "anna", UserRole.ADMINISTRATOR, "test")
    change_password(books, "anna", WORDS, WORDS)
    return books


def _enter(database: Database, name: str = "anna", password: str = WORDS, **more: str) -> LoggedIn:
    return log_in(database, LIMITS, Entered(name=name, password=password, **({"address": HOME} | more)))


def _fails(database: Database, name: str = "anna", password: str = "wrong", **more: str) -> LoginRefused:  # noqa: S107
    with pytest.raises(LoginRefused) as refused:
        _enter(database, name, password, **more)
    return refused.value


def _counted(database: Database, name: str = "anna", address: str = HOME, browser: str = "") -> bool:
    """Let a login fail as far as the count is concerned, without the time that a hash takes."""
    return admit(database, Attempt(name=name, address=address, known_browser=browser)) is None


def test_the_right_password_opens_a_session_of_its_user(anna: Database) -> None:
    caller = caller_of(anna, _enter(anna, " ANNA ").session, LIMITS)
    assert caller is not None
    assert (caller.name, caller.role, caller.owner) == ("anna", UserRole.ADMINISTRATOR, "user:anna")


def test_a_stranger_learns_nothing_about_who_is_there(anna: Database) -> None:
    add_user(anna, "bert", UserRole.VIEWER, "test")  # has no password yet
    add_user(anna, "carl", UserRole.VIEWER, "test")
    change_password(anna, "carl", WORDS, WORDS)
    set_enabled(anna, "carl", "test", enabled=False)
    pairs = [("anna", "wrong"), ("nobody", WORDS), ("", ""), ("bert", ""), ("bert", WORDS), ("carl", WORDS)]
    answers = {str(_fails(anna, name, password)) for name, password in pairs}
    assert answers == {"Name and password do not belong together, or this user is disabled."}


def test_a_guess_at_a_name_computes_a_hash_too(anna: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody has takes as long as one that somebody has, because the same is computed."""
    computed = []
    real = dicom_node.access.passwords._HASHER

    class Counting:
        hash = staticmethod(real.hash)

        @staticmethod
        def verify(kept: str, password: bytes) -> bool:
            computed.append(kept.split("$")[1:4])
            return real.verify(kept, password)

    monkeypatch.setattr(dicom_node.access.passwords, "_HASHER", Counting)
    for name in ("anna", "nobody"):
        _fails(anna, name)
    assert len(computed) == 2
    assert computed[0] == computed[1]


def test_too_many_failures_for_a_name_are_refused_even_with_the_right_password(anna: Database) -> None:
    for number in range(PER_NAME):
        assert _counted(anna, address=f"198.51.100.{number}")
    refused = _fails(anna, password=WORDS, address=FAR)
    assert timedelta(0) < refused.wait <= WINDOW
    assert "Too many logins failed. Try again in 15 minutes." in str(refused)


def test_the_limit_ends_with_its_window(anna: Database) -> None:
    for _ in range(PER_NAME - 1):
        assert _counted(anna)
    assert _fails(anna).wait == timedelta()  # a login that fails counts as one
    assert _fails(anna, password=WORDS).wait > timedelta()
    with anna.session() as session:
        session.execute(sa.update(LoginFailureRow).values(until=utc_now() - timedelta(seconds=5)))
    assert _enter(anna).name == "anna"


def test_a_browser_that_is_known_is_not_locked_out_by_a_stranger(anna: Database) -> None:
    browser = _enter(anna).browser
    assert browser
    for _ in range(PER_NAME):
        assert _counted(anna, address=HOME)  # even from her own address
    assert _fails(anna, password=WORDS, address=HOME).wait > timedelta()
    known = _enter(anna, address=HOME, browser=browser)
    assert (known.name, known.browser) == ("anna", "")  # it is known already
    for _ in range(PER_NAME):
        assert _counted(anna, browser=browser)
    assert _fails(anna, password=WORDS, browser=browser).wait > timedelta()  # it has a limit of its own


def test_a_known_browser_is_known_for_its_user_alone_and_until_the_password_changes(anna: Database) -> None:
    add_user(anna, "bert", UserRole.VIEWER, "test")
    change_password(anna, "bert", WORDS, WORDS)
    browser = _enter(anna, "bert").browser
    for _ in range(PER_NAME):
        assert _counted(anna)
    assert _fails(anna, "anna", WORDS, browser=browser).wait > timedelta()
    change_password(anna, "bert", WORDS, WORDS)
    assert _enter(anna, "bert", browser=browser).browser not in ("", browser)


def test_one_address_may_not_try_many_names(anna: Database) -> None:
    for number in range(PER_ADDRESS):
        assert _counted(anna, f"user{number}", FAR)
    assert _fails(anna, "another", address=FAR).wait > timedelta()
    assert _fails(anna, password=WORDS, address=f"::ffff:{FAR}").wait > timedelta()  # the same one
    assert _enter(anna, address=HOME).name == "anna"
    with anna.session() as session:
        keys = session.scalars(sa.select(LoginFailureRow.key)).all()
    assert len(keys) == PER_ADDRESS + 1  # what was refused by its address makes no row for its name
    assert not any("user1" in key or FAR in key for key in keys)


def test_addresses_of_one_network_of_ipv6_count_as_one(anna: Database) -> None:
    for number in range(PER_ADDRESS):
        assert _counted(anna, f"user{number}", f"2001:db8::{number:x}")
    assert _fails(anna, "another", address="2001:db8::ffff:1").wait > timedelta()
    assert _fails(anna, "another", address="2001:db8:0:1::1").wait == timedelta()


def test_logins_that_succeed_do_not_count(anna: Database) -> None:
    for _ in range(PER_ADDRESS + 1):
        attempt = Attempt(name="anna", address=HOME)
        assert admit(anna, attempt) is None
        forget(anna, attempt)
    with anna.session() as session:
        assert session.scalars(sa.select(LoginFailureRow)).all() == []


def test_a_success_forgives_the_name_and_not_the_address(anna: Database) -> None:
    for number in range(PER_ADDRESS - 1):
        assert _counted(anna, f"user{number}")
    assert _counted(anna)
    assert _fails(anna).wait > timedelta()
    assert _enter(anna, address=FAR).name == "anna"
    assert _fails(anna, "another").wait > timedelta()


def test_processes_that_try_at_the_same_time_have_one_limit(anna: Database) -> None:
    attempt = Attempt(name="anna", address=HOME)

    def one(_number: int) -> bool:
        return admit(anna, attempt) is None

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(4 * PER_NAME))) == PER_NAME


def test_a_hash_of_older_parameters_is_made_anew_at_the_next_login(anna: Database) -> None:
    with anna.session() as session:
        session.get_one(UserRow, "anna").password_hash = PasswordHasher(1, 8, 1).hash(WORDS)
    _enter(anna)
    with anna.session() as session:
        assert "m=65536,t=3,p=4" in session.get_one(UserRow, "anna").password_hash
    assert _enter(anna).name == "anna"


def _token(link: str) -> str:
    return link.partition("token=")[2]


def test_a_link_opens_one_session(anna: Database) -> None:
    token = _token(new_link(anna, "http://node", LinkKind.OPEN, "anna"))
    opened = open_session_by_link(anna, LIMITS, token, address=HOME)
    assert caller_of(anna, opened.session, LIMITS) is not None
    assert opened.browser == ""  # whoever had a link need not be at a browser of the user's
    with pytest.raises(LinkUsed):
        open_session_by_link(anna, LIMITS, token, address=HOME)


@pytest.mark.parametrize("kind", [LinkKind.FIRST, LinkKind.PASSWORD, LinkKind.DEVICE])
def test_another_kind_of_token_opens_no_session(anna: Database, kind: LinkKind) -> None:
    token = _token(new_link(anna, "http://node", kind, "anna"))
    with pytest.raises(LinkUsed):
        open_session_by_link(anna, LIMITS, token, address=HOME)


def test_a_link_of_a_disabled_user_opens_nothing(anna: Database) -> None:
    token = _token(new_link(anna, "http://node", LinkKind.OPEN, "anna"))
    with anna.session() as session:
        session.get_one(UserRow, "anna").enabled = False
    with pytest.raises(LinkUsed):
        open_session_by_link(anna, LIMITS, token, address=HOME)


def test_logins_and_refusals_are_recorded_without_what_was_typed(anna: Database) -> None:
    with capture_logs() as logs:
        _enter(anna)
        _fails(anna)
        _fails(anna, "Doe^John", WORDS)
    assert [(one["event"], one.get("who"), one["what"], one["address"]) for one in logs] == [
        ("access_login", "anna", "password", HOME),
        ("access_login_refused", "anna", "wrong name or password", HOME),
        ("access_login_refused", None, "wrong name or password", HOME),
    ]
    assert "doe" not in str(logs).lower()
    assert WORDS not in str(logs)
