"""What has to be set for the login by OpenID Connect, where its secret comes from, and who tells of it."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from dicom_node.access.openid.claims import Provided
from dicom_node.access.openid.people import put_provided
from dicom_node.access.openid.problems import Problem
from dicom_node.access.openid.secret import CLIENT_SECRET, client_secret
from dicom_node.cli.main import cli
from dicom_node.conformance.facts import read_facts
from dicom_node.conformance.html import as_html
from dicom_node.conformance.statement import statement
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import UserRole
from dicom_node.settings import SettingsError, read_settings
from dicom_node.web.ports import panel_server
from dicom_node.web.provider_setup import redirect_uri, unusable_provider

ROOT = Path(__file__).parents[4]
ON = {"OIDC_ISSUER": "https://login.example.org", "OIDC_CLIENT_ID": "glionode", "OIDC_VIEWER": "readers"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - read, not bound


def _variables(**changed: str) -> dict[str, str]:
    return {f"GLIONODE_{key}": value for key, value in (ON | changed).items()}


def _problem(**changed: str) -> str:
    return unusable_provider(read_settings(environment=_variables(**changed)))


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("the secret\n")
    path.chmod(0o600)
    return path


def test_it_is_off_as_shipped_and_works_with_issuer_client_and_groups() -> None:
    assert not read_settings(environment={}).oidc.is_on
    assert unusable_provider(read_settings(environment={})) == ""
    assert _problem() == ""


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"OIDC_CLIENT_ID": ""}, "oidc.client_id: state the ID"),
        ({"OIDC_VIEWER": " , "}, "state groups for one of them at least"),
        ({"WEB_BIND": EVERYWHERE}, "needs web.address"),
        ({"WEB_ADDRESS": "http://node.example.org"}, "needs HTTPS, and web.address is 'http://node.example.org'"),
        ({"OIDC_SECRET_FILE": "/absent"}, "oidc.secret_file '/absent': No such file"),
    ],
)
def test_what_is_missing_is_named_and_the_panel_does_not_start(
    database: Database, changed: dict[str, str], says: str
) -> None:
    assert says in _problem(**changed)
    with pytest.raises(SettingsError, match=re.escape(says)):
        panel_server(read_settings(environment=_variables(**changed)), database)


def test_the_way_back_follows_from_the_declared_address() -> None:
    for changed, base in (
        ({"WEB_ADDRESS": "https://node.example.org", "WEB_BIND": EVERYWHERE}, "https://node.example.org"),
        ({"WEB_PORT": "9001"}, "http://127.0.0.1:9001"),
    ):
        assert _problem(**changed) == ""
        assert redirect_uri(read_settings(environment=_variables(**changed))) == f"{base}/login/oidc/callback"


def test_the_secret_comes_from_a_file_of_its_owner_alone_or_from_the_environment(secret_file: Path) -> None:
    by_file = read_settings(environment=_variables(OIDC_SECRET_FILE=str(secret_file))).oidc
    assert client_secret(by_file, {CLIENT_SECRET: "another"}) == "the secret"
    by_variable = read_settings(environment=_variables() | {CLIENT_SECRET: "from there"}).oidc
    assert client_secret(by_variable, {CLIENT_SECRET: "from there"}) == "from there"
    assert client_secret(by_variable, {}) == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_secret_that_others_may_read_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    with pytest.raises(SettingsError, match="others than its owner may read it; use chmod 600"):
        client_secret(read_settings(environment=_variables(OIDC_SECRET_FILE=str(secret_file))).oidc)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff"])
def test_a_file_without_a_secret_is_refused(secret_file: Path, content: bytes) -> None:
    secret_file.write_bytes(content)
    assert str(secret_file) in _problem(OIDC_SECRET_FILE=str(secret_file))


def test_check_config_tells_what_to_register_and_never_the_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    assert "Log in with" not in CliRunner().invoke(cli, ["check-config"]).stdout
    for name, value in (_variables(OIDC_NAME="Hospital") | {CLIENT_SECRET: "sesame"}).items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(cli, ["check-config"])
    sentence = "# Log in with Hospital: register the redirect URI http://127.0.0.1:8040/login/oidc/callback\n"
    assert (told.exit_code, sentence in told.stdout, "sesame" in told.stdout) == (0, True, False)
    monkeypatch.setenv("GLIONODE_OIDC_CLIENT_ID", "")
    wrong = CliRunner().invoke(cli, ["check-config"])
    assert (wrong.exit_code, "oidc.client_id" in wrong.stderr) == (1, True)


def test_the_command_users_shows_who_logs_in_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    database = open_database(read_settings().database_url)
    put_provided(database, Provided(subject_sha256="0" * 64, name="bert", role=UserRole.VIEWER))
    database.engine.dispose()
    listed = CliRunner().invoke(cli, ["users", "list"])
    assert listed.stdout == "viewer        bert  (logs in by OpenID Connect)\n"
    assert '"login": "oidc"' in CliRunner().invoke(cli, ["users", "list", "--json"]).stdout
    for command in (["reset", "bert"], ["role", "bert", "operator"]):
        done = CliRunner().invoke(cli, ["users", *command])
        assert (done.exit_code, "logs in by OpenID Connect" in done.stderr) == (1, True)


@pytest.mark.parametrize(("passwords", "who"), [("true", "everyone who has one"), ("false", "administrators")])
def test_the_conformance_statement_says_how_people_log_in(database: Database, passwords: str, who: str) -> None:
    def told(variables: dict[str, str]) -> str:
        return as_html(statement(read_facts(read_settings(environment=variables), database)))

    assert "log in with a name and a password, of which the node keeps an argon2id hash" in told({})
    text = told(_variables(OIDC_PASSWORDS=passwords))
    assert "People log in by OpenID Connect 1.0" in text
    assert f"at https://login.example.org; {who} may log in with a name and a password too" in text


def test_the_example_of_the_readme_can_be_used(tmp_path: Path, secret_file: Path) -> None:
    text = (ROOT / "dicom_node/access/README.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    site = tmp_path / "site.toml"
    site.write_text(example.replace("/etc/glionode/oidc-secret", str(secret_file)), encoding="utf-8")
    settings = read_settings(site, environment={})
    assert unusable_provider(settings) == ""
    assert settings.oidc.groups("operator") == {"neuroradiology", "mtra"}


@pytest.mark.parametrize("problem", list(Problem))
def test_every_refusal_has_a_sentence_for_the_person(problem: Problem) -> None:
    sentence = problem.sentence("Hospital")
    assert sentence.endswith(".")
    assert "PROVIDER" not in sentence
