"""Users: names, roles, passwords as hashes, and what ends with each change; on SQLite and PostgreSQL."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from dicom_node.access.links import find_link, new_link
from dicom_node.access.passwords import hash_password, is_password, needs_new_hash
from dicom_node.access.sessions import SessionLimits, begin_session, caller_of, sessions_of
from dicom_node.access.users import (
    LinkUsed,
    UnknownUser,
    add_first_administrator,
    add_user,
    administrators,
    change_password,
    has_administrator,
    list_users,
    new_password_link,
    put_demo_user,
    remove_user,
    set_enabled,
    set_password_by_link,
    set_role,
)
from dicom_node.database.access_tables import SessionRow, UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.database.tables import LoginTokenRow, utc_now
from dicom_node.invalid_entry import InvalidEntryError

LIMITS = SessionLimits(idle=timedelta(hours=1), longest=timedelta(hours=12))
WORDS = "correct horse battery"
OTHERS = "another long sentence"


def _token(link: str) -> str:
    return link.partition("token=")[2].partition("&")[0]


def _first(database: Database, name: str = "anna") -> str:
    token = _token(new_link(database, "http://node", LinkKind.FIRST))
    return add_first_administrator(database, token, name, WORDS, WORDS)


def _is_in(database: Database, cookie: str) -> bool:
    return caller_of(database, cookie, LIMITS) is not None


def test_nobody_is_there_at_first_and_the_link_makes_one_administrator(books: Database) -> None:
    assert (list_users(books), has_administrator(books)) == ([], False)
    one, two = (_token(new_link(books, "http://node", LinkKind.FIRST)) for _ in range(2))
    assert add_first_administrator(books, one, " Anna ", WORDS, WORDS) == "anna"
    assert (has_administrator(books), administrators(books)) == (True, ["anna"])
    for token in (one, two):  # the other link is of no use either
        with pytest.raises(LinkUsed):
            add_first_administrator(books, token, "mallory", WORDS, WORDS)
    late = _token(new_link(books, "http://node", LinkKind.FIRST))
    with pytest.raises(LinkUsed):
        add_first_administrator(books, late, "mallory", WORDS, WORDS)
    assert [user.name for user in list_users(books)] == ["anna"]


def test_a_wrong_entry_does_not_use_the_link_up(books: Database) -> None:
    token = _token(new_link(books, "http://node", LinkKind.FIRST))
    for name, password, again in (("", WORDS, WORDS), ("anna", "short", "short"), ("anna", WORDS, OTHERS)):
        with pytest.raises(InvalidEntryError):
            add_first_administrator(books, token, name, password, again)
    assert add_first_administrator(books, token, "anna", WORDS, WORDS) == "anna"


def test_the_book_holds_an_argon2_hash_and_no_password(books: Database) -> None:
    _first(books)
    (user,) = list_users(books)
    assert user.password_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert WORDS not in user.password_hash
    assert is_password(user.password_hash, WORDS)
    assert not is_password(user.password_hash, WORDS.upper())
    assert hash_password(WORDS) != hash_password(WORDS)  # salted
    assert not needs_new_hash(user.password_hash)


@pytest.mark.parametrize("kept", ["", "no hash", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"])
def test_without_a_hash_no_password_is_right(kept: str) -> None:
    for password in ("", WORDS, "nobody has this password", "\ud800"):
        assert not is_password(kept, password)


def test_the_same_letters_are_the_same_password_on_any_keyboard() -> None:
    assert is_password(hash_password("Grüße aus Köln, um acht"), "Gru\u0308ße aus Ko\u0308ln, um acht")


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "ä", "-a", "a" * 65, "a\nb", "<b>", "command line"])
def test_an_odd_name_is_refused(books: Database, name: str) -> None:
    with pytest.raises(InvalidEntryError, match="A user's name has up to 64 letters"):
        add_user(books, name, UserRole.VIEWER, "test")
    assert list_users(books) == []


@pytest.mark.parametrize(
    ("password", "sentence"),
    [
        ("14 characters.", "15 to 256 characters"),
        ("x" * 257, "15 to 256 characters"),
        ("aaaaaaaaaaaaaaaaaaaa", "at least 5 different characters"),
        ("Anna Anna Anna 1", "not the user's name"),
    ],
)
def test_a_weak_password_is_refused_with_what_would_do(books: Database, password: str, sentence: str) -> None:
    _first(books)
    with pytest.raises(InvalidEntryError, match=sentence):
        change_password(books, "anna", password, password)
    assert is_password(list_users(books)[0].password_hash, WORDS)


def test_a_name_is_given_once_whatever_its_case(books: Database) -> None:
    assert add_user(books, "Bert", UserRole.VIEWER, "test") == "bert"
    with pytest.raises(InvalidEntryError, match="There is a user named bert already"):
        add_user(books, "BERT", UserRole.ADMINISTRATOR, "test")
    assert [(user.name, user.role) for user in list_users(books)] == [("bert", UserRole.VIEWER)]


def test_a_link_sets_a_password_once_and_an_older_one_does_not(books: Database) -> None:
    add_user(books, "bert", UserRole.VIEWER, "test")
    older = _token(new_password_link(books, "http://node", "bert", "test"))
    newer = _token(new_password_link(books, "http://node", "BERT", "test"))
    with pytest.raises(LinkUsed):
        set_password_by_link(books, older, "bert", WORDS, WORDS)
    set_password_by_link(books, newer, "bert", WORDS, WORDS)
    with pytest.raises(LinkUsed):
        set_password_by_link(books, newer, "bert", OTHERS, OTHERS)
    assert is_password(list_users(books)[0].password_hash, WORDS)
    with pytest.raises(UnknownUser, match="There is no user named nobody"):
        new_password_link(books, "http://node", "nobody", "test")


def test_a_link_of_one_user_sets_no_password_of_another(books: Database) -> None:
    _first(books)
    add_user(books, "bert", UserRole.VIEWER, "test")
    token = _token(new_password_link(books, "http://node", "bert", "test"))
    with pytest.raises(LinkUsed):
        set_password_by_link(books, token, "anna", OTHERS, OTHERS)
    assert is_password(next(one for one in list_users(books) if one.name == "anna").password_hash, WORDS)


def test_links_expire(books: Database) -> None:
    add_user(books, "bert", UserRole.VIEWER, "test")
    token = _token(new_password_link(books, "http://node", "bert", "test"))
    assert find_link(books, token, LinkKind.PASSWORD) is not None
    assert find_link(books, token, LinkKind.OPEN, LinkKind.FIRST) is None
    with books.session() as session:
        left = session.scalars(sa.select(LoginTokenRow)).one().expires_at - utc_now()
        assert timedelta(hours=23, minutes=55) < left <= timedelta(hours=24)
        session.execute(sa.update(LoginTokenRow).values(expires_at=utc_now() - timedelta(seconds=5)))
    assert find_link(books, token, LinkKind.PASSWORD) is None
    with pytest.raises(LinkUsed):
        set_password_by_link(books, token, "bert", WORDS, WORDS)


@pytest.mark.parametrize("change", ["password", "role", "disable", "remove", "link"])
def test_each_change_of_what_a_user_may_do_ends_their_sessions(books: Database, change: str) -> None:
    _first(books)
    add_user(books, "bert", UserRole.OPERATOR, "test")
    hers, his = begin_session(books, "anna", LIMITS), begin_session(books, "bert", LIMITS)
    assert (_is_in(books, hers), _is_in(books, his)) == (True, True)
    if change == "password":
        change_password(books, "bert", WORDS, WORDS)
    elif change == "link":
        token = _token(new_password_link(books, "http://node", "bert", "test"))
        assert _is_in(books, his)  # it is not used yet
        set_password_by_link(books, token, "bert", WORDS, WORDS)
    elif change == "role":
        set_role(books, "bert", UserRole.VIEWER, "test")
    elif change == "disable":
        set_enabled(books, "bert", "test", enabled=False)
    else:
        remove_user(books, "bert", "test")
    assert (_is_in(books, hers), _is_in(books, his)) == (True, False)


def test_a_disabled_user_has_no_session_even_if_one_was_left(books: Database) -> None:
    add_user(books, "bert", UserRole.VIEWER, "test")
    cookie = begin_session(books, "bert", LIMITS)
    with books.session() as session:
        session.get_one(UserRow, "bert").enabled = False
    assert not _is_in(books, cookie)


def test_a_disabled_user_s_link_sets_no_password(books: Database) -> None:
    add_user(books, "bert", UserRole.VIEWER, "test")
    token = _token(new_password_link(books, "http://node", "bert", "test"))
    set_enabled(books, "bert", "test", enabled=False)
    with pytest.raises(LinkUsed):
        set_password_by_link(books, token, "bert", WORDS, WORDS)


def test_the_last_administrator_stays(books: Database) -> None:
    _first(books)
    add_user(books, "bert", UserRole.ADMINISTRATOR, "test")  # has no password: could not log in
    for change in (
        lambda: set_enabled(books, "anna", "test", enabled=False),
        lambda: set_role(books, "anna", UserRole.OPERATOR, "test"),
        lambda: remove_user(books, "anna", "test"),
    ):
        with pytest.raises(InvalidEntryError, match="anna is the only administrator with a password"):
            change()
    assert has_administrator(books)
    change_password(books, "bert", WORDS, WORDS)
    remove_user(books, "anna", "test")
    assert administrators(books) == ["bert"]


def test_the_demonstration_s_user_is_no_administrator_who_could_log_in(books: Database) -> None:
    assert put_demo_user(books) == put_demo_user(books) == "demo"
    assert not has_administrator(books)  # so the next start still prints the link of the first one
    assert _first(books) == "anna"
    with pytest.raises(InvalidEntryError, match="There is a user named demo already"):
        add_user(books, "demo", UserRole.VIEWER, "test")


def test_a_session_ends_unused_and_after_its_time(books: Database) -> None:
    add_user(books, "bert", UserRole.VIEWER, "test")
    cookie = begin_session(books, "bert", LIMITS, "192.0.2.7")
    (row,) = sessions_of(books, "bert", LIMITS)
    assert (row.address, row.expires_at - row.created_at) == ("192.0.2.7", timedelta(hours=12))

    def at(**values: object) -> bool:
        with books.session() as session:
            session.execute(sa.update(SessionRow).values(**values))
        return _is_in(books, cookie)

    now = utc_now()
    assert at(seen_at=now - timedelta(minutes=50))
    (row,) = sessions_of(books, "bert", LIMITS)
    assert row.seen_at >= now - timedelta(seconds=5)  # it was used
    assert not at(seen_at=now - timedelta(minutes=70))
    assert sessions_of(books, "bert", LIMITS) == []
    assert at(seen_at=now)
    assert not at(expires_at=now - timedelta(seconds=5))
    begin_session(books, "bert", LIMITS)
    with books.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(SessionRow)) == 1  # the ended one is removed


def test_every_change_is_recorded_with_who_made_it(database: Database) -> None:
    with capture_logs() as logs:
        _first(database)
        add_user(database, "bert", UserRole.VIEWER, "anna")
        set_role(database, "bert", UserRole.OPERATOR, "anna")
        set_enabled(database, "bert", "anna", enabled=False)
        new_password_link(database, "http://node", "bert", "anna")
        remove_user(database, "bert", "anna")
    assert [(one["event"], one["who"], one["what"], one["subject"]) for one in logs] == [
        ("access_user_changed", "anna", "add first administrator", "anna"),
        ("access_user_changed", "anna", "add viewer", "bert"),
        ("access_user_changed", "anna", "role operator", "bert"),
        ("access_user_changed", "anna", "disable", "bert"),
        ("access_user_changed", "anna", "link to set a password", "bert"),
        ("access_user_changed", "anna", "remove", "bert"),
    ]
