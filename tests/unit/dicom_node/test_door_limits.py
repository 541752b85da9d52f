"""What a stranger's connections may take of the node: time, seats and memory; over real sockets."""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import InstanceRow, RefusalRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.reception.acceptor.connections import ADDRESSES
from dicom_node.reception.acceptor.line import MAXIMUM_PDU_BYTES
from dicom_node.reception.acceptor.messages import COMMAND_BYTES
from dicom_node.reception.incoming import GATHERED_BYTES
from dicom_node.settings import read_settings
from tests.support.listener_process import listening
from tests.support.pacs import echo
from tests.support.raw_line import (
    ABORT,
    ACCEPT,
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
from tests.support.raw_request import ASSOCIATE, answer_to, associate_request
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

DEADLINE_S = 30.0
RELEASE = 0x05
Start = Callable[..., int]


@pytest.fixture
def image() -> Dataset:
    return make_small_study("limits", roles=["FLAIR"])[0]


def _peak_mib(pid: int) -> float:
    """Return the most memory that a process has had (proc(5), VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _codes(database: Database) -> set[str]:
    with database.session() as session:
        return set(session.scalars(sa.select(RefusalRow.code)))


def _stored(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow.sop_instance_uid)))


@contextmanager
def _silent(port: int, count: int, first: bytes = b"", address: str = "127.0.0.1") -> Iterator[Sequence[socket.socket]]:
    """Open connections from an address of the loopback network that say no more than their first bytes."""
    with ExitStack() as stack:
        where = ("127.0.0.1", port), DEADLINE_S, (address, 0)
        opened = [stack.enter_context(socket.create_connection(*where)) for _ in range(count)]
        for one in opened:
            one.sendall(first)
        yield opened


def _drip(connection: socket.socket, content: bytes) -> None:
    """Send byte by byte until all is sent or the other side has had enough."""
    connection.settimeout(0.1)
    for number in range(len(content)):
        try:
            connection.sendall(content[number : number + 1])
            if not connection.recv(64):
                return
        except TimeoutError:
            continue
        except OSError:
            return


def _could_send(line: RawLine, content: bytes) -> bool:
    try:
        line.socket.sendall(content)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("first", [b"", associate_request()[:100]], ids=["silent", "a request cut off"])
def test_connections_that_say_nothing_keep_no_sender_out(start: Start, database: Database, first: bytes) -> None:
    port = start(GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="2")
    with _silent(port, 40, first):
        for _ in range(3):
            assert echo(port)
    assert "association_limit" not in _codes(database)


def test_of_those_that_wait_the_oldest_makes_room(start: Start, database: Database) -> None:
    port = start(GLIONODE_LISTENER_WAITING_CONNECTIONS="3")
    with _silent(port, 4) as waiting:
        wait_until(lambda: _codes(database) == {"too_many_connections"})
        (ended,) = select.select(waiting, [], [], DEADLINE_S)[0]  # they come in at about the same time
        assert ended.recv(64) == b""
        stays = next(one for one in waiting if one is not ended)
        stays.sendall(associate_request())
        assert RawLine(stays).read_pdu()[0] == ACCEPT
        assert echo(port)


def _associate(waiting: Sequence[socket.socket]) -> list[int]:
    """Let connections that have waited say who they are; return what each is answered, 0 where it was hung up on."""
    answers = []
    for one in waiting:
        with suppress(OSError):
            one.sendall(associate_request())
            answers.append(RawLine(one).read_pdu()[0])
    return answers


def test_a_crowd_from_one_address_takes_no_room_of_another(start: Start, database: Database) -> None:
    port = start(GLIONODE_LISTENER_WAITING_CONNECTIONS="2")
    with _silent(port, 2, address="127.0.0.2") as first, _silent(port, 5, address="127.0.0.3") as crowd:
        wait_until(lambda: len(_hung_up_on(crowd)) == 3)
        assert _associate(first) == [ACCEPT] * 2
        ended = _hung_up_on(crowd)
        assert _associate([one for one in crowd if one not in ended]) == [ACCEPT] * 2
    assert _codes(database) == {"too_many_connections"}


def test_each_of_as_many_addresses_as_are_meant_has_its_room(start: Start, database: Database) -> None:
    port = start(GLIONODE_LISTENER_WAITING_CONNECTIONS="2", GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="16")
    with ExitStack() as held:
        waiting = [held.enter_context(_silent(port, 2, address=f"127.0.0.{2 + k}")) for k in range(ADDRESSES)]
        assert [_associate(each) for each in waiting] == [[ACCEPT] * 2] * ADDRESSES
    assert _codes(database) == set()


def test_addresses_without_number_share_a_limit(start: Start, database: Database) -> None:
    port = start(GLIONODE_LISTENER_WAITING_CONNECTIONS="2", GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="16")
    with ExitStack() as held:
        addresses = [f"127.0.1.{1 + k}" for k in range(2 * ADDRESSES + 5)]
        waiting = [one for each in addresses for one in held.enter_context(_silent(port, 1, address=each))]
        wait_until(lambda: len(_hung_up_on(waiting)) == 5)
        ended = _hung_up_on(waiting)
        assert _associate([one for one in waiting if one not in ended]) == [ACCEPT] * 2 * ADDRESSES
    assert _codes(database) == {"too_many_connections"}


def _hung_up_on(waiting: Sequence[socket.socket]) -> list[socket.socket]:
    """Return those connections that have ended, of some that were answered nothing."""
    return select.select(waiting, [], [], 0)[0]


def test_seats_are_for_those_that_were_let_in(start: Start, database: Database) -> None:
    port = start(GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="1")
    for _ in range(3):
        assert answer_to(port, associate_request(called=b"ELSEWHERE".ljust(16)))[0] == 3
    with raw_line(port):
        assert not echo(port)
    wait_until(lambda: "association_limit" in _codes(database))
    wait_until(lambda: echo(port))


@pytest.mark.parametrize("request_pdu", [b"", associate_request()], ids=["silent", "dripping"])
def test_a_request_has_a_time_for_the_whole_of_it(start: Start, database: Database, request_pdu: bytes) -> None:
    port = start(GLIONODE_LISTENER_ASSOCIATION_TIMEOUT_S="1")
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        _drip(connection, request_pdu)
        wait_until(lambda: _codes(database) == {"too_slow"})
    assert echo(port)


def test_a_message_that_drips_is_given_up(start: Start, database: Database, image: Dataset) -> None:
    port = start(GLIONODE_LISTENER_NETWORK_TIMEOUT_S="1")
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1))])
        _drip(line.socket, struct.pack(">BBI", P_DATA, 0, 10_000) + bytes(10_000))
        wait_until(lambda: _codes(database) == {"too_slow"})
    assert echo(port)


def test_a_message_that_drips_in_whole_pdus_is_given_up(start: Start, image: Dataset) -> None:
    port = start(GLIONODE_LISTENER_NETWORK_TIMEOUT_S="1")
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1))])
        line.socket.settimeout(0.1)
        deadline = time.monotonic() + DEADLINE_S
        has_ended = False
        while not has_ended:
            assert time.monotonic() < deadline
            try:
                line.send_values([(CONTEXT, 0, b"\0")])
                line.socket.recv(64)  # an abort, or the end
                has_ended = True
            except TimeoutError:
                continue
            except OSError:
                has_ended = True
    assert echo(port)


def test_a_sender_that_takes_no_answers_is_hung_up_on(start: Start) -> None:
    port = start(GLIONODE_LISTENER_NETWORK_TIMEOUT_S="1", GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="1")
    asked = struct.pack("<HHIH", 0, 0x0100, 2, 0x0020) + struct.pack("<HHIH", 0, 0x0110, 2, 1)
    asked += struct.pack("<HHIH", 0, 0x0800, 2, 0x0101)
    value = struct.pack(">IBB", len(asked) + 2, CONTEXT, COMMAND | LAST) + asked
    many = struct.pack(">BBI", P_DATA, 0, 500 * len(value)) + 500 * value
    with raw_line(port) as line:
        line.socket.settimeout(1.0)
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while _could_send(line, many):
            pass
        wait_until(lambda: echo(port))  # its seat, the only one, is free
        assert not _could_send(line, many)


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (ASSOCIATE, 0xFFFFFFF0),
        (ASSOCIATE, 2**20),
        (P_DATA, 0xFFFFFFF0),
        (P_DATA, 100),
        (RELEASE, 4),
        (0x02, 100),
        (0x03, 4),
        (0x06, 4),
        (ABORT, 0xFFFFFFF0),
        (0x00, 4),
        (0x08, 4),
        (0xFF, 0xFFFFFFF0),
    ],
)
def test_before_an_association_only_a_request_for_one_is_read(
    start: Start, database: Database, kind: int, length: int
) -> None:
    port = start()
    assert answer_to(port, struct.pack(">BBI", kind, 0, length))[0] == ABORT  # although nothing else has come
    wait_until(lambda: _codes(database) == {"bad_association_request"})


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (ASSOCIATE, 200),
        (0x02, 100),
        (0x03, 4),
        (P_DATA, MAXIMUM_PDU_BYTES + 7),
        (P_DATA, 0xFFFFFFF0),
        (RELEASE, 5),
        (RELEASE, 0xFFFFFFF0),
        (0x06, 4),
        (ABORT, 0xFFFFFFF0),
        (0x00, 4),
        (0x08, 4),
    ],
)
def test_within_an_association_only_what_may_come_is_read(
    start: Start, database: Database, kind: int, length: int
) -> None:
    port = start()
    with raw_line(port) as line:
        line.socket.sendall(struct.pack(">BBI", kind, 0, length))
        assert line.read_pdu()[0] == ABORT
    wait_until(lambda: _codes(database) == {"protocol_error"})


def test_an_abort_reaches_a_sender_that_is_still_talking(start: Start) -> None:
    port = start()
    with raw_line(port) as line:
        line.socket.sendall(struct.pack(">BBI", P_DATA, 0, 0xFFFFFFF0))
        for _ in range(20):
            line.socket.sendall(bytes(2**16))
        assert line.read_pdu()[0] == ABORT


def test_the_largest_pdu_is_announced_and_taken(start: Start, database: Database, image: Dataset) -> None:
    port = start()
    _, accepted = answer_to(port, associate_request())
    assert b"\x51\0\0\4" + struct.pack(">I", MAXIMUM_PDU_BYTES) in accepted
    image.add_new(0x00091010, "OB", bytes(MAXIMUM_PDU_BYTES))
    image.add_new(0x00090010, "LO", "GLIONODE TEST")
    data_set = data_of(image)
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1))])
        room = MAXIMUM_PDU_BYTES - 6
        line.send_values([(CONTEXT, 0, data_set[:room])])
        line.send_values([(CONTEXT, LAST, data_set[room:])])
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _stored(database) == [image.SOPInstanceUID]


def test_a_command_has_a_size(start: Start, database: Database) -> None:
    port = start()
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND, bytes(COMMAND_BYTES + 1))])
        assert line.read_pdu()[0] == ABORT
    assert _codes(database) == {"protocol_error"}


def test_a_data_set_that_is_too_large_is_refused_and_the_next_one_taken(
    start: Start, database: Database, image: Dataset
) -> None:
    small = data_of(image)
    port = start(GLIONODE_LIMITS_DATA_SET_GIB=str((len(small) + 1) / 2**30))
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1))])
        line.send_values([(CONTEXT, LAST, small + bytes(2))])
        assert line.read_status() == (1, 0xA700)
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 2))])
        line.send_values([(CONTEXT, LAST, small)])
        assert line.read_status() == (2, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _codes(database) == {"data_set_too_large"}
    assert _stored(database) == [image.SOPInstanceUID]


def test_a_data_set_without_end_is_let_pass_no_longer_than_twice_that(image: Dataset, tmp_path: Path) -> None:
    """In a process of its own: the most memory that it has had is told by nothing else than this."""
    limit = 2**27
    environment = {
        "GLIONODE_NODE_FOLDER": str(tmp_path),
        "GLIONODE_NODE_DICOM_PORT": "0",
        "GLIONODE_LIMITS_DATA_SET_GIB": str(limit / 2**30),
    }
    database = open_database(read_settings(environment=environment).database_url)
    put_peer(database, Peer(name="Sender", ae_title="SENDER"))
    with listening(tmp_path, environment) as (process, port):
        assert echo(port)
        before = _peak_mib(process.pid)
        with raw_line(port) as line:
            line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1))])
            piece = struct.pack(">BBIIBB", P_DATA, 0, 2**19 + 6, 2**19 + 2, CONTEXT, 0) + bytes(2**19)
            sent, deadline = 0, time.monotonic() + DEADLINE_S
            while sent < limit + GATHERED_BYTES:
                line.socket.sendall(piece)
                sent += len(piece)
            wait_until(lambda: not list(tmp_path.rglob("*.part")))  # nothing of it is kept, though it goes on
            while _could_send(line, piece):  # a second longer than the node takes it, so that its abort is seen
                sent += len(piece)
                assert time.monotonic() < deadline
        wait_until(lambda: _codes(database) == {"protocol_error"})
        assert sent >= 2 * limit
        assert _peak_mib(process.pid) - before < 64  # half of what is taken at most, and a quarter of what came
    database.engine.dispose()


@pytest.mark.parametrize("source_and_reason", [b"\0\0", b"\1\0", b"\2\6", b"\7\0", b"\2\xff"])
def test_an_abort_ends_an_association_whoever_it_says_it_is_from(
    start: Start, monkeypatch: pytest.MonkeyPatch, source_and_reason: bytes
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "dicom_node.reception.acceptor.upper_layer._log.error", lambda event, **_values: said.append(event)
    )
    port = start()
    with raw_line(port) as line:
        line.socket.sendall(struct.pack(">BBIH", ABORT, 0, 4, 0) + source_and_reason)
        assert line.read_pdu()[0] == 0
    assert said == []


def test_what_comes_after_an_answered_request_may_be_wrong(
    start: Start, database: Database, monkeypatch: pytest.MonkeyPatch, image: Dataset
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "dicom_node.reception.acceptor.upper_layer._log.error", lambda event, **_values: said.append(event)
    )
    port = start()
    with raw_line(port) as line:
        whole = [(CONTEXT, COMMAND | LAST, command_of(image, 1)), (CONTEXT, LAST, data_of(image))]
        line.send_values([*whole, (CONTEXT, LAST, b"a data set of nothing")])
        kinds = [line.read_pdu()[0]]
        while kinds[-1] not in (0, ABORT):
            kinds.append(line.read_pdu()[0])
        assert kinds[-1] == ABORT
    wait_until(lambda: _codes(database) == {"protocol_error"})
    assert said == []
