"""A routing rule built, tried, saved and undone in headless Chromium, with and without JavaScript, also on a phone."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import AssociationRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import add_peer
from dicom_node.reception.inbox import Inbox
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.versions import routing_rules
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from tests.support.browser import chromium
from tests.support.panel_client import new_login_link
from tests.support.small_study import make_small_study
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

CONDITIONS = (
    ("CalledAETitle", Operator.EQUALS, "GLIOSTAT"),
    ("BodyPartExamined", Operator.ONE_OF, "BRAIN, HEAD"),
    ("PatientAge", Operator.ABSENT, ""),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    names = {"GLIONODE_NODE_FURTHER_AE_TITLES": "GLIOSTAT", "GLIONODE_NODE_FOLDER": str(tmp_path / "node")}
    return read_settings(environment=names)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    add_peer(opened, Peer(name="Emergency", ae_title="ER", host="h", port=104, is_destination=True))
    with opened.session() as session:
        session.add(AssociationRow(association_id="a", listener="l", calling_ae="MR1", called_ae="GLIOSTAT"))
    for ds in make_small_study("routed", roles=["FLAIR"]):
        ds.BodyPartExamined = "HEAD"
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        Inbox(opened, settings.node.folder).receive(content, content, "MR1", str(ds.SOPInstanceUID), "a")
    yield opened
    opened.engine.dispose()


@pytest.mark.parametrize(("width", "javascript"), [(1280, True), (390, True), (1280, False)])
def test_a_rule_is_built_tried_saved_and_undone(
    database: Database, settings: Settings, tmp_path: Path, width: int, *, javascript: bool
) -> None:
    with served(panel_app(settings, database)) as url, chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript)
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.get_by_role("link", name="Routing rules").click()
        page.get_by_role("link", name="Add a rule").click()
        page.get_by_label("Name").fill("Emergency room")
        page.get_by_label("Priority").select_option("stat")
        page.get_by_label("Emergency").check()
        for number, (attribute, operator, value) in enumerate(CONDITIONS, start=1):
            if number == 3 and javascript:
                page.get_by_role("button", name="Another condition").click()
            elif number == 3:
                page.get_by_role("button", name="Try against stored studies").click()
            page.get_by_label(f"Attribute of condition {number}").fill(attribute)
            page.get_by_label(f"Comparison of condition {number}").select_option(operator)
            page.get_by_label(f"Value of condition {number}").fill(value)
        page.get_by_role("button", name="Try ag").click()
        expect(page.get_by_text("to Emergency; priority stat")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=tmp_path / "rule.png", full_page=True)
        page.get_by_role("button", name="Save the rule").click()
        conditions = tuple(Condition(attribute=one, operator=how, value=value) for one, how, value in CONDITIONS)
        rule = RoutingRule(name="Emergency room", conditions=conditions, destinations=("Emergency",), priority="stat")
        assert routing_rules(database) == (rule,)
        page.get_by_role("button", name="Remove Emergency room").click()
        assert routing_rules(database) == ()
        page.get_by_role("button", name="Restore version 1").click()
        expect(page.get_by_text("version 1 restored")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=tmp_path / "rules.png", full_page=True)
        assert routing_rules(database) == (rule,)
        assert messages == []
