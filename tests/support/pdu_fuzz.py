"""Associations as no sender writes them: seeded, built from the parts of PS3.8 9.3, and wrong in every part."""

import contextlib
import hashlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from tests.support.raw_line import COMMAND, CONTEXT, LAST, P_DATA, command_of, data_of
from tests.support.raw_request import (
    ASSOCIATE,
    EXPLICIT,
    MR,
    associate_request,
    context_item,
    item,
    uid_item,
    user_item,
)

__all__ = ["Attack", "Spoken", "acknowledged", "make_attack", "speak", "spoilt"]

FIRST_ANSWER_S = 0.15
END_S = 10.0
RELEASE, ABORT = 0x05, 0x07
HEAD = struct.Struct(">BBI")
_STORED = (0x8001, 0x0000)


@dataclass(kw_only=True)
class Attack:
    """What is said over one connection: first the request, then the rest, then how it is ended."""

    request: bytes
    rest: list[bytes]
    ending: str


@dataclass(kw_only=True)
class Spoken:
    """What was sent, and what came back, in bytes."""

    sent: bytearray = field(default_factory=bytearray)
    received: bytearray = field(default_factory=bytearray)


def make_attack(rng: random.Random, image: Dataset, number: int) -> Attack:
    """Return one of endlessly many; most requests can be taken, so that what comes after is reached."""
    request = associate_request() if rng.random() < 0.6 else _request(rng)
    if rng.random() < 0.15:
        request = spoilt(rng, request)
    rest = [_pdu(rng, image, number, position) for position in range(rng.choice((0, 1, 2, 3, 6)))]
    return Attack(request=request, rest=rest, ending=rng.choice(("end", "end", "reset", "close", "release")))


def _request(rng: random.Random) -> bytes:
    titles = (b"SENDER".ljust(16), b"SENDER".ljust(16, b"\0"), b"\0" * 16, b" " * 16, rng.randbytes(16))
    uids = (MR, EXPLICIT, b"", b"1.2\0", b"1." + b"9" * 90, rng.randbytes(9))
    syntaxes = [context_item(rng.choice((1, 1, 3, 2, 255, 0)), _some(rng, uids), _some(rng, uids)) for _ in range(3)]
    extra = [item(rng.randrange(0x50, 0x60), rng.randbytes(rng.choice((0, 1, 3, 8, 40)))) for _ in range(4)]
    extra += [uid_item(kind, rng.choice(uids)) for kind in (0x54, 0x56, 0x57)]
    user = user_item(*_some(rng, extra), length=rng.choice((None, b"", b"\0\0\0\0", b"\0\0\0\7", b"\xff" * 4)))
    known = [item(0x10, b"1.2.840.10008.3.1.1.1"), context_item(), *syntaxes, user, item(0x99, b"?")]
    called = rng.choice((b"GLIONODE".ljust(16), *titles[2:]))
    return associate_request(rng.choice(titles), called, rng.choice((1, 1, 1, 3, 2, 0xFFFF)), _some(rng, known))


def _some(rng: random.Random, parts: "list[bytes] | tuple[bytes, ...]") -> list[bytes]:
    return [part for part in parts if rng.random() < 0.7]


def _pdu(rng: random.Random, image: Dataset, number: int, position: int) -> bytes:
    kind = rng.random()
    if kind < 0.55:
        made = _store(rng, image, number, position)
    elif kind < 0.65:
        made = _values([(CONTEXT, rng.randrange(256), rng.randbytes(rng.randrange(300))) for _ in range(3)])
    elif kind < 0.75:
        made = HEAD.pack(rng.choice((RELEASE, ABORT, 0x06)), 0, 4) + rng.randbytes(4)
    elif kind < 0.85:
        made = HEAD.pack(rng.randrange(256), 0, rng.choice((0, 3, 4, 5, 2**20 + 7, 0xFFFFFFFF))) + rng.randbytes(50)
    else:
        made = _request(rng)
    return spoilt(rng, made) if rng.random() < 0.25 else made


def _store(rng: random.Random, image: Dataset, number: int, position: int) -> bytes:
    """Return a request to store and its data set; sometimes right, sometimes not of one piece."""
    image.SOPInstanceUID = f"1.2.3.{number}.{position}"
    command, data = command_of(image, position + 1), data_of(image)
    if rng.random() < 0.1:
        image.SOPClassUID = CTImageStorage
        data = data_of(image)
        image.SOPClassUID = MR.decode()
    if rng.random() < 0.15:
        data = spoilt(rng, data)
    if rng.random() < 0.15:
        command = spoilt(rng, command)
    cut, half = rng.randrange(len(command) + 1), rng.randrange(len(data) + 1)
    whole = [(CONTEXT, COMMAND | LAST, command), (CONTEXT, LAST, data)]
    parts = [(CONTEXT, COMMAND, command[:cut]), (CONTEXT, COMMAND | LAST, command[cut:])]
    parts += [(CONTEXT, 0, data[:half]), (CONTEXT, LAST, data[half:])]
    chosen = rng.choice((whole, whole, parts))
    if rng.random() < 0.15:
        chosen = rng.sample(chosen, rng.randrange(1, len(chosen) + 1))
    if rng.random() < 0.1:
        chosen = [(rng.choice((CONTEXT, 2, 3)), control, content) for control, _, content in map(_turned, chosen)]
    return b"".join(_values([one]) for one in chosen) if rng.random() < 0.5 else _values(chosen)


