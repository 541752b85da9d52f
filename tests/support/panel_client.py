"""A person who is logged in to the panel, served on a real port."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from dicom_node.access.links import new_link
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

__all__ = ["ADMINISTRATOR", "log_in", "logged_in", "new_login_link"]

ADMINISTRATOR = "anna"
"""Who opens the links below, unless another is named."""


def new_login_link(
    database: Database, base_url: str, role: UserRole = UserRole.ADMINISTRATOR, name: str = ADMINISTRATOR
) -> str:
    """Return a link that opens a session of a user, who is added if there is none of this name."""
    with database.session() as session:
        if session.get(UserRow, name) is None:
            session.add(UserRow(name=name, role=role))
    return new_link(database, base_url, LinkKind.OPEN, name)


def log_in(
    client: httpx.Client, database: Database, role: UserRole = UserRole.ADMINISTRATOR, name: str = ADMINISTRATOR
) -> None:
    """Give a client the cookie of a session of a user."""
    token = httpx.URL(new_login_link(database, "http://node", role, name)).params["token"]
    assert client.post("/login", data={"token": token}).status_code == 303


@contextlib.contextmanager
def logged_in(database: Database, folder: Path) -> Iterator[httpx.Client]:
    """Serve the panel of a node's folder, and give a client with a session."""
    app = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)}), database)
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as opened:
        log_in(opened, database)
        yield opened
