"""Tokens of programs: shown once, kept as hashes, for their scopes, refused once removed or expired."""

import sqlite3
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.access.links import token_sha256
from dicom_node.access.tokens import add_token, list_tokens, program_of, remove_token
from dicom_node.access.users import add_user, remove_user, set_enabled, set_role
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import TokenScope, UserRole
from dicom_node.database.upload_tables import ApiTokenRow
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import read_settings
from tests.support.commands import document, failure, run


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the node that commands use."""
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))
    return tmp_path / "node"


_run, _document, _failure = (partial(one, "tokens") for one in (run, document, failure))


def _name(database: Database, token: str) -> str:
    program = program_of(database, token)
    return program.name if program else ""


def _known(token: str) -> str:
    database = open_database(read_settings().database_url)
    name = _name(database, token)
    database.engine.dispose()
    return name


def _everything_in(database: Path) -> str:
    connection = sqlite3.connect(database)
    dump = "\n".join(connection.iterdump())
    connection.close()
    return dump


def test_a_token_is_known_by_the_name_it_was_given(books: Database) -> None:
    first, second = add_token(books, "study of 2026"), add_token(books, "PACS-2_b.c")
    assert first != second
    assert min(len(first), len(second)) >= 43  # 32 random bytes
    assert [_name(books, token) for token in (first, second)] == ["study of 2026", "PACS-2_b.c"]


def test_what_is_no_token_has_no_name(books: Database) -> None:
    token = add_token(books, "study")
    (row,) = list_tokens(books)
    for wrong in ("", "study", token[:-1], f"{token} ", token.swapcase(), row.token_sha256, "\ud800", "\0"):
        assert _name(books, wrong) == ""


def test_tokens_are_listed_by_name(books: Database) -> None:
    before = datetime.now(UTC)
    for name in ("b", "c", "a"):
        add_token(books, name)
    rows = list_tokens(books)
    assert [row.name for row in rows] == ["a", "b", "c"]
    assert all(before <= row.created_at <= datetime.now(UTC) for row in rows)


def test_the_books_do_not_contain_the_token(database: Database, tmp_path: Path) -> None:
    token = add_token(database, "study")
    content = _everything_in(tmp_path / "node.sqlite")
    assert "study" in content
    assert token not in content


def test_a_name_is_given_once_until_it_is_removed(books: Database) -> None:
    token = add_token(books, "study")
    with pytest.raises(InvalidEntryError, match="There is a token named study already"):
        add_token(books, "study")
    assert _name(books, token) == "study"
    remove_token(books, "study")
    newer = add_token(books, "study")
    assert (_name(books, token), _name(books, newer)) == ("", "study")


@pytest.mark.parametrize("name", ["", " a", "a\n", "a/b", "a:b", "Größe", "<b>", "-a", "a" * 65])
def test_an_odd_name_is_refused_with_what_a_name_has(books: Database, name: str) -> None:
    with pytest.raises(InvalidEntryError, match="a name has up to 64 letters, digits") as refused:
        add_token(books, name)
    assert [problem.field for problem in refused.value.problems] == ["name"]
    assert list_tokens(books) == []


def test_the_longest_name_is_taken(books: Database) -> None:
    assert _name(books, add_token(books, "a" * 64)) == "a" * 64


def test_a_removed_token_is_not_known_and_the_others_are(books: Database) -> None:
    gone, kept = add_token(books, "gone"), add_token(books, "kept")
    remove_token(books, "gone")
    assert (_name(books, gone), _name(books, kept)) == ("", "kept")
    with pytest.raises(InvalidEntryError, match="There is no token named gone"):
        remove_token(books, "gone")


def test_the_command_shows_a_token_once_and_lists_names_only(node: Path) -> None:
    assert _run("list").stdout == "There is no token. Make one by `glionode tokens add NAME`.\n"
    made = _run("add", "study of 2026")
    assert (made.exit_code, made.stderr) == (0, "")
    token = made.stdout.removesuffix("\n")
    assert _known(token) == "study of 2026"
    other = _document("add", "another")
    assert (other["name"], _known(other["token"])) == ("another", "another")
    (first, second) = _document("list")["tokens"]
    assert (set(first), first["name"], second["name"]) == (
        {"name", "created_at", "expires_at", "used_at", "scopes", "user"},
        "another",
        "study of 2026",
    )
    assert _run("list").stdout == (
        f"{first['created_at']}  another  (workbench)\n{second['created_at']}  study of 2026  (workbench)\n"
    )
    assert token not in _everything_in(node / "node.sqlite")


@pytest.mark.usefixtures("node")
def test_the_command_removes_a_token() -> None:
    token, other = _document("add", "study")["token"], _document("add", "other")["token"]
    assert _run("remove", "study").stdout == "removed study\n"
    assert (_known(token), _known(other)) == ("", "other")
    assert _document("remove", "other") == {"removed": "other"}
    assert _document("list") == {"tokens": []}


@pytest.mark.usefixtures("node")
def test_the_command_fails_in_one_line() -> None:
    _document("add", "study")
    assert "There is a token named study already" in _failure("add", "study")
    assert "a name has up to 64 letters" in _failure("add", "a\x1b[2J")
    assert "There is no token named absent" in _failure("remove", "absent")


def test_a_token_has_the_scopes_it_was_given_and_today_s_tokens_that_of_the_workbench(books: Database) -> None:
    plain, both = add_token(books, "plain"), add_token(books, "both", ["peers", "dicomweb:read"])
    assert [program_of(books, token).scopes for token in (plain, both)] == [  # type: ignore[union-attr]
        {TokenScope.WORKBENCH},
        {TokenScope.PEERS, TokenScope.DICOMWEB_READ},
    ]
    with books.session() as session:
        session.execute(
            sa.text("INSERT INTO api_token (name, token_sha256, created_at) VALUES ('old', :hash, '2026-01-01')"),
            {"hash": token_sha256("old token")},
        )
    old = program_of(books, "old token")
    assert old is not None
    assert (old.scopes, old.owner) == ({TokenScope.WORKBENCH}, "token:old")


@pytest.mark.parametrize("scopes", [[], ["root"], ["peers", "root"], ["peers,workbench"]])
def test_a_token_without_a_known_scope_is_refused(books: Database, scopes: list[str]) -> None:
    with pytest.raises(InvalidEntryError, match="Choose at least one of the scopes"):
        add_token(books, "study", scopes)
    assert list_tokens(books) == []


def test_a_token_ends_with_its_days(books: Database) -> None:
    token, kept = add_token(books, "short", days=30), add_token(books, "long")
    (long, short) = list_tokens(books)
    assert long.expires_at is None
    assert short.expires_at is not None
    assert timedelta(days=30) - timedelta(minutes=5) < short.expires_at - datetime.now(UTC) <= timedelta(days=30)
    assert _name(books, token) == "short"
    with books.session() as session:
        session.execute(sa.update(ApiTokenRow).values(expires_at=datetime.now(UTC)).where(ApiTokenRow.name == "short"))
    assert (_name(books, token), _name(books, kept)) == ("", "long")
    for days in (-1, 3651):
        with pytest.raises(InvalidEntryError, match="expires after 1 to 3650 days"):
            add_token(books, "other", days=days)


def test_the_last_use_is_known(books: Database) -> None:
    token = add_token(books, "study")
    assert list_tokens(books)[0].used_at is None
    before = datetime.now(UTC)
    program_of(books, "another")
    assert list_tokens(books)[0].used_at is None
    program_of(books, token)
    (row,) = list_tokens(books)
    assert row.used_at is not None
    assert row.used_at >= before - timedelta(seconds=5)


def test_a_token_can_do_no_more_than_its_user_and_goes_with_them(books: Database) -> None:
    add_user(books, "anna", UserRole.ADMINISTRATOR, "test")
    token = add_token(books, "hers", list(TokenScope), user="anna")

    def scopes() -> set[TokenScope] | None:
        program = program_of(books, token)
        return None if program is None else set(program.scopes)

    assert scopes() == set(TokenScope)
    with pytest.raises(InvalidEntryError, match="There is no user named bert"):
        add_token(books, "his", user="bert")
    set_role(books, "anna", UserRole.VIEWER, "test")
    assert scopes() == {TokenScope.WORKBENCH, TokenScope.DICOMWEB_READ}
    with pytest.raises(InvalidEntryError, match="anna is viewer, which is not enough for peers"):
        add_token(books, "more", ["workbench", "peers"], user="anna")
    set_enabled(books, "anna", "test", enabled=False)
    assert scopes() is None
    set_enabled(books, "anna", "test", enabled=True)
    assert scopes() is not None
    remove_user(books, "anna", "test")
    assert scopes() is None
    assert list_tokens(books) == []


@pytest.mark.usefixtures("node")
def test_the_command_gives_scopes_and_days() -> None:
    made = _document("add", "viewer", "--scope", "dicomweb:read", "--scope", "workbench", "--days", "7")
    assert made["scopes"] == ["dicomweb:read", "workbench"]
    (row,) = _document("list")["tokens"]
    assert (row["scopes"], row["user"], row["used_at"]) == (["workbench", "dicomweb:read"], None, None)
    assert row["expires_at"] is not None
    assert _run("add", "x", "--scope", "root").exit_code == 2
    assert "There is no user named nobody" in _failure("add", "x", "--user", "nobody")