def _turned(value: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
    return value[1], value[0], value[2]


def _values(values: list[tuple[int, int, bytes]]) -> bytes:
    items = b"".join(struct.pack(">IBB", len(part) + 2, context, control) + part for context, control, part in values)
    return HEAD.pack(P_DATA, 0, len(items)) + items


def spoilt(rng: random.Random, content: bytes) -> bytes:
    """Cut, flip, insert, repeat, or write another number where a length may stand."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(made) + 1)
        how = rng.randrange(5)
        if how == 0:
            del made[at : at + rng.choice((1, 4, 64, len(made)))]
        elif how == 1:
            made[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif how == 2:
            made[at:at] = made[at : at + rng.choice((4, 64))]
        elif how == 3:
            made[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)))
        elif at < len(made):
            made[at] ^= 1 << rng.randrange(8)
    return bytes(made)


def speak(port: int, attack: Attack) -> Spoken:
    """Say it to a listener and hear what it says until it has closed."""
    spoken = Spoken()
    with socket.create_connection(("127.0.0.1", port), END_S) as line, contextlib.suppress(OSError):
        _say(line, attack.request, spoken)
        if not _hears(line, spoken):
            return spoken
        for pdu in attack.rest:
            _say(line, pdu, spoken)
        if attack.ending == "release":
            _say(line, HEAD.pack(RELEASE, 0, 4) + bytes(4), spoken)
        if attack.ending == "reset":
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif attack.ending != "close":
            line.shutdown(socket.SHUT_WR)
            line.settimeout(END_S)
            while piece := line.recv(2**16):
                spoken.received += piece
    return spoken


def _say(line: socket.socket, content: bytes, spoken: Spoken) -> None:
    line.sendall(content)
    spoken.sent += content


def _hears(line: socket.socket, spoken: Spoken) -> bool:
    """Wait for the first answer for a moment; a request that was cut off has none."""
    line.settimeout(FIRST_ANSWER_S)
    try:
        spoken.received += line.recv(2**16)
    except TimeoutError:
        return False
    finally:
        line.settimeout(END_S)
    return True


def acknowledged(spoken: Spoken) -> list[set[str]]:
    """Return, for each answer that an image was stored, the SHA-256 of the data sets that it may speak of."""
    messages = list(_messages(bytes(spoken.sent)))
    found = []
    for command, _ in _messages(bytes(spoken.received), commands_alone=True):
        fields = _fields(command)
        if (fields.get(0x0100), fields.get(0x0900)) == _STORED:
            mine = struct.pack("<HHIH", 0, 0x0110, 2, fields[0x0120])
            found.append({hashlib.sha256(data).hexdigest() for asked, data in messages if mine in asked})
    return found


def _messages(stream: bytes, *, commands_alone: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Yield the command sets and data sets of a stream of PDUs, as a reader of PS3.8 9.3.5 finds them."""
    command, data = b"", b""
    for kind, body in _pdus(stream):
        offset = 0
        while kind == P_DATA and offset + 6 <= len(body):
            length, _, control = struct.unpack_from(">IBB", body, offset)
            part, offset = body[offset + 6 : offset + 4 + length], offset + 4 + length
            if control & COMMAND:
                command += part
            else:
                data += part
            if control & LAST and (commands_alone or not control & COMMAND):
                yield command, data
                command, data = b"", b""


def _pdus(stream: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + HEAD.size <= len(stream):
        kind, _, length = HEAD.unpack_from(stream, offset)
        yield kind, stream[offset + HEAD.size : offset + HEAD.size + length]
        offset += HEAD.size + length
        if kind == ASSOCIATE and offset > len(stream):
            return


def _fields(command: bytes) -> dict[int, int]:
    """Return the short numbers of a command set."""
    found, offset = {}, 0
    while offset + 8 <= len(command):
        _, element, length = struct.unpack_from("<HHI", command, offset)
        if length == 2:
            found[element] = int.from_bytes(command[offset + 8 : offset + 10], "little")
        offset += 8 + length
    return found
