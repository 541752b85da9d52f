"""Request associations, and explain in words why one was not established."""

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
"""Size limit of one answer, which is held in memory: the UIDs of 100,000 failed instances take a third of it."""

MAXIMUM_CONTEXTS = 128
"""Presentation contexts an association can propose (PS3.8 9.3.2.2)."""

CONNECTED = 0x00
"""Noted when the connection is open, before any PDU; no PDU has this type."""

REJECTED = 0x03
"""PDU type of A-ASSOCIATE-RJ."""

ABORTED = 0x07
"""PDU type of A-ABORT."""

ContextRequest = tuple[str, str]
"""Abstract syntax and transfer syntax; each transfer syntax is proposed in a presentation context of its own."""


@dataclass(frozen=True, kw_only=True)
class RemoteEntity:
    """Another application entity, and the name that people use for it."""

    name: str
    ae_title: str
    host: str
    port: int

    @property
    def where(self) -> str:
        """Return how sentences refer to it."""
        return f"{self.ae_title} at {self.host}:{self.port}"


def open_association(
    remote: RemoteEntity,
    calling_ae: str,
    contexts: Sequence[ContextRequest],
    **options: Any,  # noqa: ANN401 - whatever pynetdicom accepts
) -> tuple[Association, str]:
    """Request an association.

    Parameters
    ----------
    contexts
        At most 128 of them are proposed.
    options
        Further arguments of `pynetdicom.AE.associate`.

    Returns
    -------
    tuple of Association and str
        The sentence is empty if the association is established; otherwise it explains why not.
    """
    entity = AE(ae_title=calling_ae)
    entity.connection_timeout = CONNECTION_TIMEOUT_S
    entity.acse_timeout = CONNECTION_TIMEOUT_S
    entity.dimse_timeout = entity.network_timeout = ANSWER_TIMEOUT_S
    for abstract_syntax, transfer_syntax in contexts[:MAXIMUM_CONTEXTS]:
        entity.add_requested_context(abstract_syntax, transfer_syntax)
    received: list[int] = []  # PDU types
    handlers = [
        (evt.EVT_CONN_OPEN, lambda _event: received.append(CONNECTED)),
        (evt.EVT_CONN_OPEN, guard_requests),
        (evt.EVT_CONN_OPEN, send_at_once),
        (evt.EVT_DATA_RECV, lambda event: received.append(event.data[0])),
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
        return _none(entity), f"{remote.host!r} is not a host name; correct the address of {remote.name}"
    except (OSError, RuntimeError) as error:
        return _none(entity), _not_tried(remote, error)
    if not assoc.is_established:
        let_go(assoc)
        return assoc, _why_not(assoc, remote, received)
    guard_answers(assoc)
    limit_data_sets(assoc, ANSWER_BYTES, lambda: None)
    return assoc, ""


def _none(entity: AE) -> Association:
    """Return an association that was never started: nothing runs, and it is not established."""
    return Association(entity, "requestor")


def _not_tried(remote: RemoteEntity, error: OSError | RuntimeError) -> str:
    """Return why no connection was tried: the host name is unknown, or no file descriptor or thread is left."""
    if isinstance(error, socket.gaierror):
        return f"this machine cannot resolve the host name {remote.host}; check it and the name server"
    return f"this machine could not connect to {remote.where} ({type(error).__name__}: {error})"


def send_at_once(event: evt.Event) -> None:
    """Send small packets without waiting for the acknowledgement of the previous one (TCP_NODELAY).

    Nagle's algorithm and delayed acknowledgement together cost 40 ms a message on Linux, measured on loopback.
    """
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why_not(assoc: Association, remote: RemoteEntity, received: Sequence[int]) -> str:
    if CONNECTED not in received:
        return f"{remote.where} does not answer; check address, port and firewall"
    if REJECTED in received:
        return f"{remote.where} rejected the association; {_reason(assoc)}"
    if ACCEPTED in received and assoc.acceptor.primitive is not None:
        return f"{remote.where} accepts none of the offered kinds of object (SOP classes) and transfer syntaxes"
    if ABORTED in received:
        return f"{remote.where} aborted the association"
    if ACCEPTED in received:
        return f"{remote.where} answered the association request with something that is not DICOM"
    return f"{remote.where} accepted the connection, but no association; check that it is a DICOM port and not busy"


def _keep_rejection(event: evt.Event) -> None:
    """Keep a rejection on receipt: if the connection is closed right after it, pynetdicom may notice that first."""
    if event.data[0] == REJECTED:
        pdu = A_ASSOCIATE_RJ()
        pdu.decode(bytes(event.data))
        event.assoc.acceptor.primitive = pdu.to_primitive()


def _reason(assoc: Association) -> str:
    """Return what a rejection means (PS3.8 9.3.4)."""
    answer: Any = assoc.acceptor.primitive
    if answer is None:
        return "it gave no readable reason"
    if (answer.result_source, answer.diagnostic) == (1, 7):
        return "it does not recognise the called AE title; correct the AE title of the destination here"
    if answer.result_source == 1:
        return "check that this node's AE title is configured there"
    return f"its reason: {answer.reason_str}"
