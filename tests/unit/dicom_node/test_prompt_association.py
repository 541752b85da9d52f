"""What comes over the wire in unusual pieces, breaks off, or falls silent; from a socket that writes its own PDUs."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database
from dicom_node.database.states import AssociationEnd
from dicom_node.database.tables import AssociationRow, InstanceRow
from tests.support.pacs import echo
from tests.support.raw_line import (
    ABORT,
    COMMAND,
    CONTEXT,
    LAST,
    P_DATA,
    RELEASE_RESPONSE,
    RawLine,
    command_of,
    data_of,
    raw_line,
)
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

DEADLINE_S = 30.0


@pytest.fixture
def images() -> list[Dataset]:
    return make_small_study("wire", roles=["FLAIR"])


def _stored(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow.sop_instance_uid).order_by(InstanceRow.id)))


def _content(database: Database, folder: Path) -> bytes:
    with database.session() as session:
        return (folder / session.scalars(sa.select(InstanceRow.path)).one()).read_bytes()


def _send(line: RawLine, image: Dataset, message_id: int) -> None:
    line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, message_id))])
    line.send_values([(CONTEXT, LAST, data_of(image))])


def test_command_and_data_set_may_share_a_pdu(
    port: int, database: Database, folder: Path, images: list[Dataset]
) -> None:
    data_set = data_of(images[0])
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(images[0], 7)), (CONTEXT, LAST, data_set)])
        assert line.read_status() == (7, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _stored(database) == [images[0].SOPInstanceUID]
    assert _content(database, folder).endswith(data_set)


@pytest.mark.parametrize("size", [1, 1000])
def test_a_data_set_may_come_in_many_fragments(
    port: int, database: Database, folder: Path, images: list[Dataset], size: int
) -> None:
    data_set = data_of(images[0])
    cuts = [data_set[start : start + size] for start in range(0, len(data_set), size)]
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(images[0], 1))])
        for start in range(0, len(cuts), 50):
            line.send_values([(CONTEXT, 0, cut) for cut in cuts[start : start + 50]])
        line.send_values([(CONTEXT, LAST, b"")])
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _content(database, folder).endswith(data_set)


def test_a_command_in_fragments_takes_the_long_way(port: int, database: Database, images: list[Dataset]) -> None:
    command, data_set = command_of(images[0], 2), data_of(images[0])
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND, command[:20])])
        line.send_values([(CONTEXT, COMMAND | LAST, command[20:]), (CONTEXT, 0, data_set[:100])])
        line.send_values([(CONTEXT, LAST, data_set[100:])])
        assert line.read_status() == (2, 0x0000)
        _send(line, images[1], 3)
        assert line.read_status() == (3, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _stored(database) == [images[0].SOPInstanceUID, images[1].SOPInstanceUID]


def test_a_sender_need_not_wait_for_answers(port: int, database: Database, images: list[Dataset]) -> None:
    with raw_line(port) as line:
        for number, image in enumerate(images):
            _send(line, image, number)
        assert [line.read_status() for _ in images] == [(number, 0x0000) for number in range(len(images))]
        assert line.release() == RELEASE_RESPONSE
    assert _stored(database) == [image.SOPInstanceUID for image in images]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([(CONTEXT, COMMAND | LAST, b"\0\0")], id="a second command before the data set"),
        pytest.param([(CONTEXT + 2, LAST, b"\0\0")], id="a data set of another context"),
    ],
)
def test_a_message_out_of_order_ends_the_association(
    port: int, database: Database, images: list[Dataset], values: list[tuple[int, int, bytes]]
) -> None:
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(images[0], 1))])
        line.send_values(values)
        assert line.read_pdu()[0] == ABORT
    assert _stored(database) == []
    assert echo(port)


def test_a_context_that_was_not_accepted_ends_the_association(
    port: int, database: Database, images: list[Dataset]
) -> None:
    with raw_line(port) as line:
        line.send_values([(CONTEXT + 2, COMMAND | LAST, command_of(images[0], 1)), (CONTEXT + 2, LAST, b"\0\0")])
        assert line.read_pdu()[0] == ABORT
    assert _stored(database) == []


@pytest.mark.parametrize(
    "items",
    [
        pytest.param(struct.pack(">IBB", 100, CONTEXT, LAST) + b"short", id="longer than the PDU"),
        pytest.param(struct.pack(">IB", 1, CONTEXT), id="no control header"),
        pytest.param(struct.pack(">I", 0), id="no context"),
        pytest.param(b"\0\0", id="no length"),
    ],
)
def test_lengths_that_do_not_add_up_end_the_association(port: int, items: bytes) -> None:
    with raw_line(port) as line:
        line.socket.sendall(struct.pack(">BBI", P_DATA, 0, len(items)) + items)
        assert line.read_pdu()[0] == ABORT
    assert echo(port)


def test_a_pdu_that_says_it_is_huge_takes_no_memory(port: int, images: list[Dataset]) -> None:
    with raw_line(port) as line:
        line.socket.sendall(struct.pack(">BBI", P_DATA, 0, 0xFFFFFFF0) + b"not so much")
    with raw_line(port) as line:
        _send(line, images[0], 1)
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE


@pytest.mark.parametrize("piece", [b"", b"\x04\0\0", b"\x04\0\0\0\x01\0" + bytes(10)])
def test_a_sender_that_falls_silent_is_let_go(
    start: Callable[..., int], database: Database, images: list[Dataset], piece: bytes
) -> None:
    port = start(GLIONODE_LISTENER_NETWORK_TIMEOUT_S="3")
    with raw_line(port) as line:
        _send(line, images[0], 1)
        assert line.read_status() == (1, 0x0000)
        line.socket.sendall(piece)
        while line.read_pdu()[0]:  # an abort, then the end
            pass
    wait_until(lambda: _ends(database) == [AssociationEnd.ABORTED])
    assert _stored(database) == [images[0].SOPInstanceUID]


def test_a_pdu_may_take_longer_than_an_association_may_be_silent(
    start: Callable[..., int], database: Database, images: list[Dataset]
) -> None:
    data_set = data_of(images[0])
    items = struct.pack(">IBB", len(data_set) + 2, CONTEXT, LAST) + data_set
    port = start(GLIONODE_LISTENER_NETWORK_TIMEOUT_S="6")
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(images[0], 1))])
        line.socket.sendall(struct.pack(">BBI", P_DATA, 0, len(items)))
        for part in range(8):  # 8 s in all, where 6 s of silence are the end
            time.sleep(1.0)
            line.socket.sendall(items[part * len(items) // 8 : (part + 1) * len(items) // 8])
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _stored(database) == [images[0].SOPInstanceUID]


def test_a_sender_that_vanishes_leaves_what_it_was_thanked_for(
    port: int, database: Database, images: list[Dataset]
) -> None:
    with raw_line(port) as line:
        _send(line, images[0], 1)
        assert line.read_status() == (1, 0x0000)
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(images[1], 2)), (CONTEXT, 0, data_of(images[1])[:200])])
    wait_until(lambda: _ends(database) == [AssociationEnd.ABORTED])
    assert _stored(database) == [images[0].SOPInstanceUID]


def _ends(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(AssociationRow.end)))


def test_pydicom_reads_what_was_stored(port: int, database: Database, folder: Path, images: list[Dataset]) -> None:
    with raw_line(port) as line:
        _send(line, images[0], 1)
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    with database.session() as session:
        path = session.scalars(sa.select(InstanceRow.path)).one()
    assert pydicom.dcmread(folder / path) == images[0]
