"""Associations that the node asks for, and in words why one was not granted."""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association

__all__ = ["ContextRequest", "RemoteEntity", "guard_answers", "open_association", "send_at_once"]

CONNECTION_TIMEOUT_S = 15
ANSWER_TIMEOUT_S = 120
MAXIMUM_CONTEXTS = 128
"""Presentation contexts an association can propose (PS3.8 9.3.2.2)."""

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
    connections: list[evt.Event] = []
    handlers = [
        (evt.EVT_CONN_OPEN, connections.append),
        (evt.EVT_CONN_OPEN, send_at_once),
        *options.pop("evt_handlers", []),
    ]
    assoc = entity.associate(
        remote.host, remote.port, ae_title=remote.ae_title, max_pdu=0, evt_handlers=handlers, **options
    )
    if assoc.is_established:
        guard_answers(assoc)
    return assoc, "" if assoc.is_established else _why_not(assoc, remote, connected=bool(connections))


def guard_answers(assoc: Association) -> None:
    """Keep pynetdicom's reactor from taking the answer that a request waits for.

    A request pauses the reactor thread and then sends. In pynetdicom 3.0.4 the thread can have passed its checkpoint
    a moment before, and take an answer that comes within milliseconds off the queue as an unexpected message. Here
    passing and pausing exclude each other.
    """
    lock = threading.Lock()

    class Checkpoint(threading.Event):
        def clear(self) -> None:
            with lock:
                super().clear()

    checkpoint, take = Checkpoint(), assoc.dimse.get_msg
    checkpoint.set()

    def guarded(*, block: bool = False) -> Any:  # noqa: ANN401 - as pynetdicom's
        if block:
            return take(block=True)
        with lock:
            return take(block=False) if checkpoint.is_set() else (None, None)

    assoc._reactor_checkpoint = checkpoint  # noqa: SLF001 - there is no public way
    assoc.dimse.get_msg = guarded  # type: ignore[method-assign, assignment]


def send_at_once(event: evt.Event) -> None:
    """Send small packets without waiting for the answer to the one before (TCP_NODELAY).

    Nagle's algorithm and delayed acknowledgement together cost 40 ms a message on Linux, measured on loopback.
    """
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _why_not(assoc: Association, remote: RemoteEntity, *, connected: bool) -> str:
    if not connected:
        return f"{remote.where} does not answer; check address, port and firewall"
    if assoc.is_rejected:
        return f"{remote.where} rejected the association; check that it knows this node's AE title"
    return f"{remote.where} aborted the association"
