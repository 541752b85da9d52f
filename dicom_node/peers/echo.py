"""C-ECHO: whether a peer answers, how fast, and if not, why not and what to try."""

import enum
import socket
import time
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


_ADVICE = {
    EchoOutcome.OK: "",
    EchoOutcome.NO_ADDRESS: "Enter its host and port, unless it only sends.",
    EchoOutcome.UNKNOWN_HOST: "Check the spelling, or enter the IP address.",
    EchoOutcome.CONNECTION_REFUSED: "Check the port, and that the DICOM service there is running.",
    EchoOutcome.NO_ANSWER: "Check host and port, that the machine is on, and that no firewall is in between.",
    EchoOutcome.REJECTED: "See what it says, and try again later: it may be busy or not accept this node.",
    EchoOutcome.ABORTED: "Check that this port is its DICOM port, that both sides or neither use TLS, and its own log.",
    EchoOutcome.FAILED: "The addresses are right; the log of the peer says why it does not answer with success.",
}
_ADVICE_CALLING = "Add this node there, with exactly this AE title (upper and lower case count)."
_ADVICE_CALLED = "Correct the AE title of the peer here; upper and lower case count."
_CALLING_UNKNOWN, _CALLED_UNKNOWN = 3, 7
"""Diagnostics of a rejection by the service user (PS3.8 9.3.4)."""


@dataclass(frozen=True, kw_only=True)
class EchoResult:
    """The outcome of a C-ECHO and one sentence that explains it.

    Attributes
    ----------
    calling_ae_unknown
        Whether the peer rejected the association because it does not recognise the calling AE title (PS3.8 9.3.4).
    advice
        What to try; empty after a success.
    status
        DIMSE status of the answer; None where there was none.
    connect_ms, associate_ms, answer_ms
        Time until the connection was open, from then until the association was, and from then until the answer; None
        for what was not reached.
    """

    outcome: EchoOutcome
    sentence: str
    calling_ae_unknown: bool = False
    advice: str = ""
    status: int | None = None
    connect_ms: float | None = None
    associate_ms: float | None = None
    answer_ms: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the peer answered with success."""
        return self.outcome is EchoOutcome.OK

    @property
    def measured(self) -> str:
        """Status and times in words; empty where nothing answered."""
        times = (("connection", self.connect_ms), ("association", self.associate_ms), ("answer", self.answer_ms))
        parts = [f"status 0x{self.status:04X}"] if self.status is not None else []
        return ", ".join([*parts, *(f"{name} {ms:.0f} ms" for name, ms in times if ms is not None)])


class _Watch:
    """Notes how long each part of the call took, in ms."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.took: dict[str, float] = {}

    def note(self, part: str) -> None:
        now = time.monotonic()
        self.took[f"{part}_ms"] = round((now - self._last) * 1000, 1)
        self._last = now


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
        return _result(EchoOutcome.NO_ADDRESS, f"{peer.name} has no host: it cannot be called.")
    where = f"{peer.ae_title} at {peer.host}:{peer.port}"
    try:
        socket.getaddrinfo(peer.host, peer.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return _result(EchoOutcome.UNKNOWN_HOST, f"The host name {peer.host} is not known to this machine.")
    ae = AE(ae_title=calling_ae)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    ae.add_requested_context(Verification)
    watch = _Watch()
    handlers: list[Any] = [
        (evt.EVT_CONN_OPEN, lambda _event: watch.note("connect")),
        (evt.EVT_CONN_OPEN, guard_requests),
    ]
    association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=handlers)
    watch.note("associate")
    if association.is_established:
        return _verify(association, where, timeout_s, watch)
    let_go(association)
    if association.is_rejected:
        return _rejection(association, where, calling_ae, watch)
    if "connect_ms" in watch.took:
        sentence = f"{where} accepted the connection, but opened no association within {timeout_s:g} s or broke it off."
        return _result(EchoOutcome.ABORTED, sentence)
    return _unconnected(peer, where, timeout_s)


def _result(outcome: EchoOutcome, sentence: str, advice: str = "", **facts: Any) -> EchoResult:  # noqa: ANN401 - its own
    return EchoResult(outcome=outcome, sentence=sentence, advice=advice or _ADVICE[outcome], **facts)


def _verify(association: Association, where: str, timeout_s: float, watch: _Watch) -> EchoResult:
    status = association.send_c_echo()
    watch.note("answer")
    association.release()
    if "Status" not in status:
        sentence = f"{where} accepted the association but did not answer the C-ECHO within {timeout_s:g} s."
        return _result(EchoOutcome.NO_ANSWER, sentence, "Look into the log of the peer, and try again later.")
    facts: dict[str, Any] = {"status": int(status.Status), **watch.took}
    if status.Status != 0:
        return _result(EchoOutcome.FAILED, f"{where} answered the C-ECHO with status 0x{status.Status:04X}.", **facts)
    return _result(EchoOutcome.OK, f"{where} answered the C-ECHO.", **facts)


def _rejection(association: Association, where: str, calling_ae: str, watch: _Watch) -> EchoResult:
    answer: Any = association.acceptor.primitive
    diagnostic = answer.diagnostic if answer.result_source == 1 else None
    why, advice = answer.reason_str, ""
    if diagnostic == _CALLING_UNKNOWN:
        why, advice = f"it does not recognise the calling AE title {calling_ae}", _ADVICE_CALLING
    elif diagnostic == _CALLED_UNKNOWN:
        why, advice = "it does not recognise the called AE title", _ADVICE_CALLED
    return _result(
        EchoOutcome.REJECTED,
        f"{where} rejected the association: {why}.",
        advice,
        calling_ae_unknown=diagnostic == _CALLING_UNKNOWN,
        **watch.took,
    )


def _unconnected(peer: Peer, where: str, timeout_s: float) -> EchoResult:
    """Find out why no connection was established; pynetdicom only logs the reason."""
    refused = f"Nothing listens at {peer.host}:{peer.port}: the connection was refused."
    silent = f"{where} did not answer within {timeout_s:g} s."
    try:
        with socket.create_connection((peer.host, peer.port), timeout=timeout_s):
            pass
    except ConnectionRefusedError:
        return _result(EchoOutcome.CONNECTION_REFUSED, refused)
    except OSError as error:
        sentence = silent if isinstance(error, TimeoutError) else f"{where} cannot be reached: {error.strerror}."
        return _result(EchoOutcome.NO_ANSWER, sentence)
    return _result(EchoOutcome.NO_ANSWER, silent)
