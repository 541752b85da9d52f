"""Requests for association as senders write them, well or badly: taken, or refused with a reason; never silence."""

import socket
import struct

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import RefusalRow
from tests.support.pacs import echo
from tests.support.raw_line import ABORT, ACCEPT
from tests.support.raw_request import (
    ASSOCIATE,
    EXPLICIT,
    MR,
    REJECT,
    answer_to,
    associate_request,
    context_item,
    item,
    uid_item,
    user_item,
)
from tests.support.waiting import wait_until

DEADLINE_S = 30.0
NAME = item(0x10, b"1.2.840.10008.3.1.1.1")
LONG = b"1." + b"2" * 70


def _codes(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(RefusalRow.code).order_by(RefusalRow.id)))


def _items(*, context: bytes | None = None, user: bytes | None = None, more: bytes = b"") -> list[bytes]:
    return [NAME, context_item() if context is None else context, user_item() if user is None else user, more]


TAKEN = {
    "as it should be": associate_request(),
    "calling title filled up with NULs": associate_request(calling=b"SENDER".ljust(16, b"\0")),
    "both titles filled up with NULs": associate_request(b"SENDER".ljust(16, b"\0"), b"GLIONODE".ljust(16, b"\0")),
    "leading blanks": associate_request(calling=b"  SENDER".ljust(16), called=b" GLIONODE".ljust(16)),
    "rubbish after a NUL": associate_request(calling=b"SENDER\0\xff\x01rubbish"),
    "more protocol versions": associate_request(version=3),
    "a long version name": associate_request(items=_items(user=user_item(version=b"A VERY LONG VERSION NAME"))),
    "a version name with NULs": associate_request(items=_items(user=user_item(version=b"RAW\0\0\0"))),
    "a version name in Latin-1": associate_request(items=_items(user=user_item(version=b"Ger\xe4t"))),
    "an empty version name": associate_request(items=_items(user=user_item(version=b""))),
    "an unknown user item": associate_request(items=_items(user=user_item(item(0x5F, b"hello!")))),
    "an unknown item": associate_request(items=_items(more=item(0x77, b"hello!"))),
    "no maximum length": associate_request(items=_items(user=user_item(length=None))),
    "a maximum length of two bytes": associate_request(items=_items(user=user_item(length=b"\x40\0"))),
    "a maximum length of one": associate_request(items=_items(user=user_item(length=b"\0\0\0\1"))),
    "no user information": associate_request(items=[NAME, context_item()]),
    "empty user information": associate_request(items=_items(user=item(0x50, b""))),
    "no implementation UID": associate_request(items=_items(user=item(0x50, item(0x51, b"\0\0\x40\0")))),
    "a long implementation UID": associate_request(items=_items(user=item(0x50, item(0x52, LONG)))),
    "no application context": associate_request(items=[context_item(), user_item()]),
    "an application context with a NUL": associate_request(
        items=[item(0x10, b"1.2.840.10008.3.1.1.1\0"), context_item(), user_item()]
    ),
    "UIDs with NULs": associate_request(items=_items(context=context_item(1, [MR + b"\0"], [EXPLICIT + b"\0"]))),
    "UIDs with blanks": associate_request(items=_items(context=context_item(1, [MR + b" "], [EXPLICIT + b" "]))),
    "a long transfer syntax beside a good one": associate_request(
        items=_items(context=context_item(1, [MR], [LONG, EXPLICIT]))
    ),
    "a context of nobody's beside a good one": associate_request(
        items=_items(context=context_item(3, [LONG], [EXPLICIT]) + context_item())
    ),
    "an unknown item in a context": associate_request(items=_items(context=context_item(rest=item(0x41, b"x")))),
    "a window of one byte": associate_request(items=_items(user=user_item(item(0x53, b"\1")))),
    "a window of many": associate_request(items=_items(user=user_item(item(0x53, b"\0\x10\0\x10")))),
    "a role cut off": associate_request(items=_items(user=user_item(uid_item(0x54, MR)))),
    "a role that is none": associate_request(
        items=_items(user=user_item(item(0x54, struct.pack(">H", len(MR)) + MR + b"\7\7")))
    ),
    "a role for a long UID": associate_request(
        items=_items(user=user_item(item(0x54, struct.pack(">H", len(LONG)) + LONG + b"\1\0")))
    ),
    "an extended negotiation cut off": associate_request(items=_items(user=user_item(item(0x56, b"\0\xff1.2")))),
    "a common extended negotiation cut off": associate_request(items=_items(user=user_item(item(0x57, b"\0\x051.2")))),
    "a user identity of two bytes": associate_request(items=_items(user=user_item(item(0x58, b"\1\1")))),
    "a user identity": associate_request(items=_items(user=user_item(item(0x58, b"\2\1\0\4name\0\6secret")))),
}


