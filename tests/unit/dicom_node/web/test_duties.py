"""What each role may do is said in the same words everywhere, and the words are true of the table of rights."""

from pathlib import Path

import httpx
import pytest

from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole
from dicom_node.web.duties import DUTIES, duty_words
from dicom_node.web.rights import RIGHTS
from tests.support.panel_client import logged_in

ROOT = Path(__file__).parents[4]
UNSAID = ("/", "/logout", "/account", "/help", "/docs", "/swagger/", "/api/openapi.json")
"""What everyone may who is logged in, and nobody needs to be told."""


def _paths(role: UserRole) -> list[str]:
    return [line.partition(" ")[2] for line, right in RIGHTS.items() if right.least is role]


@pytest.mark.parametrize("role", list(UserRole))
def test_every_duty_is_one_of_its_role_and_of_no_lower_one(role: UserRole) -> None:
    for duty in DUTIES[role]:
        for path in duty.paths:
            assert any(known.startswith(path) for known in _paths(role)), f"{role} may not {duty.words}: {path}"


@pytest.mark.parametrize("role", list(UserRole))
def test_nothing_that_a_role_may_do_is_left_unsaid(role: UserRole) -> None:
    said = tuple(path for duty in DUTIES[role] for path in duty.paths)
    unsaid = [path for path in _paths(role) if not path.startswith(said)]
    assert [path for path in unsaid if path not in UNSAID and not path.startswith(UNSAID[1:])] == []


def test_the_readme_and_the_pages_say_it_in_the_same_words(database: Database, folder: Path) -> None:
    text = (ROOT / "dicom_node/access/README.md").read_text("utf-8")
    with logged_in(database, folder) as client:
        pages: dict[str, httpx.Response] = {path: client.get(path) for path in ("/help", "/users")}
    for role in UserRole:
        assert f"| {role} | {duty_words(role)} |" in text
        assert f"<strong>{role.capitalize()}</strong>: may {duty_words(role)}." in pages["/help"].text
        assert f"<dt>{role}</dt><dd>may {duty_words(role)}</dd>" in pages["/users"].text
