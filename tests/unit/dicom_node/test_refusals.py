"""Refusals in the books: counted, bounded, and a known peer's are not hidden by a stranger's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import RefusalRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.reception import refusals
from dicom_node.reception.listener import Listener
from dicom_node.reception.refusals import MANY_NAMES, NAMES_FOR_EACH_ADDRESS, ROWS, note_refusal
from dicom_node.settings import read_settings
from tests.support.raw_request import answer_to, associate_request

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
REJECT = 0x03


@pytest.fixture
def database(database: Database) -> Database:
    """Return books that know a scanner."""
    put_peer(database, Peer(name="Scanner", ae_title="SCANNER"))
    return database


def _note(
    database: Database,
    caller: str,
    minute: int = 0,
    address: str = "10.0.0.1",
    reason: str = "no",
    code: str = "a_code",
) -> None:
    row = RefusalRow(calling_ae=caller, address=address, code=code, reason=reason)
    with database.session() as session:
        note_refusal(session, row, NOON + timedelta(minutes=minute))


def _rows(database: Database) -> list[RefusalRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(RefusalRow).order_by(RefusalRow.id)))


def test_the_same_again_is_counted(database: Database) -> None:
    for minute in range(5):
        _note(database, "SCANNER", minute, reason=f"for the {minute}. time")
    (row,) = _rows(database)
    assert (row.count, row.reason) == (5, "for the 4. time")
    assert (row.first_at, row.at) == (NOON, NOON + timedelta(minutes=4))


def test_another_caller_address_or_code_is_another_row(database: Database) -> None:
    _note(database, "SCANNER")
    _note(database, "OTHER")
    _note(database, "SCANNER", address="10.0.0.2")
    _note(database, "SCANNER", code="other_code")
    assert [row.count for row in _rows(database)] == [1, 1, 1, 1]


def test_what_was_noted_before_it_was_counted_goes_on(database: Database) -> None:
    with database.session() as session:
        session.add_all(RefusalRow(calling_ae="X", address="10.0.0.1", code="a_code", reason="no") for _ in range(2))
    _note(database, "X")
    assert [(row.count, row.first_at) for row in _rows(database)] == [(1, None), (2, None)]


def test_a_node_of_before_keeps_what_it_had_noted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'before.sqlite'}"
    engine, config = sa.create_engine(url), Config()
    config.set_main_option("script_location", "dicom_node.database:migrations")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")
        columns = "at, calling_ae, address, code, reason"
        values = "'2026-05-04 12:00:00', 'OLD', '10.0.0.1', 'a_code', 'as it was'"
        connection.execute(sa.text(f"INSERT INTO refusal ({columns}) VALUES ({values})"))  # noqa: S608 - both are above
    engine.dispose()
    upgraded = open_database(url)
    _note(upgraded, "OLD", minute=1)
    (row,) = _rows(upgraded)
    assert (row.count, row.first_at, row.reason) == (2, None, "no")
    upgraded.engine.dispose()


def test_many_names_from_one_address_are_few_rows_and_no_peers(database: Database) -> None:
    for number in range(100):
        _note(database, f"NAME{number}")
    _note(database, "SCANNER")
    rows = {row.calling_ae: row.count for row in _rows(database)}
    assert len(rows) == NAMES_FOR_EACH_ADDRESS + 2
    assert rows[MANY_NAMES] == 100 - NAMES_FOR_EACH_ADDRESS
    assert rows["SCANNER"] == 1


def test_many_addresses_make_room_and_a_peers_refusals_stay(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROWS >= 100
    monkeypatch.setattr(refusals, "ROWS", 20)  # a thousand would take seconds
    _note(database, "SCANNER")
    for number in range(50):
        _note(database, "STRANGER", number, address=f"10.0.1.{number}")
    rows = _rows(database)
    assert len(rows) == 20
    assert rows[0].calling_ae == "SCANNER"
    assert {row.address for row in rows[1:]} == {f"10.0.1.{number}" for number in range(31, 50)}


def test_a_stranger_at_the_door_under_many_names_fills_few_rows(database: Database, tmp_path: Path) -> None:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_NODE_DICOM_PORT": "0"}
    listener = Listener(read_settings(environment=environment), database)
    listener.start()
    try:
        for number in range(NAMES_FOR_EACH_ADDRESS + 10):
            assert answer_to(listener.port, associate_request(calling=f"N{number}".ljust(16).encode()))[0] == REJECT
    finally:
        listener.stop()
    rows = _rows(database)
    assert len(rows) == NAMES_FOR_EACH_ADDRESS + 1
    assert sum(row.count for row in rows) == NAMES_FOR_EACH_ADDRESS + 10
