"""C-ECHO: whether a peer answers, and if not, why not."""

import enum
import socket
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.peers.peer import Peer
from viewer_integration.transport.requestor import guard_requests, let_go

__all__ = ["EchoOutcome", "EchoResult", "echo"]


class EchoOutcome(enum.StrEnum):
    """Outcome of a C-ECHO."""

    OK = "ok"  # status 0x0000
    NO_ADDRESS = "no_address"  # the peer has no host, so it cannot be called
    UNKNOWN_HOST = "unknown_host"  # the name does not resolve
    CONNECTION_REFUSED = "connection_refused"  # nothing listens there
    NO_ANSWER = "no_answer"  # no answer within the time limit
    REJECTED = "rejected"  # A-ASSOCIATE-RJ
    ABORTED = "aborted"  # connected, but broke off or does not offer Verification
    FAILED = "failed"  # a status other than 0x0000


@dataclass(frozen=True, kw_only=True)
class EchoResult:
    """The outcome of a C-ECHO and one sentence that explains it.

    `calling_ae_unknown` is true when the peer rejected the association because it does not recognise the calling AE
    title (PS3.8 9.3.4).
    """

    outcome: EchoOutcome
    sentence: str
    calling_ae_unknown: bool = False

    @property
    def ok(self) -> bool:
        """Whether the peer answered with success."""
        return self.outcome is EchoOutcome.OK


def echo(peer: Peer, calling_ae: str, timeout_s: float = 5.0) -> EchoResult:
    """Send a C-ECHO; return every failure as an outcome, never raise it.

    Parameters
    ----------
    peer
        Peer to call.
    calling_ae
        Calling AE title.
    timeout_s
        Time limit for each step (connection, association, message) in seconds.
    """
    if not peer.host:
        return EchoResult(outcome=EchoOutcome.NO_ADDRESS, sentence=f"{peer.name} has no host: it cannot be called.")
    where = f"{peer.ae_title} at {peer.host}:{peer.port}"
    try:
        socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        sentence = f"The host name {peer.host} is not known to this machine."
        return EchoResult(outcome=EchoOutcome.UNKNOWN_HOST, sentence=sentence)
    ae = AE(ae_title=calling_ae)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.add_requested_context(Verification)
    connected: list[bool] = []
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, lambda _event: connected.append(True)),
        (evt.EVT_CONN_OPEN, guard_requests),
    ]
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=handlers)
    if association.is_established:
        return _verify(association, where, timeout_s)
    let_go(association)
    if association.is_rejected:
        return _rejection(association, where, calling_ae)
    if connected:
        sentence = f"{where} accepted the connection, but opened no association within {timeout_s:g} s or broke it off."
        return EchoResult(outcome=EchoOutcome.ABORTED, sentence=sentence)
    return _unconnected(peer, where, timeout_s)


def _verify(association: Association, where: str, timeout_s: float) -> EchoResult:
    status = association.send_c_echo()
    association.release()
    if "Status" not in status:
        sentence = f"{where} accepted the association but did not answer the C-ECHO within {timeout_s:g} s."
        return EchoResult(outcome=EchoOutcome.NO_ANSWER, sentence=sentence)
    if status.Status != 0:
        sentence = f"{where} answered the C-ECHO with status 0x{status.Status:04X}."
        return EchoResult(outcome=EchoOutcome.FAILED, sentence=sentence)
    return EchoResult(outcome=EchoOutcome.OK, sentence=f"{where} answered the C-ECHO.")


def _rejection(association: Association, where: str, calling_ae: str) -> EchoResult:
    answer: Any = association.acceptor.primitive
    by_user = answer.result_source == 1
    if by_user and answer.diagnostic == 3:
        why = f"it does not recognise the calling AE title {calling_ae}; add it there"
    elif by_user and answer.diagnostic == 7:
        why = "it does not recognise the called AE title; correct the peer's AE title here"
    else:
        why = answer.reason_str
    return EchoResult(
        outcome=EchoOutcome.REJECTED,
        sentence=f"{where} rejected the association: {why}.",
        calling_ae_unknown=by_user and answer.diagnostic == 3,
    )


def _unconnected(peer: Peer, where: str, timeout_s: float) -> EchoResult:
    """Find out why no connection was established; pynetdicom only logs the reason."""
    refused = f"Nothing listens at {peer.host}:{peer.port}: the connection was refused."
    silent = f"{where} did not answer within {timeout_s:g} s."
    try:
        with socket.create_connection((peer.host, peer.port), timeout=timeout_s):
            pass
    except ConnectionRefusedError:
        return EchoResult(outcome=EchoOutcome.CONNECTION_REFUSED, sentence=refused)
    except OSError as error:
        sentence = silent if isinstance(error, TimeoutError) else f"{where} cannot be reached: {error.strerror}."
        return EchoResult(outcome=EchoOutcome.NO_ANSWER, sentence=sentence)
    return EchoResult(outcome=EchoOutcome.NO_ANSWER, sentence=silent)
