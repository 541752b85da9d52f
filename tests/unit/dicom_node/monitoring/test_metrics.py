"""What Prometheus reads: numbers from the database, whichever process is asked, and no patient in them."""

import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dicom_node.access.tokens import add_token
from dicom_node.audit.files import trail_files
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.notice_tables import ConditionRow
from dicom_node.database.states import DeliveryState, JobState, Priority, RunState, StudyState, TokenScope
from dicom_node.database.tables import (
    AssociationRow,
    DeliveryRow,
    RefusalRow,
    ResultRow,
    RunRow,
    StudyRow,
    utc_now,
)
from dicom_node.database.upload_tables import WorkbenchRow
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.monitoring.counts import NOBODY_KNOWN, quantile, read_counts
from dicom_node.monitoring.metrics import Metrics
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import Settings, config_folder, read_settings
from tests.support.canary import AE_TITLE, CANARIES, UID, leaks
from tests.support.certificate import make_certificate
from tests.support.panel_client import logged_in
from tests.support.waiting import ANSWER_S

MONITORING = config_folder() / "monitoring"
NAME = re.compile(r"\bglionode_\w+")


def _settings(folder: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})


def _run(number: int, state: RunState, *, step: str = "", waits_s: float = 0, priority: int = 5) -> list[object]:
    study = StudyRow(study_uid=f"{UID}.{number}", key=f"canarykey{number}", state=StudyState(state))
    study.reason = CANARIES["PatientName"]
    facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now() - timedelta(seconds=waits_s)}
    run = RunRow(run_id=f"run{number}", study_uid=study.study_uid, state=state, step=step, priority=priority, **facts)
    return [study, run]


def _fill(database: Database) -> None:
    """Keep studies in several states, with a patient's values wherever a person or a sender may have put them."""
    with database.session() as session:
        session.add(ConditionRow(code="disk_full", subject=AE_TITLE, detail=UID, noted=True))
    put_peer(database, Peer(name="PACS", ae_title="PACSAE", host="127.0.0.1", port=104, is_destination=True))
    now = utc_now()
    with database.session() as session:
        rows = [
            *_run(1, RunState.QUEUED, waits_s=90, priority=Priority.STAT),
            *_run(2, RunState.QUEUED, waits_s=30),
            *_run(3, RunState.FAILED, step="align"),
            *_run(4, RunState.DELIVERED),
        ]
        for row in rows:
            session.add(row)
            session.flush()
        for number, destination in enumerate(["PACS", AE_TITLE]):
            uid = f"{UID}.9.{number}"
            facts = {"series_uid": "1", "sop_class_uid": "1", "kind": "SEG", "path": "x", "sha256": "0"}
            session.add(ResultRow(sop_instance_uid=uid, run_id="run4", study_uid=f"{UID}.4", **facts))
            session.flush()
            state = DeliveryState.ACCEPTED if number else DeliveryState.REFUSED
            session.add(DeliveryRow(run_id="run4", sop_instance_uid=uid, destination=destination, state=state))
        for number, calling in enumerate(["PACSAE", AE_TITLE]):
            session.add(AssociationRow(association_id=str(number), listener="l", calling_ae=calling))
        session.add(
            AssociationRow(association_id="old", listener="l", calling_ae="PACSAE", opened_at=now - timedelta(2))
        )
        for address in ("a", "b"):
            reason = CANARIES["PatientID"]
            session.add(RefusalRow(calling_ae=AE_TITLE, address=address, code="unknown_caller", reason=reason, count=4))
        for took_s in (1, 2, 40):
            session.add(
                StepTimeRow(run_id="run4", step="align", began_at=now - timedelta(seconds=took_s), ended_at=now)
            )
        session.add(StepTimeRow(run_id="run4", step="align", began_at=now - timedelta(3), ended_at=now - timedelta(2)))
        facts = {"files": CANARIES["PatientName"], "expires_at": now}
        session.add(WorkbenchRow(id="job", owner=CANARIES["PatientID"], state=JobState.WAITING, **facts))


def _samples(text: str) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    families = text_string_to_metric_families(text)
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_counts_are_those_of_the_database(books: Database) -> None:
    _fill(books)
    counts = read_counts(books)
    assert counts.studies == {"queued": 2, "failed": 1, "delivered": 1}
    assert counts.runs_at_step == {("failed", "align"): 1}
    assert counts.queued == {"stat": 1, "routine": 1}
    assert 90 <= counts.oldest_queued_s < 600
    assert counts.deliveries == {("PACS", "refused"): 1, (NOBODY_KNOWN, "accepted"): 1}
    assert counts.undelivered == 1
    assert counts.associations == {"PACS": 1, NOBODY_KNOWN: 1}
    assert counts.refusals == {"unknown_caller": 8}
    assert counts.workbench == {"waiting": 1}
    step = counts.steps["align"]
    assert (step.count, round(step.median_s), round(step.p95_s)) == (3, 2, 40)


def test_steps_stand_in_their_order_whichever_ended_last(books: Database) -> None:
    _fill(books)
    with books.session() as session:
        for step in ("earlier", "select", "deliver", "convert"):
            session.add(StepTimeRow(run_id="run4", step=step, began_at=utc_now(), ended_at=utc_now()))
    assert list(read_counts(books).steps) == ["select", "convert", "align", "deliver", "earlier"]