@pytest.mark.parametrize("request_pdu", TAKEN.values(), ids=TAKEN)
def test_what_others_take_is_taken(port: int, database: Database, request_pdu: bytes) -> None:
    assert answer_to(port, request_pdu)[0] == ACCEPT
    assert _codes(database) == []


REJECTED = {
    "a called title of blanks": (associate_request(called=b" " * 16), 7, "called_ae_title"),
    "a called title of NULs": (associate_request(called=bytes(16)), 7, "called_ae_title"),
    "a called title in Latin-1": (associate_request(called=b"GLI\xd6NODE".ljust(16)), 7, "called_ae_title"),
    "a calling title of blanks": (associate_request(calling=b" " * 16), 3, "calling_ae_title"),
    "a calling title with an escape": (associate_request(calling=b"\x1b[2JSENDER".ljust(16)), 3, "calling_ae_title"),
    "a calling title with a backslash": (associate_request(calling=b"SEN\\DER".ljust(16)), 3, "calling_ae_title"),
    "another application context": (
        associate_request(items=[item(0x10, b"1.2.3"), context_item(), user_item()]),
        2,
        "bad_association_request",
    ),
    "another protocol": (associate_request(version=2), 2, "bad_association_request"),
}


@pytest.mark.parametrize(("request_pdu", "diagnostic", "code"), REJECTED.values(), ids=REJECTED)
def test_what_is_not_for_this_node_is_rejected_and_noted(
    port: int, database: Database, request_pdu: bytes, diagnostic: int, code: str
) -> None:
    kind, content = answer_to(port, request_pdu)
    assert (kind, content[9]) == (REJECT, diagnostic)
    wait_until(lambda: _codes(database) == [code])
    with database.session() as session:
        row = session.scalars(sa.select(RefusalRow)).one()
    assert (row.calling_ae + row.reason).isprintable()


_RIGHT = associate_request()
MALFORMED = {
    "an even context ID": associate_request(items=_items(context=context_item(2))),
    "a context ID of nought": associate_request(items=_items(context=context_item(0))),
    "a context without transfer syntax": associate_request(items=_items(context=context_item(transfer=()))),
    "a context without abstract syntax": associate_request(items=_items(context=context_item(abstract=()))),
    "two abstract syntaxes": associate_request(items=_items(context=context_item(abstract=(MR, MR)))),
    "an empty context": associate_request(items=_items(context=item(0x20, b""))),
    "the same context ID twice": associate_request(items=_items(context=context_item() + context_item())),
    "no context": associate_request(items=_items(context=b"")),
    "nothing at all": struct.pack(">BBI", ASSOCIATE, 0, 0),
    "half of its fixed part": struct.pack(">BBI", ASSOCIATE, 0, 30) + bytes(30),
    "no items": associate_request(items=[]),
    "an item longer than the rest": associate_request(items=[NAME, context_item(), b"\x50\0\xff\xff\x51"]),
    "half an item's head": associate_request(items=[NAME, context_item(), user_item(), b"\x50\0"]),
    "a sub-item longer than its item": associate_request(items=_items(user=item(0x50, b"\x51\0\0\x99\0"))),
    "a syntax longer than its context": associate_request(items=_items(context=context_item(rest=b"\x40\0\0\x99"))),
}


@pytest.mark.parametrize("request_pdu", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_aborted_at_once_and_noted(port: int, database: Database, request_pdu: bytes) -> None:
    assert answer_to(port, request_pdu)[0] == ABORT
    wait_until(lambda: _codes(database) == ["bad_association_request"])
    assert echo(port)


@pytest.mark.parametrize("size", [1, 6, 7, 80, len(_RIGHT) - 1])
def test_a_request_that_breaks_off_is_noted(port: int, database: Database, size: int) -> None:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
        connection.sendall(_RIGHT[:size])
    wait_until(lambda: _codes(database) == ["bad_association_request"])
    assert echo(port)


def test_a_look_whether_the_port_is_open_is_not_noted(port: int, database: Database) -> None:
    socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
    assert echo(port)
    assert _codes(database) == []
