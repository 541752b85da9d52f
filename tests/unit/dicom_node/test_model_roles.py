"""Which model has which role: the setting until somebody promotes, then one step back at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.models.roles import (
    ModelChoice,
    ModelRole,
    choose,
    chosen,
    go_back,
    history,
    model_folder,
    production_model,
)
from dicom_node.runs.durable import DurableRun
from dicom_node.runs.segmenters import Segmenters
from dicom_node.settings import Settings, read_settings
from inference.errors import InferenceReason, UnusableModel
from inference.foreign.addition import add_model
from inference.registry import Registry, StoredModel
from tests.support.detector_model import write_detector


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    setting = write_detector(tmp_path / "by the setting", name="setting")
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_PROCESSING_MODEL": str(setting)}
    return read_settings(environment=environment)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


def _add(settings: Settings, tmp_path: Path, name: str) -> StoredModel:
    return add_model(Registry(settings.node.folder), write_detector(tmp_path / name, name=name))


def _back(database: Database) -> ModelChoice:
    return go_back(database, ModelRole.PRODUCTION, "nobody", lambda _: None)


def test_without_a_promotion_the_setting_counts(database: Database, settings: Settings) -> None:
    assert chosen(database, ModelRole.PRODUCTION) is None
    assert production_model(database, settings).name == "setting"
    with pytest.raises(UnusableModel, match="no model was promoted"):
        _back(database)


def test_the_last_promotion_counts_and_each_rollback_goes_one_back(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    for name in "abc":
        choose(database, ModelRole.PRODUCTION, _add(settings, tmp_path, name), f"by {name}")
        assert production_model(database, settings).name == name
    assert [_back(database).name, _back(database).name] == ["b", "a"]
    choose(database, ModelRole.PRODUCTION, Registry(settings.node.folder).find("c"), "again")
    found = [production_model(database, settings).name]
    for _ in range(2):
        _back(database)
        found.append(production_model(database, settings).name)
    assert found == ["c", "a", "setting"]
    with pytest.raises(UnusableModel, match="no model was promoted"):
        _back(database)


def test_a_routing_rule_chooses_the_model_of_a_run_and_with_it_what_the_run_uses(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    chosen_model = _add(settings, tmp_path, "a")
    now = utc_now()
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="k", state="running"))
        session.flush()
        for run_id, model in (("free", ""), ("routed", "a"), ("lost", "none")):
            route = {"model": model, "destinations": None, "priority": "", "by": {}}
            facts = {"study_uid": "1.2", "revision": 1, "manifest_sha256": "0", "ready_at": now}
            session.add(RunRow(run_id=run_id, route=route, **facts))
    runs = {one: DurableRun(one, settings, database, Segmenters(settings)) for one in ("free", "routed", "lost")}
    assert runs["routed"].segmenter().model.identity.sha256 == chosen_model.sha256
    assert runs["free"].segmenter().model.identity.sha256 == production_model(database, settings).sha256
    with pytest.raises(UnusableModel, match="none"):
        runs["lost"].segmenter()


def test_the_history_says_what_when_and_who(database: Database, settings: Settings, tmp_path: Path) -> None:
    model = _add(settings, tmp_path, "a")
    choose(database, ModelRole.PRODUCTION, model, "Ada" * 40)
    _back(database)
    promoted, back = history(database, ModelRole.PRODUCTION)
    assert (promoted.action, promoted.name, promoted.version, promoted.sha256) == (
        "promote",
        "a",
        "1.2.3",
        model.sha256,
    )
    assert promoted.who == ("Ada" * 40)[:64]
    assert (back.action, back.name, back.who) == ("rollback", "", "nobody")
    assert promoted.at <= back.at


def test_a_command_finds_what_was_added_by_its_name(settings: Settings, tmp_path: Path) -> None:
    model = _add(settings, tmp_path, "a")
    assert model_folder(settings, "a") == model_folder(settings, "a/1.2.3") == str(model.folder)
    assert model_folder(settings) == settings.processing.model


def test_the_roles_are_apart(database: Database, settings: Settings, tmp_path: Path) -> None:
    model = _add(settings, tmp_path, "a")
    choose(database, ModelRole.SHADOW, model, "x")
    assert production_model(database, settings).name == "setting"
    shadow = chosen(database, ModelRole.SHADOW)
    assert shadow is not None
    assert shadow.sha256 == model.sha256
    choose(database, ModelRole.SHADOW, None, "x")
    assert chosen(database, ModelRole.SHADOW) is None
    assert [choice.action for choice in history(database, ModelRole.SHADOW)] == ["shadow", "off"]


def test_a_promoted_manifest_that_has_changed_is_not_used(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    model = _add(settings, tmp_path, "a")
    choose(database, ModelRole.PRODUCTION, model, "Ada")
    path = model.folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"0.3", b"0.4"))
    with pytest.raises(UnusableModel, match="differs from the one chosen by Ada") as caught:
        production_model(database, settings)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED


def test_a_rollback_that_cannot_be_is_none(database: Database, settings: Settings, tmp_path: Path) -> None:
    for name in "ab":
        choose(database, ModelRole.PRODUCTION, _add(settings, tmp_path, name), "Ada")

    def refuse(choice: ModelChoice) -> None:
        raise UnusableModel(InferenceReason.MODEL_CHANGED, f"{choice.name} has changed")

    with pytest.raises(UnusableModel, match="a has changed"):
        go_back(database, ModelRole.PRODUCTION, "Ada", refuse)
    assert production_model(database, settings).name == "b"
    assert len(history(database, ModelRole.PRODUCTION)) == 2
