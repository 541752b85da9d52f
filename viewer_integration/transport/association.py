"""Associations that the node asks for, and in words why one was not granted."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ

from viewer_integration.transport.acceptance import ACCEPTED
from viewer_integration.transport.requestor import (
    LARGEST_PDU_BYTES,
    guard_answers,
    guard_requests,
    let_go,
    limit_data_sets,
)

__all__ = [
    "ContextRequest",
    "RemoteEntity",
    "guard_answers",
    "limit_data_sets",
    "open_association",
    "send_at_once",
]

CONNECTION_TIMEOUT_S = 15
ANSWER_TIMEOUT_S = 120
ANSWER_BYTES = 2**24
"""Of one answer, which is held in memory: the UIDs of 100,000 instances that failed take a third of it."""

MAXIMUM_CONTEXTS = 128
"""Presentation contexts an association can propose (PS3.8 9.3.2.2)."""

CONNECTED = 0x00
"""What is heard first, before any PDU; no PDU has this type."""

REJECTED = 0x03
"""PDU type of A-ASSOCIATE-RJ."""

ABORTED = 0x07
"""PDU type of A-ABORT."""

ContextRequest = tuple[str, str]
"""Abstract syntax and transfer syntax; several of one abstract syntax are proposed one by one."""


@dataclass(frozen=True, kw_only=True)
class RemoteEntity:
    """Another application entity, and how people call it."""

    name: str
    ae_title: str
    host: str
    port: int

    @property
    def where(self) -> str:
        """Return what a sentence calls it."""
        return f"{self.ae_title} at {self.host}:{self.port}"


def open_association(
    remote: RemoteEntity,
    calling_ae: str,
    contexts: Sequence[ContextRequest],
    **options: Any,  # noqa: ANN401 - whatever pynetdicom takes
) -> tuple[Association, str]:
    """Ask for an association.

    Parameters
    ----------
    contexts
        At most 128 of them are proposed.
    options
        Further arguments of `pynetdicom.AE.associate`.

    Returns
    -------
    tuple of Association and str
        Established, or a sentence that says why not.
    """
    entity = AE(ae_title=calling_ae)
    entity.connection_timeout = CONNECTION_TIMEOUT_S
    entity.acse_timeout = CONNECTION_TIMEOUT_S
    entity.dimse_timeout = entity.network_timeout = ANSWER_TIMEOUT_S
    for abstract_syntax, transfer_syntax in contexts[:MAXIMUM_CONTEXTS]:
        entity.add_requested_context(abstract_syntax, transfer_syntax)
    heard: list[int] = []
    handlers = [
        (evt.EVT_CONN_OPEN, lambda _event: heard.append(CONNECTED)),
        (evt.EVT_CONN_OPEN, guard_requests),
        (evt.EVT_CONN_OPEN, send_at_once),
        (evt.EVT_DATA_RECV, lambda event: heard.append(event.data[0])),
        (evt.EVT_DATA_RECV, _keep_rejection),
        *options.pop("evt_handlers", []),
    ]
    try:
        assoc = entity.associate(
            remote.host,
            remote.port,
            ae_title=remote.ae_title,
            max_pdu=LARGEST_PDU_BYTES,
            evt_handlers=handlers,
            **options,
        )
    except UnicodeError:
        return _none(entity), f"{remote.host!r} is no host name; correct the address of {remote.name}"
    except (OSError, RuntimeError) as error:
        return _none(entity), _not_tried(remote, error)
    if not assoc.is_established:
        let_go(assoc)
        return assoc, _why_not(assoc, remote, heard)
    guard_answers(assoc)
    limit_data_sets(assoc, ANSWER_BYTES, lambda: None)
    return assoc, ""


def _none(entity: AE) -> Association:
    """Return an association that never was: nothing runs, and it is not established."""
    return Association(entity, "requestor")


def _not_tried(remote: RemoteEntity, error: OSError | RuntimeError) -> str:
    """Say why nobody was called: the name is not known, or this machine has no descriptor or thread left."""
    if isinstance(error, socket.gaierror):
        return f"the host name {remote.host} is not known to this machine; check it, and the name server"
    return f"this machine could not call {remote.where} ({type(error).__name__}: {error})"


def send_at_once(event: evt.Event) -> None:
    """Send small packets without waiting for the answer to the one before (TCP_NODELAY).

    Nagle's algorithm and delayed acknowledgement together cost 40 ms a message on Linux, measured on loopback.
    """
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why_not(assoc: Association, remote: RemoteEntity, heard: Sequence[int]) -> str:
    if CONNECTED not in heard:
        return f"{remote.where} does not answer; check address, port and firewall"
    if REJECTED in heard:
        return f"{remote.where} rejected the association; {_reason(assoc)}"
    if ACCEPTED in heard and assoc.acceptor.primitive is not None:
        return f"{remote.where} takes none of the kinds of object and transfer syntaxes that it was offered"
    if ABORTED in heard:
        return f"{remote.where} aborted the association"
    if ACCEPTED in heard:
        return f"{remote.where} answered the request for an association with something that is no DICOM"
    return f"{remote.where} took the connection, but no association: is that a DICOM port, and is it free?"


def _keep_rejection(event: evt.Event) -> None:
    """Keep a rejection as it comes: where the connection is closed behind it, pynetdicom may see that first."""
    if event.data[0] == REJECTED:
        pdu = A_ASSOCIATE_RJ()
        pdu.decode(bytes(event.data))
        event.assoc.acceptor.primitive = pdu.to_primitive()


def _reason(assoc: Association) -> str:
    """Return what a rejection means (PS3.8 9.3.4)."""
    answer: Any = assoc.acceptor.primitive
    if answer is None:
        return "it gives no reason that can be read"
    if (answer.result_source, answer.diagnostic) == (1, 7):
        return "it has another AE title; correct that of the destination here"
    if answer.result_source == 1:
        return "check that it knows this node's AE title"
    return f"it says: {answer.reason_str}"
