"""Users of a provider and logins under way, on SQLite and PostgreSQL, also when two requests come at once."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import sqlalchemy as sa

from dicom_node.access.links import new_link
from dicom_node.access.openid.begun import BegunLogin, begin_login, take_up
from dicom_node.access.openid.claims import Provided
from dicom_node.access.openid.people import put_provided
from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.access.users import (
    add_first_administrator,
    has_administrator,
    list_users,
    set_enabled,
    somebody_can_log_in,
)
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.database.tables import LoginTokenRow
from dicom_node.invalid_entry import InvalidEntryError

WORDS = "correct horse battery"


def _person(number: int = 1, name: str = "bert", role: UserRole | None = UserRole.ADMINISTRATOR) -> Provided:
    return Provided(subject_sha256=f"{number:064d}", name=name, role=role)


def test_one_person_who_logs_in_twice_at_once_is_one_user(books: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        known = list(pool.map(lambda _: put_provided(books, _person()), range(4)))
    assert {one.name for one in known} == {"bert"}
    assert [one.change for one in known if one.change] == ["add administrator"]
    assert len(list_users(books)) == 1


def test_of_two_people_of_one_name_who_come_at_once_one_gets_in(books: Database) -> None:
    def put(number: int) -> Problem | None:
        try:
            put_provided(books, _person(number))
        except ProviderLoginRefused as refused:
            return refused.problem
        return None

    with ThreadPoolExecutor(4) as pool:
        problems = list(pool.map(put, range(4)))
    assert sorted(problems, key=str) == [None, *[Problem.NAME_TAKEN] * 3]


def test_an_administrator_of_the_provider_is_not_the_one_who_cannot_be_locked_out(books: Database) -> None:
    put_provided(books, _person())
    assert (has_administrator(books), somebody_can_log_in(books)) == (False, False)
    token = new_link(books, "http://node", LinkKind.FIRST).partition("token=")[2]
    add_first_administrator(books, token, "anna", WORDS, WORDS)
    with pytest.raises(InvalidEntryError, match="anna is the only administrator with a password"):
        set_enabled(books, "anna", "test", enabled=False)
    set_enabled(books, "bert", "test", enabled=False)


def test_of_one_answer_that_comes_twice_at_once_one_counts(books: Database) -> None:
    begun = begin_login(books)
    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda _: take_up(books, begun.secret, begun.state), range(4)))
    assert sorted(taken, key=str) == sorted([begun, None, None, None], key=str)


def test_the_database_holds_no_more_than_a_hash_of_a_login_under_way(books: Database) -> None:
    begun = begin_login(books)
    assert take_up(books, "", BegunLogin(secret="").state) is None
    with books.session() as session:
        (row,) = session.scalars(sa.select(LoginTokenRow)).all()
        kept = str({column.name: getattr(row, column.name) for column in row.__table__.columns})
    parts = (begun.secret, begun.state, begun.nonce, begun.verifier)
    assert not any(part in kept for part in parts)
    assert all(43 <= len(part) <= 128 for part in parts)  # RFC 7636, 4.1
    assert all(one != other for one, other in pairwise(sorted(parts)))


def test_a_link_of_another_kind_is_no_login_under_way(books: Database) -> None:
    secret = new_link(books, "http://node", LinkKind.FIRST).partition("token=")[2]
    assert take_up(books, secret, BegunLogin(secret=secret).state) is None
