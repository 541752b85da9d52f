"""A site rule in a running node: the next study follows it, and its reason names it."""

from pathlib import Path

from tests.support.node import Node, running_node
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study

ENDED = {"stored", "rejected", "failed"}


def _processed(node: Node, name: str) -> tuple[str, dict[str, str], str]:
    """Send a study of one FLAIR series; return its state, its sequences and every reason given for it."""
    study = make_small_study(name, roles=["FLAIR"])
    assert set(store([instance_of(ds) for ds in study], node.settings.node.dicom_port)) == {0x0000}
    found = node.wait_for_state(str(study[0].StudyInstanceUID), ENDED)
    reasons = " ".join([found.reason, *(decision.reason for decision in found.decisions)])
    return found.state, found.summary.get("sequences", {}), reasons


def test_a_rule_holds_from_the_next_study_on(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        added = node.command("rules", "add", "not a FLAIR", "--description", "FLAIR", "--kind", "T2")
        assert added.returncode == 0, added.stderr
        state, sequences, reasons = _processed(node, "ruled")
        assert (state, sequences) == ("rejected", {})
        assert "not a FLAIR" in reasons
        removed = node.command("rules", "remove", "not a FLAIR")
        assert removed.returncode == 0, removed.stderr
        state, sequences, reasons = _processed(node, "free")
        assert (state, list(sequences)) == ("stored", ["FLAIR"])
        assert "not a FLAIR" not in reasons
