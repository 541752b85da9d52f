"""Promotion and shadow in a running node: without a restart, and without a byte of the shadow's leaving it."""

import json
import time
from pathlib import Path
from typing import Any

from pydicom import dcmread

from tests.support.detector_model import write_detector
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import instance_of, running_pacs, store
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

ENDED = {"delivered", "rejected", "failed"}
DEADLINE_S = 60.0


def _processed(node: Node, name: str) -> tuple[str, str, dict[str, str]]:
    """Send a study; return its state, its reason, and for each kind of result the model that stands in it."""
    study = make_small_study(name, roles=["T1", "T1CE", "FLAIR"])
    assert set(store([instance_of(ds) for ds in study], node.settings.node.dicom_port)) == {0x0000}
    found = node.wait_for_state(str(study[0].StudyInstanceUID), ENDED)
    folder = node.settings.node.folder
    objects = {kind: dcmread(folder / path, stop_before_pixels=True) for kind, _, path in found.results}
    return found.state, found.reason, {kind: ds.to_json() for kind, ds in objects.items()}


def _models(node: Node, *arguments: str) -> dict[str, Any]:
    done = node.command("models", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _shadow_results(node: Node, count: int) -> list[dict[str, Any]]:
    """Wait until the shadow has ended as many studies."""
    deadline = time.monotonic() + DEADLINE_S
    while len(rows := node.rows("glionode.sqlite", "SELECT state FROM shadow_result WHERE state != 'running'")) < count:
        if time.monotonic() > deadline:
            raise node.failure(f"{count} shadow results were expected, {rows} are there")
        time.sleep(0.05)
    results: list[dict[str, Any]] = _models(node, "shadow")["results"]
    return results


def test_a_promoted_model_counts_from_the_next_study_and_the_shadow_stays_at_home(tmp_path: Path) -> None:
    first = write_detector(tmp_path / "one", name="det-alpha", seen=("T1CE", "FLAIR", "T1"))
    second = write_detector(tmp_path / "two", name="det-beta")
    with (
        running_pacs() as pacs,
        running_node(tmp_path / "run", [SENDER, destination(pacs)], {"GLIONODE_PROCESSING_MODEL": str(first)}) as node,
    ):
        folder = node.settings.node.folder
        identity = _models(node, "add", str(second))["sha256"]
        _models(node, "shadow", "det-beta")
        state, reason, texts = _processed(node, "by the setting")
        assert (state, reason, set(texts)) == ("delivered", "", {"SEG", "SR"})
        assert all("det-alpha" in text and "det-beta" not in text for text in texts.values())
        (shadowed,) = _shadow_results(node, 1)
        assert (shadowed["name"], shadowed["sha256"], shadowed["state"]) == ("det-beta", identity, "done")
        assert 0 <= shadowed["regions"]["WT"]["dice"] < 1
        assert (folder / shadowed["path"]).is_file()

        _models(node, "promote", "det-beta")
        state, _, texts = _processed(node, "promoted")
        assert state == "delivered"
        assert all("det-beta" in text and identity in text for text in texts.values())
        assert _shadow_results(node, 2)[0]["regions"]["WT"]["dice"] == 1

        weights = folder / "models" / "det-beta" / "1.2.3" / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        node.stop()
        node.start()
        _models(node, "rollback")
        state, reason, texts = _processed(node, "shadow broken")
        assert (state, reason) == ("delivered", "")
        assert all("det-alpha" in text for text in texts.values())
        broken = _shadow_results(node, 3)[0]
        assert (broken["state"], broken["code"]) == ("failed", "model_changed")
        assert "weights.safetensors" in broken["reason"]
        kept = {uid for (uid,) in node.rows("glionode.sqlite", "SELECT sop_instance_uid FROM result")}  # of every run
        newest = {uid for study in node.status().studies for _, uid, _ in study.results}
        assert newest <= set(pacs.received) <= kept
        wait_until(lambda: not any((folder / "work").glob("*/*.npz")))  # tidied away once the shadow has ended
