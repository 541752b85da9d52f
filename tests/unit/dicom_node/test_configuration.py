"""The configuration as one document: exported from a node, previewed and imported on another, all or nothing."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from structlog.testing import capture_logs

from conversion.recognition.site_rules import SiteRule
from dicom_node.access.tokens import add_token
from dicom_node.access.users import add_user
from dicom_node.cli.config import config
from dicom_node.configuration.changes import fingerprint, import_configuration, plan_configuration
from dicom_node.configuration.document import as_toml, present
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import UserRole
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.models.roles import ModelRole, choose, chosen
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import list_peers, put_peer
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.versions import routing_rules, save_rules, versions
from dicom_node.rules.site_rules import add_rule, import_rules, site_rules
from dicom_node.settings import Settings, read_settings
from inference.registry import Registry
from tests.support.panel_client import logged_in

pytestmark = pytest.mark.torch  # the models of a document are tried in a child process

SPINE = Condition(attribute="StudyDescription", operator=Operator.MATCHES, value="*spine*")
HEADS = RoutingRule(name="heads", destinations=("PACS",))
SPINES = RoutingRule(name="spines", conditions=(SPINE,), keep_out="not of the head")
FIRST = SiteRule(name="first", kind="T1", description="a*")
SECOND = SiteRule(name="second", kind="FLAIR", protocol='b"\\')
PACS = Peer(name="PACS", ae_title="PACSAE", host="127.0.0.1", port=104, is_destination=True)


def _settings(folder: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})


def _fill(database: Database, folder: Path) -> None:
    put_peer(database, PACS)
    put_peer(database, Peer(name="MR", ae_title="MR1"))
    import_rules(database, [FIRST, SECOND])
    save_rules(database, [SPINES, HEADS], "anna")
    shipped = Registry(folder).listing().models[0]
    choose(database, ModelRole.PRODUCTION, shipped, "anna")
    choose(database, ModelRole.SHADOW, shipped, "anna")


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    yield opened
    opened.engine.dispose()


def test_another_node_gets_the_same_configuration_and_no_secret(
    books: Database, other: Database, tmp_path: Path
) -> None:
    _fill(books, tmp_path)
    add_user(books, "grace", UserRole.OPERATOR, "anna")
    token = add_token(books, "program of grace")
    text = as_toml(present(books))
    assert not [word for word in ("grace", token) if word in text]
    settings = _settings(tmp_path)
    plan = plan_configuration(other, settings, text)
    assert not plan.does_nothing
    assert list_peers(other) == []
    import_configuration(other, settings, text, "anna")
    assert present(other) == present(books)
    assert fingerprint(other) == fingerprint(books)
    assert chosen(other, ModelRole.PRODUCTION).who == "anna"  # type: ignore[union-attr]
    assert plan_configuration(other, settings, text).does_nothing
    before = len(versions(other))
    import_configuration(other, settings, text, "anna")
    assert len(versions(other)) == before


def test_a_preview_says_what_would_change(database: Database, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    settings, text = _settings(tmp_path), as_toml(present(database))
    put_peer(database, Peer(name="CT", ae_title="CT1"))
    put_peer(database, Peer(name="MR", ae_title="MR2"))
    import_rules(database, [SECOND, SiteRule(name="third", kind="T2", description="c"), FIRST], replace=True)
    save_rules(database, [RoutingRule(name="spines", conditions=(SPINE,), priority="high")], "anna")
    choose(database, ModelRole.SHADOW, None, "anna")
    plan = plan_configuration(database, settings, text)
    assert plan.peers is not None
    assert (plan.peers.left, [one.name for one in plan.peers.changed]) == (("CT",), ["MR"])
    assert plan.series_rules is not None
    assert (plan.series_rules.removed, plan.series_rules.reordered) == (("third",), True)
    assert plan.routes is not None
    assert (plan.routes.added, plan.routes.changed, plan.routes.removed) == (("heads",), ("spines",), ())
    assert [(one.role, one.before) for one in plan.models] == [(ModelRole.SHADOW, None)]
    import_configuration(database, settings, text, "anna")
    assert {peer.name for peer in list_peers(database)} == {"CT", "MR", "PACS"}
    assert site_rules(database) == (FIRST, SECOND)
    assert routing_rules(database) == (SPINES, HEADS)


def test_parts_that_a_document_does_not_name_stay(database: Database, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    import_configuration(database, _settings(tmp_path), '[[peer]]\nname = "CT"\nae_title = "CT1"\n', "anna")
    assert len(list_peers(database)) == 3
    assert (site_rules(database), routing_rules(database)) == ((FIRST, SECOND), (SPINES, HEADS))


PEER = '[[peer]]\nname = "CT"\nae_title = "CT1"\n'
MODEL = '[models.production]\nname = "{}"\nversion = "{}"\nsha256 = "{}"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "states nothing"),
        ("nonsense", "The file"),
        ("[" * 5000, "The file"),
        ("[[user]]\nname = 'x'", "unknown tables user"),
        ("peer = 1", "must be written as"),
        (PEER + "[[peer]]\nname = 'x'\nae_title = 'much too long a title'", "peer 2"),
        (PEER + "[[rule]]\nname = 'x'\nkind = 'T9'\ndescription = 'a'", "kind must be one of"),
        (PEER + "[[route]]\nname = 'x'\ndestinations = ['CT']", "No peer that receives results"),
        (PEER + "[[route]]\nname = 'x'\nmodel = 'nobody'", "no model"),
        (PEER + "[models.third]", "models may have"),
        (PEER + "[models.shadow]\nname = 'x'", "needs name, version and sha256"),
        (PEER + "[models.shadow]\nname = 1\nversion = 2\nsha256 = 3", "texts in quotes"),
        (PEER + MODEL.format("nobody", "1", "0"), "no model"),
        (PEER + MODEL.format("glioma", "", "0"), "not the one that the file names"),
        ("[[peer]]\nname = 'PACS'\nae_title = 'PACSAE'\n", "No peer that receives results"),
    ],
)
def test_a_document_that_cannot_be_used_changes_nothing(
    database: Database, tmp_path: Path, text: str, sentence: str
) -> None:
    _fill(database, tmp_path)
    before = fingerprint(database)
    for attempt in (plan_configuration, lambda *given: import_configuration(*given, "anna")):
        with pytest.raises(InvalidEntryError, match=sentence):
            attempt(database, _settings(tmp_path), text)
    assert fingerprint(database) == before


def test_what_fails_in_the_middle_changes_nothing(database: Database, tmp_path: Path) -> None:
    """Have the last table refuse its row, after peers and rules were written in the same transaction."""
    _fill(database, tmp_path)
    text = as_toml(present(database))
    empty = open_database(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with empty.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON model_choice BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(Exception, match="full"):
        import_configuration(empty, _settings(tmp_path), text, "anna")
    assert (list_peers(empty), site_rules(empty), routing_rules(empty)) == ([], (), ())
    empty.engine.dispose()


def _config(folder: Path, *arguments: str | Path) -> Result:
    unset: dict[str, str | None] = {key: None for key in os.environ if key.startswith("GLIONODE_")}
    with capture_logs():
        return CliRunner().invoke(config, list(map(str, arguments)), env={**unset, "GLIONODE_NODE_FOLDER": str(folder)})


def test_the_command_exports_previews_and_imports(tmp_path: Path) -> None:
    one, two, file = tmp_path / "one", tmp_path / "two", tmp_path / "glionode.toml"
    database = open_database(_settings(one).database_url)
    _fill(database, one)
    database.engine.dispose()
    assert _config(one, "export", "--out", file).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _config(one, "export").stdout == file.read_text("utf-8")
    assert json.loads(_config(one, "export", "--json").stdout) == {"toml": file.read_text("utf-8")}
    lines = _config(two, "preview", file).stdout.splitlines()
    assert {"peer PACS: new", "series rule first: new", "routing rule heads: new", "nothing was changed"} <= set(lines)
    assert json.loads(_config(two, "import", file, "--json").stdout)["routes"]["added"] == ["spines", "heads"]
    assert _config(two, "preview", file).stdout.splitlines()[0] == "everything is as the file states"
    file.write_text("[[user]]", encoding="utf-8")
    refused = _config(two, "import", file)
    assert (refused.exit_code, "unknown tables user" in refused.stderr) == (1, True)


def test_the_page_previews_and_imports_what_was_previewed(database: Database, tmp_path: Path) -> None:
    _fill(database, tmp_path)
    with logged_in(database, tmp_path) as anna:
        text = anna.get("/system/configuration.toml").text
        assert text == as_toml(present(database))
        put_peer(database, Peer(name="MR", ae_title="MR2"))
        seen = fingerprint(database)
        page = anna.post("/system/configuration", data={"text": text}).text
        assert f'name="seen" value="{seen}"' in page
        assert "MR2" in page
        add_rule(database, SiteRule(name="since", kind="T2", description="c"))
        outdated = anna.post("/system/configuration/confirmed", data={"text": text, "seen": seen})
        assert (outdated.status_code, "has changed since the preview" in outdated.text) == (409, True)
        assert len(site_rules(database)) == 3
        done = anna.post("/system/configuration/confirmed", data={"text": text, "seen": fingerprint(database)})
        assert (done.status_code, done.headers["location"]) == (303, "/system#settings")
        assert as_toml(present(database)) == text
        refused = anna.post("/system/configuration", data={"text": "[[user]]"})
        assert (refused.status_code, "unknown tables user" in refused.text) == (422, True)
