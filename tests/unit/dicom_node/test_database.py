"""The node's books: migrations, durability of settings, and sessions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import dicom_node.database.access_tables
import dicom_node.database.connection_tables
import dicom_node.database.identity_tables
import dicom_node.database.migrations
import dicom_node.database.upload_tables
from dicom_node.database.engine import Database, make_engine, open_database
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import REVISION, Base, DecisionRow, InstanceRow, SecretRow, StudyRow, utc_now

_FIRST_REVISION = (
    (
        "INSERT INTO study (study_uid, key, state, reason, first_received_at, last_received_at) VALUES"
        " ('1.1', 'k', 'stored', '', '2026-01-01 00:00:00', '2026-01-01 00:00:00')"
    ),
    (
        "INSERT INTO run (run_id, study_uid, revision, manifest_sha256, ready_at, state, step, code, reason, summary)"
        " VALUES ('k-1', '1.1', 1, '0', '2026-01-01 00:00:00', 'stored', '', '', '', '{}')"
    ),
    "INSERT INTO decision (run_id, ordinal, code, subject, reason) VALUES ('k-1', 0, 'role', 'series 4', 'T1')",
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new folder' / 'node.sqlite'}"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.engine.dispose()


def test_the_migrations_give_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_can_be_undone(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(dicom_node.database.migrations.__path__[0])))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert sa.inspect(database.engine).get_table_names() == ["alembic_version"]


def test_migrations_are_loaded_only_where_one_is_missing(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated: list[str] = []
    upgrade = command.upgrade

    def counted(config: Config, revision: str) -> None:
        migrated.append(revision)
        upgrade(config, revision)

    monkeypatch.setattr(command, "upgrade", counted)
    open_database(url).engine.dispose()
    assert migrated == []
    config = Config()
    config.set_main_option("script_location", str(Path(dicom_node.database.migrations.__path__[0])))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    open_database(url).engine.dispose()
    assert migrated == ["head"]
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all() == [REVISION]


def test_a_database_can_be_opened_again_and_keeps_what_it_holds(database: Database, url: str) -> None:
    with database.session() as session:
        session.add(SecretRow(name="kept", value="value"))
    again = open_database(url)
    with again.session() as session:
        assert session.get_one(SecretRow, "kept").value == "value"
    again.engine.dispose()


def test_sqlite_is_durable_and_holds_its_references(database: Database) -> None:
    with database.session() as session:
        pragmas = {
            name: session.execute(sa.text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000}


def test_an_instance_without_its_study_is_refused(database: Database) -> None:
    row = {"sop_instance_uid": "1.2", "series_uid": "1.3", "sop_class_uid": "1.4", "transfer_syntax_uid": "1.5"}
    rest = {"patient_key": "", "sha256": "", "path": "", "calling_ae": ""}
    with pytest.raises(sa.exc.IntegrityError), database.session() as session:
        session.add(InstanceRow(study_uid="1.1", **row, **rest))


def test_a_session_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session() as session:
            session.add(SecretRow(name="lost", value=""))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.session() as session:
        assert session.get(SecretRow, "lost") is None


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    with database.session() as session:
        session.add(StudyRow(study_uid="1.1", key="k"))
    with database.session() as session:
        study = session.get_one(StudyRow, "1.1")
        assert study.first_received_at.tzinfo == UTC
        assert utc_now() - timedelta(minutes=5) < study.first_received_at <= utc_now()
        assert study.state == StudyState.RECEIVING


def test_a_time_of_another_zone_is_kept_as_the_moment_it_was(database: Database) -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    with database.session() as session:
        session.add(StudyRow(study_uid="1.1", key="k", last_received_at=noon))
    with database.session() as session:
        assert session.get_one(StudyRow, "1.1").last_received_at == noon


def test_every_state_of_a_run_that_speaks_for_its_study_is_a_state_of_the_study() -> None:
    silent = {RunState.UNCHANGED, RunState.SUPERSEDED}  # another run of the study speaks for it
    assert {str(state) for state in set(RunState) - silent} < {str(state) for state in StudyState}


def test_books_of_the_first_revision_are_brought_forward_and_back(database: Database) -> None:
    """A decision written before evidence was kept stays as it was, with none."""
    config = Config()
    config.set_main_option("script_location", str(Path(dicom_node.database.migrations.__path__[0])))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        columns = {column["name"] for column in sa.inspect(connection).get_columns("decision")}
        assert columns == {"id", "run_id", "ordinal", "code", "subject", "reason"}
        for statement in _FIRST_REVISION:
            connection.execute(sa.text(statement))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    evidence = [{"source": "timing", "kind": "T1", "weight": 1.5, "says": "TR 500 ms"}]
    with database.session() as session:
        session.add(
            DecisionRow(
                run_id="k-1", ordinal=1, code="role", subject="series 5", reason="", series_uid="1.5", evidence=evidence
            )
        )
    with database.session() as session:
        old, new = session.scalars(sa.select(DecisionRow).order_by(DecisionRow.ordinal)).all()
    assert (old.subject, old.reason, old.series_uid, old.evidence) == ("series 4", "T1", "", [])
    assert (new.series_uid, new.evidence) == ("1.5", evidence)


def test_sqlite_tells_the_time_as_dbos_asks_for_it_whatever_its_version(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'any.sqlite'}")
    with engine.begin() as connection:
        found = connection.execute(sa.text("SELECT unixepoch('subsec') * 1000")).scalar_one()
    engine.dispose()
    assert abs(found / 1000 - utc_now().timestamp()) < 600
