"""Logins from other hosts: over HTTPS alone, by the node's own certificate or a declared proxy; real TLS."""

import ssl
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from dicom_node.access.users import add_user, change_password
from dicom_node.cli.main import cli
from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole
from dicom_node.settings import Settings, SettingsError, read_settings
from dicom_node.setup.doctor import diagnose
from dicom_node.web.app import panel_app
from dicom_node.web.forwarded import Forwarded
from dicom_node.web.http_server import Front
from dicom_node.web.secure_login import insecure, nobody_elsewhere, unusable_certificate
from tests.support.certificate import make_certificate
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

WORDS = "correct horse battery"
FORM = {"name": "bert", "password": WORDS}
LOCAL = (ip_network("127.0.0.1"),)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Make a certificate for this machine, and its key."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def database(database: Database) -> Database:
    add_user(database, "bert", UserRole.VIEWER, "test")
    change_password(database, "bert", WORDS, WORDS)
    return database


def _settings(tmp_path: Path, **variables: str) -> Settings:
    named = {f"GLIONODE_{name}": value for name, value in variables.items()}
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), **named})


@pytest.fixture
def proxied(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    """Serve a panel behind a proxy that is declared: what this client sends is believed."""
    with (
        served(panel_app(_settings(tmp_path), database), front=Front(proxies=LOCAL)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        yield client


@pytest.fixture
def plain(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    """Serve a panel that nothing is declared to."""
    with (
        served(panel_app(_settings(tmp_path), database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        yield client


def test_with_a_certificate_the_cookie_is_sent_over_https_alone(
    database: Database, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    front = Front(certificate=certificate[0], key=certificate[1])
    trusting = ssl.create_default_context(cafile=certificate[0])
    with served(panel_app(_settings(tmp_path), database), front=front) as url:
        address = url.replace("http:", "https:")
        with httpx.Client(base_url=address, verify=trusting, timeout=ANSWER_S) as client:
            answer = client.post("/login", data=FORM)
            assert answer.status_code == 303
            assert "strict-transport-security" not in answer.headers, "other ports of this host may speak plain HTTP"
            assert all("Secure" in one for one in answer.headers.get_list("set-cookie"))
            assert client.get("/studies").status_code == 200
            with pytest.raises(httpx.TransportError):
                httpx.post(f"{url}/login", data=FORM, timeout=ANSWER_S)


def test_browsers_are_kept_to_https_where_the_setting_says_so(
    database: Database, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    front = Front(certificate=certificate[0], key=certificate[1])
    trusting = ssl.create_default_context(cafile=certificate[0])
    app = panel_app(_settings(tmp_path, WEB_STRICT_TRANSPORT="true"), database)
    with served(app, front=front) as url:
        answer = httpx.get(url.replace("http:", "https:") + "/login", verify=trusting, timeout=ANSWER_S)
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    with served(app) as url:
        assert "strict-transport-security" not in httpx.get(f"{url}/login", timeout=ANSWER_S).headers


def test_from_the_machine_itself_plain_http_will_do(plain: httpx.Client) -> None:
    answer = plain.post("/login", data=FORM)
    assert answer.status_code == 303
    assert "strict-transport-security" not in answer.headers
    assert not any("Secure" in one for one in answer.headers.get_list("set-cookie"))


def test_behind_a_declared_proxy_with_https_the_cookie_is_secure(proxied: httpx.Client) -> None:
    https = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "node.example.org"}
    own = {"Origin": "https://node.example.org"}
    answer = proxied.post("/login", data=FORM, headers=https | own)
    assert answer.status_code == 303
    assert all("Secure" in one for one in answer.headers.get_list("set-cookie"))
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert "192.0.2.7" in proxied.get("/account", headers=https | cookie).text


def test_over_plain_http_from_another_host_no_password_is_taken(proxied: httpx.Client) -> None:
    http = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"}
    page = proxied.get("/login", headers=http).text
    assert "A password is not taken over plain HTTP from another host." in page
    assert 'type="password"' not in page
    answer = proxied.post("/login", data=FORM, headers=http)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert "web.certificate" in answer.text


@pytest.mark.parametrize("mark", ["X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "Via"])
def test_a_proxy_that_is_not_declared_makes_no_stranger_local(plain: httpx.Client, mark: str) -> None:
    answer = plain.post("/login", data=FORM, headers={mark: "https"})
    assert (answer.status_code, "web.proxy" in answer.text) == (403, True)


def test_a_password_is_not_changed_in_the_clear_either(proxied: httpx.Client) -> None:
    proxied.post("/login", data=FORM)
    form = {"old": WORDS, "password": "another long sentence", "again": "another long sentence"}
    far = {"X-Forwarded-For": "192.0.2.7"}
    answer = proxied.post("/account/password", data=form, headers=far)
    assert (answer.status_code, "not taken over plain HTTP" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", False),
        ("10.0.0.1", False),
        ("::ffff:192.0.2.7", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_the_loopback_is_the_machine_itself(address: str, taken: object) -> None:
    scope = {"type": "http", "scheme": "http", "path": "/", "query_string": b"", "headers": []}
    scope["server"] = ("node", 8040)
    assert (insecure(Request({**scope, "client": (address, 1)})) == "") is taken
    assert insecure(Request({**scope, "client": (address, 1), "scheme": "https"})) == ""
    assert insecure(Request({**scope, "client": None})) != ""


async def _tell(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    left = sorted(name for name in request.headers if name.startswith("x-forwarded"))
    told = {"client": request.client.host if request.client else "", "url": str(request.url), "left": left}
    await JSONResponse(told)(scope, receive, send)


@pytest.mark.parametrize(
    ("stated", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.9, 192.0.2.7", "192.0.2.7"),  # the browser wrote the first one itself
        ("192.0.2.7, 127.0.0.1", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("", "127.0.0.1"),
        ("<script>", "127.0.0.1"),
        ("192.0.2.7, unknown", "127.0.0.1"),
    ],
)
def test_the_address_is_the_last_one_that_is_no_proxy_s(stated: str, client: str) -> None:
    headers = {"X-Forwarded-For": stated, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a, node.example.org"}
    with served(_tell, front=Front(proxies=LOCAL)) as url:
        told = httpx.get(f"{url}/x", headers=headers, timeout=ANSWER_S).json()
    assert told == {"client": client, "url": "https://node.example.org/x", "left": []}


def test_what_anyone_else_states_is_not_believed() -> None:
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "node.example.org"}
    for proxies in ((), (ip_network("10.0.0.0/8"),)):
        with served(_tell, front=Front(proxies=proxies)) as url:
            told = httpx.get(f"{url}/x", headers=headers, timeout=ANSWER_S).json()
        assert (told["client"], told["url"]) == ("127.0.0.1", f"{url}/x")


def test_a_scheme_that_is_none_is_not_believed() -> None:
    with served(Forwarded(_tell, LOCAL)) as url:
        told = httpx.get(f"{url}/x", headers={"X-Forwarded-Proto": "javascript"}, timeout=ANSWER_S).json()
    assert told["url"] == f"{url}/x"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"WEB_PROXY": "proxy.example"}, "use addresses such as"),
        ({"WEB_ADDRESS": "node.example"}, "use something like"),
        ({"WEB_ADDRESS": "https://node.example/panel"}, "use something like"),
        ({"VIEWER_ADDRESS": "ftp://node.example"}, "use something like"),
        ({"WEB_IDLE_MINUTES": "0"}, "must be more than 0"),
        ({"WEB_SESSION_HOURS": "-1"}, "must be more than 0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tmp_path: Path, variables: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        _settings(tmp_path, **variables)


def test_a_certificate_that_cannot_be_used_is_said_to_be_so(tmp_path: Path, certificate: tuple[str, str]) -> None:
    (tmp_path / "text").write_text("no certificate")
    for one in ("WEB_CERTIFICATE", "WEB_KEY"):
        assert "belong together" in unusable_certificate(_settings(tmp_path, **{one: certificate[0]}).web)
    good, key = certificate
    locked = str(tmp_path / "locked.key")
    command = ["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:secret", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    for pair in ((str(tmp_path / "absent"), key), (str(tmp_path / "text"), key), (good, good), (good, locked)):
        settings = _settings(tmp_path, WEB_CERTIFICATE=pair[0], WEB_KEY=pair[1])
        assert "use PEM files without a password" in unusable_certificate(settings.web)
    assert unusable_certificate(_settings(tmp_path, WEB_CERTIFICATE=good, WEB_KEY=key).web) == ""
    assert unusable_certificate(_settings(tmp_path).web) == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # no node listens: pynetdicom's socket
def test_doctor_says_when_nobody_elsewhere_can_log_in(
    database: Database, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    def told(**variables: str) -> tuple[bool, str]:
        settings = _settings(tmp_path, NODE_DICOM_PORT="1", **variables)
        return next((one.ok, one.detail) for one in diagnose(settings, database) if one.name == "https")

    pair = {"WEB_CERTIFICATE": certificate[0], "WEB_KEY": certificate[1]}
    assert told()[0]
    assert told(WEB_BIND="0.0.0.0", **pair)[0]  # noqa: S104
    assert told(WEB_BIND="0.0.0.0", WEB_PROXY="10.0.0.5")[0]  # noqa: S104
    ok, detail = told(WEB_BIND="0.0.0.0")  # noqa: S104
    assert (ok, "Nobody can log in from another host" in detail) == (False, True)
    assert not told(WEB_CERTIFICATE="absent", WEB_KEY="absent")[0]
    assert nobody_elsewhere(_settings(tmp_path, WEB_BIND="::"))


def test_check_config_says_so_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    assert "Nobody can log in" not in CliRunner().invoke(cli, ["check-config"]).stdout
    monkeypatch.setenv("GLIONODE_WEB_BIND", "0.0.0.0")  # noqa: S104
    told = CliRunner().invoke(cli, ["check-config"])
    assert (told.exit_code, "# Nobody can log in from another host" in told.stdout) == (0, True)
    monkeypatch.setenv("GLIONODE_WEB_CERTIFICATE", "absent")
    monkeypatch.setenv("GLIONODE_WEB_KEY", "absent")
    wrong = CliRunner().invoke(cli, ["check-config"])
    assert (wrong.exit_code, "web.certificate 'absent'" in wrong.stderr) == (1, True)
