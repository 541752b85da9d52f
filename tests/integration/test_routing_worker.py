"""Routing rules in a running node with two AE titles: one study goes elsewhere as STAT, one is kept out."""

from pathlib import Path

from dicom_node.database.states import Priority
from dicom_node.database.tables import AssociationRow, RunRow
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.versions import save_rules
from dicom_node.studies.status import StudyStatus
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import instance_of, running_pacs, store
from tests.support.small_study import make_small_study

ENDED = {"delivered", "undelivered", "stored", "rejected", "failed", "kept_out"}


def _processed(node: Node, name: str, called_ae: str, description: str = "Brain") -> StudyStatus:
    study = make_small_study(name, roles=["FLAIR"])
    for ds in study:
        ds.StudyDescription = description
    port = node.settings.node.dicom_port
    assert set(store([instance_of(ds) for ds in study], port, called_ae=called_ae)) == {0x0000}
    return node.wait_for_state(str(study[0].StudyInstanceUID), ENDED)


def test_by_its_called_ae_title_a_study_goes_elsewhere_or_is_kept_out(tmp_path: Path) -> None:
    further = {"GLIONODE_NODE_FURTHER_AE_TITLES": "GLIOSTAT"}
    with running_pacs("MAIN") as main, running_pacs("ER") as emergency:
        peers = [SENDER, destination(main, "Main"), destination(emergency, "Emergency")]
        with running_node(tmp_path, peers, further) as node:
            called = Condition(attribute="CalledAETitle", operator=Operator.EQUALS, value="GLIOSTAT")
            spine = Condition(attribute="StudyDescription", operator=Operator.MATCHES, value="*spine*")
            rules = [
                RoutingRule(name="stat", conditions=(called,), destinations=("Emergency",), priority="stat"),
                RoutingRule(name="spines", conditions=(spine,), keep_out="spines are not for this node"),
            ]
            save_rules(node.database, rules, "test")
            routed = _processed(node, "routed", "GLIOSTAT")
            assert (routed.state, len(emergency.received), len(main.received)) == ("delivered", 2, 0)
            (decision,) = [one for one in routed.decisions if one.code == "routed"]
            assert decision.reason == "sent to Emergency alone (rule 'stat'); priority stat (rule 'stat')"
            kept_out = _processed(node, "kept out", "GLIOSTAT", "Cervical spine")
            assert (kept_out.state, kept_out.reason) == (
                "kept_out",
                "kept out by the routing rule 'spines': spines are not for this node",
            )
            free = _processed(node, "free", "GLIONODE")
            assert (free.state, len(emergency.received), len(main.received)) == ("delivered", 4, 2)
            with node.database.session() as session:
                priorities = [run.priority for run in session.query(RunRow).order_by(RunRow.ready_at)]
                titles = [one.called_ae for one in session.query(AssociationRow).order_by(AssociationRow.opened_at)]
            assert priorities == [Priority.STAT, Priority.ROUTINE]
            assert titles == ["GLIOSTAT", "GLIOSTAT", "GLIONODE"]
