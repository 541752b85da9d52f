"""The support bundle: what it holds, and that no patient is in it, over a node that is full of them."""

import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from conversion.study_identity import StudyIdentity
from dicom_node.audit.files import trail_files
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database, open_database
from dicom_node.database.history_tables import OpinionRow
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import DecisionRow, InstanceRow, RefusalRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.database.upload_tables import WorkbenchRow
from dicom_node.monitoring.support_bundle import support_bundle
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import read_settings
from dicom_node.setup.doctor import Check, diagnose
from dicom_node.studies.identities import identity_row
from dicom_node.web.app import panel_app
from tests.support.canary import AE_TITLE, CANARIES, TEXT, UID, leaks
from tests.support.held_study import hold_small_study
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

SHIPPED_MODEL = "glioma"


def _fill(database: Database, folder: Path) -> list[str]:
    """Keep patients wherever a node keeps them; return UIDs and keys, which must not leave it either."""
    patient = {keyword: value for keyword, value in CANARIES.items() if keyword != "SeriesDescription"}
    study_uid = hold_small_study(database, folder, "canarykey", attributes=patient)
    now = utc_now()
    identity = StudyIdentity(
        patient_name=CANARIES["PatientName"],
        patient_id=CANARIES["PatientID"],
        accession_number=CANARIES["AccessionNumber"],
        description=CANARIES["StudyDescription"],
        study_date="2026-12-01",
        modality="MR",
    )
    with database.session() as session:
        study = session.get_one(StudyRow, study_uid)
        study.state, study.reason, study.awaited, study.identity_due = StudyState.FAILED, TEXT, [TEXT], False
        session.add(identity_row(study_uid, now, [identity], 1))
        facts: dict[str, object] = {"revision": 1, "manifest_sha256": "0", "ready_at": now}
        facts |= {"ready_because": TEXT, "reason": TEXT}
        failed = {"state": RunState.FAILED, "step": "align", "code": "registration_failed"}
        session.add(
            RunRow(run_id=f"{UID}-run", study_uid=study_uid, summary={"sequences": {"T1": TEXT}}, **failed, **facts)
        )
        session.flush()
        run = {"run_id": f"{UID}-run"}
        session.add(DecisionRow(**run, ordinal=1, code="c", subject=TEXT, reason=TEXT))
        session.add(OpinionRow(**run, study_uid=study_uid, verdict="agree", comment=TEXT, who="anna"))
        facts = {"sop_class_uid": "1", "kind": "SEG", "path": f"{CANARIES['PatientName']}.dcm", "sha256": "0"}
        session.add(ResultRow(sop_instance_uid=UID, study_uid=study_uid, series_uid=f"{UID}.1", **run, **facts))
        session.add(RefusalRow(calling_ae=AE_TITLE, address="h", code="unknown_caller", reason=TEXT))
        session.add(WorkbenchRow(id="j", owner=TEXT[:80], files=TEXT, reason=TEXT, expires_at=now))
        names = [Path(path).name for path in session.scalars(sa.select(InstanceRow.path))]
        uids = list(session.scalars(sa.select(InstanceRow.sop_instance_uid)))
    (folder / "inbox" / f"{CANARIES['PatientName']}.dcm").write_text(TEXT)
    trail = AuditTrail(folder, "NODE", database)
    trail.record(trail.report.activity(TEXT, started=True))
    return [study_uid, "canarykey", *uids, *(name for name in names if len(name) > 8)]


def _unpacked(content: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name) for name in bundle.namelist()}


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom 3.0.4 after a refused connection
def test_a_bundle_holds_what_helps_and_no_patient(books: Database, tmp_path: Path) -> None:
    settings = read_settings(
        environment={"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_DATABASE_URL": "postgresql://a:hunter2@host/b"}
    )
    unspoken = _fill(books, tmp_path)
    put_peer(books, Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=1))
    files = _unpacked(support_bundle(settings, books, diagnose(settings, books)))
    everything = b"".join([*files.values(), *(name.encode() for name in files)])
    assert leaks(everything) == []
    assert [word for word in [*unspoken, "hunter2"] if word.encode() in everything] == []
    shown = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert shown["counts.json"]["study"] == 1
    assert shown["failures.json"] == [{"state": "failed", "step": "align", "code": "registration_failed", "runs": 1}]
    assert shown["settings.json"]["database"]["url"].endswith("a:***@host/b")
    assert shown["versions.json"]["tables"]["present"] == [shown["versions.json"]["tables"]["wanted"]]
    assert any(line.startswith("pydicom ") for line in shown["versions.json"]["packages"])
    assert shown["models.json"]["models"][0]["name"] == SHIPPED_MODEL
    assert shown["ready.json"]["ready"] is True
    assert (shown["audit.json"]["whole"], shown["audit.json"]["records"]) == (True, 1)
    assert {"folder", "database", "peer PACS"} <= {check["name"] for check in shown["doctor.json"]}
    assert b'glionode_studies{state="failed"} 1.0' in files["metrics.txt"]


def test_a_bundle_says_that_the_trail_was_changed(database: Database, tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    _fill(database, tmp_path)
    (path,) = trail_files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"sequence", b"sequense"))
    files = _unpacked(support_bundle(settings, database, []))
    assert json.loads(files["audit.json"])["whole"] is False
    assert leaks(*files.values()) == []


def test_the_command_writes_a_private_file_once(tmp_path: Path) -> None:
    out = tmp_path / "support.zip"
    environment = os.environ | {"GLIONODE_NODE_FOLDER": str(tmp_path / "node")}
    command = [sys.executable, "-m", "dicom_node.cli", "support-bundle", "--out", str(out), "--json"]
    open_database(f"sqlite:///{tmp_path / 'node' / 'glionode.sqlite'}").engine.dispose()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"file": str(out), "bytes": out.stat().st_size}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "doctor.json" in _unpacked(out.read_bytes())
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_the_button_gives_the_same_with_what_the_doctor_says(database: Database, tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    app = panel_app(settings, database, lambda *_: [Check(name="folder", ok=True, detail="It is there.")])
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as anna:
        log_in(anna, database)
        answer = anna.post("/system/support-bundle")
    assert answer.headers["content-disposition"] == 'attachment; filename="glionode-support.zip"'
    files = _unpacked(answer.content)
    assert json.loads(files["doctor.json"]) == [{"name": "folder", "ok": True, "detail": "It is there."}]
    assert set(files) == {
        *("README.txt", "settings.json", "versions.json", "counts.json", "failures.json", "models.json"),
        *("metrics.txt", "ready.json", "doctor.json", "audit.json"),
    }
