"""The pages and the API of the routing rules: tried before they are saved, saved as versions, undone."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dicom_node.database.engine import Database
from dicom_node.database.tables import AssociationRow, StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import add_peer
from dicom_node.reception.inbox import Inbox
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.rules_toml import rules_as_toml
from dicom_node.routing.versions import routing_rules, save_rules, versions
from tests.support.panel_client import ADMINISTRATOR, logged_in
from tests.support.small_study import make_small_study

FORM = {
    "name": "Emergency",
    "attribute": ["CalledAETitle", "", "StudyDescription"],
    "operator": ["equals", "contains", "matches"],
    "value": ["GLIOSTAT", "", "*small*"],
    "priority": "stat",
    "destinations": ["ER"],
}
EMERGENCY = RoutingRule(
    name="Emergency",
    conditions=(
        Condition(attribute="CalledAETitle", operator=Operator.EQUALS, value="GLIOSTAT"),
        Condition(attribute="StudyDescription", operator=Operator.MATCHES, value="*small*"),
    ),
    priority="stat",
    destinations=("ER",),
)
OTHER = RoutingRule(name="Other", keep_out="not of the head")


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    add_peer(database, Peer(name="ER", ae_title="ER", host="h", port=104, is_destination=True))
    with logged_in(database, tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def study_key(client: httpx.Client, database: Database, tmp_path: Path) -> str:
    """Hold a study that was sent to GLIOSTAT."""
    del client
    with database.session() as session:
        session.add(AssociationRow(association_id="a", listener="l", calling_ae="MR1", called_ae="GLIOSTAT"))
    for ds in make_small_study("routed", roles=["FLAIR"]):
        ds.StudyDescription = "A small study"
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        Inbox(database, tmp_path / "node").receive(content, content, "MR1", str(ds.SOPInstanceUID), "a")
    with database.session() as session:
        return session.query(StudyRow).one().key


def test_without_a_stored_study_there_is_nothing_to_try_a_rule_on(client: httpx.Client) -> None:
    page = " ".join(client.post("/routing/preview", data=FORM).text.split())
    assert "Nothing is saved yet. <strong>There is no stored study to try it on</strong>.</p>" in page


def test_a_rule_is_tried_against_stored_studies_before_it_is_saved(
    client: httpx.Client, database: Database, study_key: str
) -> None:
    assert "No routing rules" in client.get("/routing").text
    page = client.post("/routing/preview", data=FORM).text
    sentence = "<strong>the only stored study</strong> would have gone another way. It decides something in it."
    assert sentence in " ".join(page.split())
    for shown in (f"/studies/{study_key}", "as without rules", "to ER; priority stat", 'value="*small*"'):
        assert shown in page
    assert routing_rules(database) == ()
    assert client.post("/routing", data=FORM).headers["location"] == "/routing"
    assert routing_rules(database) == (EMERGENCY,)
    page = client.get("/routing").text
    for shown in (
        "Emergency",
        "GLIOSTAT",
        "to ER",
        "priority stat",
        "in force",
        "rule &#39;Emergency&#39; saved",
        ADMINISTRATOR,
    ):
        assert shown in page
    assert client.get("/routing/export").text == rules_as_toml([EMERGENCY])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"attribute": ["Colour"]}, "&#39;Colour&#39; is no DICOM keyword"),
        ({"destinations": ["Nowhere"]}, "No peer that receives results is called &#39;Nowhere&#39;"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"name": ""}, "A rule needs a name"),
        ({"keep_out": "why"}, "needs no model, destination or priority"),
    ],
)
@pytest.mark.parametrize("path", ["/routing/preview", "/routing"])
def test_a_wrong_rule_is_shown_with_what_is_wrong_and_is_not_saved(
    client: httpx.Client, database: Database, path: str, changed: dict[str, Any], sentence: str
) -> None:
    answer = client.post(path, data={**FORM, **changed})
    assert answer.status_code == 422
    assert "Nothing was saved." in answer.text
    assert sentence in answer.text
    assert "GLIOSTAT" in answer.text  # what was entered
    assert routing_rules(database) == ()


def test_a_rule_is_changed_in_its_place_moved_removed_and_all_that_is_undone(
    client: httpx.Client, database: Database
) -> None:
    first = save_rules(database, [EMERGENCY, OTHER], "Ada")
    assert 'value="Emergency"' in client.get("/routing/rule?place=1").text
    client.post("/routing", data={**FORM, "place": "1", "priority": "high"})
    assert [(rule.name, rule.priority) for rule in routing_rules(database)] == [("Emergency", "high"), ("Other", "")]
    client.post("/routing/up", data={"name": "Other"})
    assert [rule.name for rule in routing_rules(database)] == ["Other", "Emergency"]
    client.post("/routing/remove", data={"name": "Other"})
    assert [rule.name for rule in routing_rules(database)] == ["Emergency"]
    for name in ("Ghost", "Emergency"):  # not there, and the first already
        client.post("/routing/up", data={"name": name})
    client.post("/routing/remove", data={"name": "Ghost"})
    assert len(versions(database)) == 4
    assert client.post("/routing/restore", data={"number": str(first)}).status_code == 303
    assert routing_rules(database) == (EMERGENCY, OTHER)
    assert [client.post("/routing/restore", data={"number": one}).status_code for one in ("99", "9" * 30)] == [404, 404]


def test_before_a_destination_is_removed_the_rules_that_name_it_are_named(
    client: httpx.Client, database: Database
) -> None:
    assert "routing rules</a>" not in client.get("/peers/ER/remove").text
    save_rules(database, [EMERGENCY, OTHER], "Ada")
    assert "routing rules</a> Emergency send results to it" in client.get("/peers/ER/remove").text


def test_two_rules_do_not_get_the_same_name(client: httpx.Client, database: Database) -> None:
    save_rules(database, [OTHER], "Ada")
    assert client.post("/routing", data={**FORM, "name": "Other"}).status_code == 422
    assert routing_rules(database) == (OTHER,)


def test_the_api_does_what_the_pages_do(client: httpx.Client, database: Database, study_key: str) -> None:
    rule = {
        "name": "Emergency",
        "conditions": [
            {"attribute": "CalledAETitle", "operator": "equals", "value": "GLIOSTAT"},
            {"attribute": "StudyDescription", "operator": "matches", "value": "*small*"},
        ],
        "model": "",
        "destinations": ["ER"],
        "priority": "stat",
        "keep_out": "",
    }
    tried = client.post("/api/v1/routes/try", json={"rules": [rule]}).json()
    assert tried == {
        "looked_at": 1,
        "changes": [{"study_key": study_key, "before": "as without rules", "after": "to ER; priority stat"}],
        "held": {"Emergency": 1},
    }
    assert routing_rules(database) == ()
    saved = client.put("/api/v1/routes", json={"rules": [rule], "note": "by a program"}).json()
    assert client.get("/api/v1/routes").json() == {"rules": [rule], "note": ""}
    client.put("/api/v1/routes", json={"rules": []})
    assert client.post(f"/api/v1/routes/versions/{saved['number']}/restore").status_code == 200
    assert routing_rules(database) == (EMERGENCY,)
    shown = client.get("/api/v1/routes/versions").json()
    assert [(one["who"], one["note"], len(one["rules"])) for one in shown] == [
        (ADMINISTRATOR, f"version {saved['number']} restored", 1),
        (ADMINISTRATOR, "", 0),
        (ADMINISTRATOR, "by a program", 1),
    ]
    assert client.post(f"/api/v1/routes/versions/{10**20}/restore").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"rules": [{"name": "A"}]},
        {"rules": [{"name": "A", "priority": "stat", "colour": "red"}]},
        {"rules": [{"name": "A", "destinations": ["Nowhere"]}]},
        {"rules": [{"name": "A", "model": "no-such-model"}]},
        {"rules": 1},
    ],
)
def test_the_api_refuses_what_cannot_be_used(client: httpx.Client, database: Database, body: dict[str, Any]) -> None:
    assert client.put("/api/v1/routes", json=body).status_code == 422
    assert client.post("/api/v1/routes/try", json=body).status_code == 422
    assert routing_rules(database) == ()
