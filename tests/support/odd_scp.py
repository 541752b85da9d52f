"""An SCP byte by byte, with habits that no library lets one have; it holds nothing, and stores in memory."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_RQ

from dicom_node.reception.acceptor.dimse_commands import C_STORE, read_command, response
from viewer_integration.transport.association import RemoteEntity

__all__ = ["USER_ITEMS", "OddScp", "item", "odd_scp"]

TIMEOUT_S = 30.0


def item(kind: int, value: bytes) -> bytes:
    """Return an item of a PDU."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


USER_ITEMS = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
"""What an SCP to the letter says of itself."""


def _always() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass(kw_only=True)
class OddScp:
    """An SCP and its habits.

    Attributes
    ----------
    user_items
        What stands in the user information of its acceptance.
    takes
        Transfer syntaxes; None for every one that is proposed first.
    stores
        How many requests are answered before it closes the connection; None for all.
    acceptance
        Makes another acceptance of the one to the letter.
    answer
        Makes another answer, a P-DATA PDU, of the one to the letter.
    hangs_up
        Whether it closes the connection when it has accepted.
    reads
        Until this is set nothing is read after the acceptance: the SCP is frozen, its connection stays.
    """

    user_items: bytes = USER_ITEMS
    takes: Sequence[str] | None = None
    stores: int | None = None
    acceptance: Callable[[bytes], bytes] = bytes
    answer: Callable[[bytes], bytes] = bytes
    reads: threading.Event = field(default_factory=_always)
    hangs_up: bool = False
    stored: list[tuple[str, str, bytes]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    proposed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    port: int = 0

    @property
    def remote(self) -> RemoteEntity:
        """Return how to call it."""
        return RemoteEntity(name="Odd", ae_title="ODD", host="127.0.0.1", port=self.port)

    def serve(self, line: socket.socket) -> None:
        """Answer over one connection until either side has enough."""
        contexts: dict[int, str] = {}
        command, data, ahead = b"", b"", self.stores
        while ahead != 0:
            kind, body = _pdu(line)
            if kind == 0x01:
                line.sendall(self.acceptance(self._acceptance(body, contexts)))
                if self.hangs_up:
                    return
                self.reads.wait(TIMEOUT_S)
            elif kind == 0x05:
                line.sendall(struct.pack(">BBII", 0x06, 0, 4, 0))
            elif kind != 0x04:
                return
            for context, control, value in _values(body) if kind == 0x04 else ():
                command, data = (command + value, data) if control & 1 else (command, data + value)
                asks_alone = control == 3 and not read_command(command).has_data_set
                if control == 2 or asks_alone:
                    line.sendall(self.answer(self._answer(context, contexts[context], command, data)))
                    command, data, ahead = b"", b"", None if ahead is None else ahead - 1

    def _acceptance(self, body: bytes, contexts: dict[int, str]) -> bytes:
        request = A_ASSOCIATE_RQ()
        request.decode(struct.pack(">BBI", 1, 0, len(body)) + body)
        answers = b""
        for one in request.presentation_context:
            offered = [str(syntax) for syntax in one.transfer_syntax]
            self.proposed.append((str(one.abstract_syntax), tuple(offered)))
            taken = offered[:1] if self.takes is None else [each for each in offered if each in self.takes]
            syntax, result = (taken[0], 0) if taken else (str(ImplicitVRLittleEndian), 4)
            contexts[one.context_id or 0] = syntax
            answers += item(0x21, struct.pack(">BBBB", one.context_id or 0, 0, result, 0) + item(0x40, syntax.encode()))
        items = item(0x10, b"1.2.840.10008.3.1.1.1") + answers + item(0x50, self.user_items)
        return struct.pack(">BBIHH", 2, 0, 68 + len(items), 1, 0) + body[4:36] + bytes(32) + items

    def _answer(self, context: int, syntax: str, command: bytes, data: bytes) -> bytes:
        asked = read_command(command)
        self.asked.append(asked.field)
        if asked.field == C_STORE:
            assert asked.store is not None
            self.stored.append((asked.sop_instance_uid, syntax, data))
        answer = response(asked, 0x0000)
        head = struct.pack(">BBIIBB", 0x04, 0, len(answer) + 6, len(answer) + 2, context, 3)
        return head + answer


def _read(line: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size and (piece := line.recv(size - len(content))):
        content += piece
    return content


def _pdu(line: socket.socket) -> tuple[int, bytes]:
    head = _read(line, 6)
    if len(head) < 6:
        return 0, b""
    return head[0], _read(line, struct.unpack(">I", head[2:])[0])


def _values(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset < len(body):
        length, context, control = struct.unpack_from(">IBB", body, offset)
        yield context, control, body[offset + 6 : offset + 4 + length]
        offset += 4 + length


@contextmanager
def odd_scp(scp: OddScp) -> Iterator[OddScp]:
    """Serve one connection after another on a free port until the block ends."""
    server = socket.create_server(("127.0.0.1", 0))
    scp.port = server.getsockname()[1]
    lines: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):  # the server is closed at the end
            while True:
                line, _ = server.accept()
                lines.append(line)
                line.settimeout(TIMEOUT_S)
                with suppress(OSError), line:
                    scp.serve(line)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield scp
    finally:
        server.shutdown(socket.SHUT_RDWR)
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        thread.join(TIMEOUT_S)
        server.close()
        assert not thread.is_alive()
