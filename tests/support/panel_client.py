"""A person who is logged in to the panel, served on a real port."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx

from dicom_node.database.engine import Database
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.login_tokens import new_login_link
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

__all__ = ["logged_in"]


@contextlib.contextmanager
def logged_in(database: Database, folder: Path) -> Iterator[httpx.Client]:
    """Serve the panel of a node's folder, and give a client with a session."""
    app = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)}), database)
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as opened:
        link = new_login_link(database, url)
        assert opened.post("/login", data={"token": httpx.URL(link).params["token"]}).status_code == 303
        yield opened
