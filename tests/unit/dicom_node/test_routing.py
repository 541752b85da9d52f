"""Routing rules: which conditions hold, which rule decides what, and what is kept of it."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database
from dicom_node.database.states import Priority
from dicom_node.database.tables import AssociationRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, remove_peer
from dicom_node.reception.inbox import Inbox
from dicom_node.routing.matching import holds
from dicom_node.routing.route import Route, keeps, model_of, route_of, why_routed
from dicom_node.routing.rule import (
    MOST_RULES,
    Condition,
    Operator,
    RoutingError,
    RoutingRule,
    as_documents,
    read_rules,
)
from dicom_node.routing.rules_toml import rules_as_toml, rules_of_toml
from dicom_node.routing.study_facts import StudyFacts
from dicom_node.routing.trial import RouteChange, try_routes
from dicom_node.routing.versions import UnknownVersion, restore, routing_rules, save_rules, versions
from tests.support.small_study import make_small_study

STAT = RoutingRule(
    name="Emergency",
    conditions=(Condition(attribute="CalledAETitle", operator=Operator.EQUALS, value="GLIOSTAT"),),
    destinations=("ER",),
    priority="stat",
)
CHILDREN = RoutingRule(
    name="Children",
    conditions=(Condition(attribute="PatientAge", operator=Operator.AT_MOST, value="17"),),
    keep_out="the model knows adults alone",
)
ALL = RoutingRule(name="The rest", model="glioma", priority="routine")


@pytest.mark.parametrize(
    ("operator", "value", "values", "expected"),
    [
        ("equals", "Brain", ["chest", "BRAIN "], True),
        ("equals", "Brain", ["brainstem"], False),
        ("contains", "tumo", ["MR Tumour follow-up"], True),
        ("contains", "tumo", [], False),
        ("matches", "mr*head*", ["MR of the head, 3 T"], True),
        ("matches", "mr?head", ["MR  head"], False),
        ("one_of", "mr1, MR2", ["mr2"], True),
        ("one_of", "mr1,mr2", ["mr"], False),
        ("at_least", "18", ["018Y"], True),
        ("at_least", "18", ["216M"], True),
        ("at_least", "18", ["017Y"], False),
        ("at_most", "1.5", ["1.5", "x"], True),
        ("at_most", "1.5", ["x", ""], False),
        ("at_least", "20260101", ["20260601"], True),
        ("at_most", "1", ["006D"], True),
        ("absent", "", ["", " "], True),
        ("absent", "", ["x"], False),
    ],
)
def test_a_condition_holds_for_what_it_says(operator: str, value: str, values: list[str], *, expected: bool) -> None:
    condition = Condition(attribute="StudyDescription", operator=Operator(operator), value=value)
    assert holds(condition, values) is expected


def test_the_first_rule_that_holds_and_decides_it_counts_for_each_thing_by_itself() -> None:
    facts = {"CalledAETitle": ["GLIOSTAT"], "PatientAge": ["045Y"]}
    route = route_of([CHILDREN, STAT, ALL], lambda one: facts[one])
    assert route == Route(
        model="glioma",
        destinations=("ER",),
        priority="stat",
        by={"destinations": "Emergency", "priority": "Emergency", "model": "The rest"},
    )
    assert (route.rank, route.text) == (Priority.STAT, "model glioma; to ER; priority stat")
    assert why_routed(route.as_document()) == (
        "model glioma (rule 'The rest'); sent to ER alone (rule 'Emergency'); priority stat (rule 'Emergency')"
    )
    facts["CalledAETitle"] = ["GLIONODE"]
    assert route_of([CHILDREN, STAT, ALL], lambda one: facts[one]).text == "model glioma; priority routine"


def test_a_study_that_is_kept_out_goes_nowhere_wherever_the_rule_stands() -> None:
    route = route_of([ALL, CHILDREN], lambda _: ["007Y"])
    assert route == Route(keep_out="the model knows adults alone", by={"keep_out": "Children"})
    assert route.text == "kept out: the model knows adults alone"


def test_without_a_rule_that_holds_everything_stays_as_it_is() -> None:
    route = route_of([STAT], lambda _: [])
    assert (route, route.as_document(), route.rank) == (Route(), {}, Priority.ROUTINE)
    assert (keeps({}, "PACS"), model_of({}), why_routed({})) == (True, "", "")
    kept = route_of([STAT], lambda _: ["gliostat"]).as_document()
    assert (keeps(kept, "ER"), keeps(kept, "PACS"), model_of(kept)) == (True, False, "")


def test_all_conditions_of_a_rule_must_hold() -> None:
    both = replace(STAT, conditions=(*STAT.conditions, *CHILDREN.conditions))
    assert route_of([both], lambda one: ["GLIOSTAT"] if one == "CalledAETitle" else ["020Y"]).by == {}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"name": " "}, "needs a name"),
        ({"priority": "urgent"}, "stat, high or routine"),
        ({"priority": "", "destinations": ()}, "decides something"),
        ({"keep_out": "no"}, "kept out needs no"),
        ({"conditions": STAT.conditions * 21}, "At most 20 conditions"),
    ],
)
def test_a_rule_that_cannot_be_used_says_why(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RoutingError, match=sentence):
        replace(STAT, **values)


@pytest.mark.parametrize(
    ("attribute", "operator", "value", "sentence"),
    [
        ("Colour", "equals", "x", "no DICOM keyword"),
        ("PixelData", "equals", "x", "no DICOM keyword"),
        ("RequestAttributesSequence", "absent", "", "no DICOM keyword"),
        ("Modality", "equals", " ", "enter what to compare with"),
        ("PatientAge", "at_least", "old", "need a number"),
        ("PatientAge", "at_least", "inf", "need a number"),
        ("Modality", "equals", "x" * 256, "at most 255"),
    ],
)
def test_a_condition_that_cannot_be_used_says_why(attribute: str, operator: str, value: str, sentence: str) -> None:
    with pytest.raises(RoutingError, match=sentence):
        Condition(attribute=attribute, operator=Operator(operator), value=value)


@pytest.mark.parametrize(
    "documents",
    [
        None,
        [1],
        [{"name": "A", "priority": "stat", "colour": "red"}],
        [{"name": "A", "priority": 1}],
        [{"name": "A", "priority": "stat", "destinations": "PACS"}],
        [{"name": "A", "priority": "stat", "conditions": [{"attribute": "Modality"}]}],
        [{"name": "A", "priority": "stat", "conditions": [{"attribute": "Modality", "operator": "is", "value": "MR"}]}],
        [{"name": "A", "priority": "stat", "conditions": ["x"]}],
        [{"name": "A", "priority": "stat"}] * 2,
        [{"name": f"{number}", "priority": "stat"} for number in range(MOST_RULES + 1)],
    ],
)
def test_what_is_no_list_of_rules_is_refused(documents: Any) -> None:  # noqa: ANN401 - whatever is sent
    with pytest.raises(RoutingError):
        read_rules(documents)


def test_rules_are_the_same_after_json_and_toml() -> None:
    odd = RoutingRule(
        name='A "B"', conditions=(Condition(attribute="PatientAge", operator=Operator.ABSENT),), model="m"
    )
    rules = (STAT, CHILDREN, ALL, odd)
    assert read_rules(as_documents(rules)) == rules
    assert rules_of_toml(rules_as_toml(rules)) == rules
    for text in ("[[route", "[node]\nfolder = 'x'\n", "route = 1"):
        with pytest.raises(RoutingError):
            rules_of_toml(text)


def test_every_save_is_a_version_and_to_restore_one_is_a_save(books: Database) -> None:
    put_peer(books, Peer(name="ER", ae_title="ER", host="h", port=104, is_destination=True))
    assert routing_rules(books) == ()
    first = save_rules(books, [STAT], "Ada", "first")
    save_rules(books, [STAT, ALL], "Bob")
    assert routing_rules(books) == (STAT, ALL)
    third = restore(books, first, "Ada")
    assert routing_rules(books) == (STAT,)
    assert [(one.number, one.who, one.note, len(one.rules)) for one in versions(books)] == [
        (third, "Ada", f"version {first} restored", 1),
        (third - 1, "Bob", "", 2),
        (first, "Ada", "first", 1),
    ]
    with pytest.raises(UnknownVersion):
        restore(books, 999, "Ada")


def test_a_destination_that_does_not_exist_is_refused_and_nothing_is_saved(database: Database) -> None:
    put_peer(database, Peer(name="ER", ae_title="ER"))  # it receives nothing
    with pytest.raises(RoutingError, match="No peer that receives results is called 'ER'"):
        save_rules(database, [STAT], "Ada")
    put_peer(database, Peer(name="ER", ae_title="ER", host="h", port=104, is_destination=True))
    number = save_rules(database, [STAT], "Ada")
    save_rules(database, [], "Ada")
    remove_peer(database, "ER")
    with pytest.raises(RoutingError):
        restore(database, number, "Ada")
    assert routing_rules(database) == ()


def _hold(database: Database, folder: Path, *images: Dataset, called: str) -> None:
    with database.session() as session:
        session.add(AssociationRow(association_id=called, listener="l", calling_ae="MR1", called_ae=called))
    for ds in images:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        Inbox(database, folder).receive(content, content, "MR1", str(ds.SOPInstanceUID), called)


def test_the_facts_of_a_study_are_those_of_its_series_and_associations(books: Database, tmp_path: Path) -> None:
    images = make_small_study("facts", roles=["FLAIR", "T1"])
    for ds in images:
        ds.PatientAge = "045Y"
    _hold(books, tmp_path, *images, called="GLIOSTAT")
    facts = StudyFacts(books, tmp_path, str(images[0].StudyInstanceUID))
    assert (facts("CalledAETitle"), facts("CallingAETitle")) == (["GLIOSTAT"], ["MR1"])
    assert set(facts("PatientAge")) == {"045Y"}
    assert set(facts("SeriesDescription")) == {str(ds.SeriesDescription) for ds in images}
    assert facts("StationName") == facts("PerformingPhysicianName") == []
    assert "ORIGINAL" in facts("ImageType")


def test_a_dry_run_names_the_studies_that_would_go_elsewhere(books: Database, tmp_path: Path) -> None:
    for name, called in (("one", "GLIOSTAT"), ("two", "GLIONODE")):
        _hold(books, tmp_path, *make_small_study(name, roles=["FLAIR"]), called=called)
    put_peer(books, Peer(name="ER", ae_title="ER", host="h", port=104, is_destination=True))
    save_rules(books, [ALL], "Ada")
    trial = try_routes(books, tmp_path, [STAT, ALL])
    assert (trial.looked_at, trial.held) == (2, {"Emergency": 1, "The rest": 2})
    (change,) = trial.changes
    assert change == RouteChange(
        study_key=change.study_key,
        before="model glioma; priority routine",
        after="model glioma; to ER; priority stat",
    )
    assert try_routes(books, tmp_path, [ALL]).changes == ()
