"""`glionode models` as an operator uses it: every subcommand, one JSON document, one line where it fails."""

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dicom_node.cli.main import cli
from dicom_node.database.engine import open_database
from dicom_node.database.tables import RunRow, ShadowRow, StudyRow
from dicom_node.settings import read_settings
from inference.manifest import read_manifest
from tests.support.detector_model import write_detector
from tests.support.monai_bundle import write_bundle

SHIPPED = "glioma"


@pytest.fixture(autouse=True)
def _node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["models", *map(str, arguments)])


def _document(*arguments: str | Path) -> dict[str, Any]:
    done = _run(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _failure(*arguments: str | Path) -> str:
    done = _run(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith("glionode: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    """Return a model folder of our own form that is not added."""
    return write_detector(tmp_path / "detector")


def test_the_list_says_where_each_model_is_from_and_which_is_used(detector: Path) -> None:
    _document("add", detector)
    _document("shadow", "detector")
    models = {model["name"]: model for model in _document("list")["models"]}
    assert (models[SHIPPED]["shipped"], models[SHIPPED]["production"], models[SHIPPED]["shadow"]) == (True, True, False)
    added = models["detector"]
    assert (added["shipped"], added["production"], added["shadow"], added["version"]) == (False, False, True, "1.2.3")
    lines = _run("list").stdout.splitlines()
    assert f"* {SHIPPED} " in lines[1]
    assert lines[0].startswith("s detector 1.2.3  CC0  added")


def test_a_folder_without_a_model_is_listed_with_its_reason(detector: Path) -> None:
    folder = Path(_document("add", detector)["folder"])
    (folder / "manifest.json").write_text("{}")
    document = _document("list")
    assert [model["name"] for model in document["models"]] == [SHIPPED]
    assert "manifest.json" in document["unusable"][0]["reason"]
    assert "manifest.json" in _failure("verify")


def test_a_model_is_shown_with_manifest_hash_and_card(detector: Path) -> None:
    shown = _document("show", SHIPPED)
    assert shown["manifest"]["networks"][0]["weights"] == "slices-0.safetensors"
    assert len(shown["sha256"]) == 64
    assert "Cross-validated figures" in shown["card"]
    assert "manifest SHA-256" in _run("show", SHIPPED).stdout
    assert _document("show", detector)["manifest"]["name"] == "detector"
    assert f"no model 'none'; shipped models: {SHIPPED}" in _failure("show", "none")
    assert "no model 'detector 9'" in _failure("show", "detector", "9")


def test_a_card_cannot_steer_the_terminal(detector: Path) -> None:
    (detector / "MODEL_CARD.md").write_text("# Card\n\x1b]0;title\x07\x1b[2J")
    assert _run("show", detector).stdout.endswith("# Card\n\\x1b]0;title\\x07\\x1b[2J\n")


def test_what_is_added_is_told_and_verified(tmp_path: Path, detector: Path) -> None:
    added = _document("add", detector)
    assert Path(added["folder"]) == tmp_path / "node" / "models" / "detector" / "1.2.3"
    rows = _document("verify")["models"]
    assert [(row["name"], row["ok"]) for row in rows] == [("detector", True), (SHIPPED, True)]
    assert "exists already" in _failure("add", detector)


@pytest.mark.parametrize("file", ["weights.safetensors", "manifest.json"])
def test_a_changed_byte_fails_the_verification(tmp_path: Path, detector: Path, file: str) -> None:
    path = Path(_document("add", detector)["folder"]) / file
    path.write_bytes(path.read_bytes().replace(b"CC0", b"CC1") if file == "manifest.json" else b"")
    assert file in _failure("verify", "detector")
    done = _run("verify", "--json")
    assert done.exit_code == 1
    assert {row["name"]: row["ok"] for row in json.loads(done.stdout)["models"]} == {"detector": False, SHIPPED: True}
    assert file in _failure("promote", "detector")
    assert not _document("list")["models"][0]["production"]
    assert str(tmp_path) not in _failure("promote", "detector")


def test_a_bundle_of_monai_is_added_by_its_folder(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "brats_mri_segmentation")
    manifest = _document("add", bundle)["manifest"]
    assert (manifest["name"], manifest["channels"]) == ("brats_mri_segmentation", ["T1CE", "T1", "T2", "FLAIR"])
    told = _run("add", bundle, "--name", "mine", "--model-version", "2", "--channels", "t1,t1ce,t2,flair")
    assert "channels taken as T1, T1CE, T2, FLAIR; outputs volume: TC, WT, ET" in told.stdout
    assert "glionode models promote mine 2" in told.stdout


def test_what_could_run_a_program_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({}))
    assert "can run any program" in _failure("add", tmp_path / "model.pkl")
    bundle = write_bundle(tmp_path / "bundle", {"act": "$import os"})
    assert "expressions and references are not evaluated" in _failure("add", bundle)
    assert "no such file" in _failure("add", tmp_path / "absent")
    assert list((tmp_path / "node" / "models").iterdir()) == []


def test_promotion_and_rollback_keep_a_history(detector: Path) -> None:
    sha256 = _document("add", detector)["sha256"]
    promoted = _document("promote", "detector", "--by", "Ada")
    assert promoted["production"]["sha256"] == sha256
    assert [model["production"] for model in _document("list")["models"]] == [True, False]
    back = _document("rollback", "--by", "Grace")
    assert (back["production"], back["setting"]) == (None, SHIPPED)
    assert [(one["action"], one["who"]) for one in back["history"]] == [("promote", "Ada"), ("rollback", "Grace")]
    assert "no model was promoted" in _failure("rollback")
    assert _run("promote", SHIPPED).stdout.startswith(
        f"production: {SHIPPED} {read_manifest(SHIPPED)[1].version}, from the next study on"
    )


def test_a_rollback_to_a_model_that_has_changed_is_refused(tmp_path: Path, detector: Path) -> None:
    folder = Path(_document("add", detector)["folder"])
    _document("add", write_detector(tmp_path / "2", version="2"))
    _document("promote", "detector", "1.2.3")
    _document("promote", "detector")
    (folder / "weights.safetensors").unlink()
    assert "weights.safetensors is missing" in _failure("rollback")
    assert [model["production"] for model in _document("list")["models"]] == [False, True, False]


def test_the_shadow_is_named_shown_and_switched_off(detector: Path) -> None:
    assert _document("shadow") == {"shadow": None, "studies": 0, "mean_dice": {}, "results": []}
    sha256 = _document("add", detector)["sha256"]
    assert _document("shadow", "detector", "--by", "Ada")["shadow"]["sha256"] == sha256
    _write_results(sha256)
    shown = _document("shadow")
    assert (shown["studies"], shown["mean_dice"]) == (2, {"WT": 0.75})
    assert [(one["study_key"], one["state"]) for one in shown["results"]] == [("key", "failed"), ("key", "done")]
    text = _run("shadow").stdout
    assert "key detector 1.2.3 done  WT Dice 0.750, 2.0 against 3.0 ml" in text
    assert "key detector 1.2.3 failed  no FLAIR" in text
    assert "mean Dice against production WT: 0.750" in text
    assert _document("shadow", "--off")["shadow"] is None
    assert _run("shadow", "detector", "--off").exit_code == 2


def _write_results(sha256: str) -> None:
    """Put one study that the shadow has seen, and one that it could not see, into the books."""
    database = open_database(read_settings().database_url)
    figures = {"WT": {"dice": 0.75, "volume_ml": 2.0, "production_ml": 3.0, "difference_ml": -1.0}}
    model = {"name": "detector", "version": "1.2.3", "sha256": sha256}
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="key"))
        session.flush()
        for number in (1, 2):
            ready_at = datetime(2026, 1, 1, tzinfo=UTC)
            run = RunRow(
                run_id=f"key-{number}", study_uid="1.2", revision=number, manifest_sha256="", ready_at=ready_at
            )
            session.add(run)
        session.flush()
        session.add(ShadowRow(run_id="key-1", state="done", regions=figures, **model))
        session.flush()
        session.add(ShadowRow(run_id="key-2", state="failed", reason="no FLAIR", **model))
    database.engine.dispose()