def test_metrics_state_the_counts_and_name_no_patient(books: Database, tmp_path: Path) -> None:
    _fill(books)
    WorkerBook(books, gpu="1")
    set_maintenance(books, "anna", on=True)
    text = Metrics(_settings(tmp_path), books).text().decode()
    samples = _samples(text)
    assert samples["glionode_studies", "queued"] == 2
    assert samples["glionode_studies", "rejected"] == 0
    assert samples["glionode_queue_length", "high"] == 0
    assert samples["glionode_refusals", "unknown_caller"] == 8
    assert samples["glionode_workers", "alive"] == 1
    assert samples["glionode_maintenance",] == 1
    assert samples["glionode_disk_free_bytes",] > samples["glionode_disk_free_limit_bytes",] - 2**50
    assert samples["glionode_disk_used_bytes",] > 0
    assert leaks(text) == []
    assert "canarykey" not in text


def test_an_answer_is_used_again_for_a_while(database: Database, tmp_path: Path) -> None:
    kept, anew = Metrics(_settings(tmp_path), database, 3600), Metrics(_settings(tmp_path), database, 0)
    before = kept.text()
    anew.text()
    _fill(database)
    assert kept.text() == before
    assert _samples(anew.text().decode())["glionode_studies", "queued"] == 2


def test_a_trail_that_was_cut_or_cannot_be_written_shows(database: Database, tmp_path: Path) -> None:
    metrics = Metrics(_settings(tmp_path), database, 0)

    def found() -> tuple[float, float]:
        samples = _samples(metrics.text().decode())
        return samples["glionode_audit_writable",], samples["glionode_audit_end_intact",]

    assert found() == (1, 1)
    trail = AuditTrail(tmp_path, "NODE", database)
    for _ in range(3):
        trail.record(trail.report.activity("web", started=True))
    assert found() == (1, 1)
    (path,) = trail_files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert found() == (1, 0)
    path.write_bytes(whole)
    assert found() == (1, 1)
    shutil.rmtree(tmp_path / "audit")
    (tmp_path / "audit").write_text("no folder")
    assert found() == (0, 0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.95, 4), (0.0, 1)])
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    assert quantile([4, 1, 2, 3], share) == expected
    assert quantile([], share) == 0


def test_only_a_token_for_metrics_or_an_administrator_reads_them(database: Database, tmp_path: Path) -> None:
    with logged_in(database, tmp_path) as anna:
        assert "glionode_build_info" in anna.get("/metrics").text
        assert anna.get("/metrics").headers["content-type"].startswith("text/plain")
        with httpx.Client(base_url=anna.base_url, timeout=ANSWER_S) as program:
            statuses = {"none": program.get("/metrics").status_code}
            for scope in (TokenScope.METRICS, TokenScope.PEERS):
                token = add_token(database, f"for {scope}", [scope])
                statuses[scope] = program.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code
    assert statuses == {"none": 401, TokenScope.METRICS: 200, TokenScope.PEERS: 403}


def test_the_page_of_the_tokens_offers_every_scope(database: Database, tmp_path: Path) -> None:
    with logged_in(database, tmp_path) as anna:
        page = anna.get("/tokens").text
    assert set(re.findall(r'name="scopes" value="([\w:]+)"', page)) == set(TokenScope)


def _expressions() -> list[str]:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return [*alerts, *(target["expr"] for panel in board["panels"] for target in panel["targets"])]


def test_rules_dashboard_and_readme_use_metrics_that_exist(books: Database, tmp_path: Path) -> None:
    _fill(books)
    WorkerBook(books)
    settings = _settings(tmp_path)
    with_certificate = replace(settings, web=replace(settings.web, certificate=make_certificate(tmp_path)[0]))
    made = {name for name, *_ in _samples(Metrics(with_certificate, books).text().decode())}
    used = {name for expression in _expressions() for name in NAME.findall(expression)}
    assert len(used) > 15
    assert used <= made
    assert set(NAME.findall((MONITORING / "README.md").read_text("utf-8"))) == made


def test_rules_and_dashboard_select_by_labels_and_states_that_the_metrics_have(books: Database, tmp_path: Path) -> None:
    _fill(books)
    WorkerBook(books)
    families = text_string_to_metric_families(Metrics(_settings(tmp_path), books).text().decode())
    made: dict[tuple[str, str], set[str]] = {}
    for sample in (one for family in families for one in family.samples):
        for label, value in sample.labels.items():
            made.setdefault((sample.name, label), set()).add(value)
    selectors = [one for expression in _expressions() for one in re.findall(r"(glionode_\w+){([^}]*)}", expression)]
    asked = [(name, *one) for name, inside in selectors for one in re.findall(r'(\w+)!?=~?"([^"]*)"', inside)]
    assert len(asked) >= 7
    assert [one for one in asked if one[2] not in made.get(one[:2], ())] == []


def test_alert_rules_have_the_structure_that_prometheus_reads() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))
    assert set(rules) == {"groups"}
    for group in rules["groups"]:
        assert set(group) == {"name", "rules"}
        names = [rule["alert"] for rule in group["rules"]]
        assert len(names) == len(set(names)) > 8
        for rule in group["rules"]:
            assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
            assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"].endswith(".")
    scrape = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))
    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"
    assert scrape["rule_files"] == ["alerts.yml"]


@pytest.mark.parametrize("expression", _expressions())
def test_expressions_are_written_as_promql(expression: str) -> None:
    """Hold what can be told without Prometheus: brackets, functions, and labels with quoted values."""
    bare = re.sub(r"\{(\w+!?=\"[\w.]+\",? ?)+\}", "", expression)
    assert not set(bare) & set("{}\"'")
    for pair in ("()", "[]"):
        assert bare.count(pair[0]) == bare.count(pair[1])
    assert set(re.findall(r"(\w+)\(", bare)) <= {"sum", "min", "delta", "time", "rate", "predict_linear"}
    words = set(re.findall(r"\b[a-z]\w*", re.sub(r"\[\d+[smh]\]", "", bare)))
    known = {"up", "and", "or", "sum", "min", "delta", "time", "rate", "predict_linear"}
    assert {word for word in words - known if not NAME.fullmatch(word)} == set()
