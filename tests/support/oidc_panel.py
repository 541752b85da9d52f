"""A panel whose users log in at a provider, on a real port, and a person with a browser who does so."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
from structlog.testing import capture_logs

from dicom_node.database.engine import Database
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from tests.support.orthanc import free_port
from tests.support.signing_provider import SigningProvider
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

__all__ = [
    "CALLBACK",
    "begin",
    "browser",
    "end",
    "is_out",
    "log_in_there",
    "oidc_settings",
    "panel_with_provider",
    "refused",
]

CALLBACK = "/login/oidc/callback"

GROUPS = {"VIEWER": "readers", "OPERATOR": "staff, radiology", "ADMINISTRATOR": "admins"}


def oidc_settings(folder: Path, issuer: str, client_id: str, port: int = 0, **oidc: str) -> Settings:
    """Return settings of a panel on a port, by default a free one, with groups that give each role."""
    section = {"ISSUER": issuer, "CLIENT_ID": client_id, "NAME": "Hospital & Sons", **GROUPS, **oidc}
    variables = {f"GLIONODE_OIDC_{key}": value for key, value in section.items()}
    own = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_WEB_PORT": str(port or free_port())}
    return read_settings(environment=own | variables)


@contextlib.contextmanager
def panel_with_provider(settings: Settings, database: Database) -> Iterator[str]:
    """Serve the panel at the port of its settings, and give its address."""
    with served(panel_app(settings, database), port=settings.web.port) as url:
        yield url


@contextlib.contextmanager
def browser(url: str) -> Iterator[httpx.Client]:
    """Give a browser of its own, which keeps cookies and follows no redirect by itself."""
    with httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


def begin(person: httpx.Client, provider: SigningProvider, way_back: str = "") -> dict[str, str]:
    """Begin a login, and return what the provider is asked."""
    answer = person.get("/login/oidc", params={"next": way_back} if way_back else {})
    assert answer.status_code == 303
    address = httpx.URL(answer.headers["location"])
    assert str(address).startswith(f"{provider.url}/authorize?")
    provider.nonce = address.params["nonce"]
    return dict(address.params)


def end(person: httpx.Client, asked: dict[str, str], **changed: str) -> httpx.Response:
    """Come back from the provider, with its answer or a changed one."""
    return person.get(CALLBACK, params={"code": "a-code", "state": asked["state"]} | changed)


def log_in_there(person: httpx.Client, provider: SigningProvider, way_back: str = "") -> httpx.Response:
    """Log in at the provider."""
    return end(person, begin(person, provider, way_back))


def is_out(person: httpx.Client) -> bool:
    """Return whether a browser has no session."""
    return person.get("/studies").headers.get("location") == "/login"


def refused(person: httpx.Client, provider: SigningProvider, sentence: str) -> None:
    """Try to log in, and be told why that was refused."""
    asked = begin(person, provider)
    with capture_logs() as logs:
        answer = end(person, asked)
    assert (answer.status_code, sentence in answer.text) == (403, True), answer.text
    assert 'role="alert"' in answer.text
    assert "Traceback" not in answer.text
    assert is_out(person)
    (event,) = [one for one in logs if one["event"] == "access_login_refused"]
    assert event["what"].startswith("oidc: ")
    assert "Bert" not in str(event)
    assert "subject-1" not in str(logs)
