"""What this node asks of peers by C-ECHO, C-FIND and C-GET is asked of those with habits too, or ends in a sentence."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.database.engine import Database
from dicom_node.peers.echo import EchoOutcome, echo
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import demographics_of, studies_of_patient
from dicom_node.peers.query_answers import QueryFailed
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import read_settings
from tests.support.odd_scp import USER_ITEMS, OddScp, item, odd_scp

C_ECHO, C_FIND, C_GET = 0x0030, 0x0020, 0x0010

HABITS: dict[str, dict[str, Any]] = {
    "no maximum length": {"user_items": item(0x52, b"1.2.3.4")},
    "a version name of 24 characters": {"user_items": USER_ITEMS + item(0x55, b"A VERY LONG VERSION NAME")},
    "no user information": {"user_items": b""},
    "items that nobody defined": {"user_items": USER_ITEMS + item(0xEE, b"?")},
    "a padded class UID": {"user_items": item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3\0")},
    "implicit only": {"takes": [str(ImplicitVRLittleEndian)]},
    "titles of NULs": {"acceptance": lambda pdu: pdu[:10] + bytes(32) + pdu[42:]},
}


def _peer(scp: OddScp) -> Peer:
    return Peer(name="Odd", ae_title="ODD", host="127.0.0.1", port=scp.port, is_source=True)


def _fetcher(database: Database, folder: Path, scp: OddScp) -> Fetcher:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})
    return Fetcher(settings, database, _peer(scp))


@pytest.mark.parametrize("habit", HABITS)
def test_a_peer_with_habits_is_asked(database: Database, tmp_path: Path, habit: str) -> None:
    with odd_scp(OddScp(**HABITS[habit])) as scp:
        assert echo(_peer(scp), "GLIONODE", 10).outcome is EchoOutcome.OK
        assert studies_of_patient(_peer(scp), "GLIONODE", "P1") == []
        assert demographics_of(_peer(scp), "GLIONODE", "1.2.3") == {}
        with pytest.raises(QueryFailed, match=r"Odd sent nothing of the study; check that it has the study"):
            _fetcher(database, tmp_path, scp).fetch("1.2.3")
    assert scp.asked == [C_ECHO, C_FIND, C_FIND, C_GET]


CLOSING: dict[str, dict[str, Any]] = {
    "at once": {"stores": 0},
    "when it has accepted": {},
    "while it accepts": {"acceptance": lambda pdu: pdu[:80]},
}


@pytest.mark.parametrize("when", CLOSING)
def test_a_peer_that_ends_it_early_is_a_sentence(database: Database, tmp_path: Path, when: str) -> None:
    with odd_scp(OddScp(**CLOSING[when], hangs_up=True)) as scp:
        told = echo(_peer(scp), "GLIONODE", 10)
        assert told.outcome in (EchoOutcome.ABORTED, EchoOutcome.NO_ANSWER)
        assert told.sentence.startswith("ODD at 127.0.0.1:")
        asks: list[Callable[[], object]] = [
            lambda: studies_of_patient(_peer(scp), "GLIONODE", "P1"),
            lambda: _fetcher(database, tmp_path, scp).fetch("1.2.3"),
        ]
        for ask in asks:
            with pytest.raises(QueryFailed, match=r"ODD at 127\.0\.0\.1:\d+ |Odd sent nothing"):
                ask()
