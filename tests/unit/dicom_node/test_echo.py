"""C-ECHO against real sockets: each outcome has its sentence."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from dicom_node.peers.echo import EchoOutcome, echo
from dicom_node.peers.peer import Peer

CALLER = "GLIONODE"


@contextmanager
def _application(ae: AE, handlers: list[Any] | None = None) -> Iterator[Peer]:
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers or [])
    try:
        yield Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=server.socket.getsockname()[1])
    finally:
        server.shutdown()


def _verifying() -> AE:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Verification)
    return ae


def test_a_peer_that_answers() -> None:
    with _application(_verifying()) as peer:
        result = echo(peer, CALLER)
        assert result.ok
        assert result.sentence == f"PACS at 127.0.0.1:{peer.port} answered the C-ECHO."


def test_a_peer_that_answers_with_a_failure() -> None:
    with _application(_verifying(), [(evt.EVT_C_ECHO, lambda _event: 0x0211)]) as peer:
        result = echo(peer, CALLER)
    assert result.outcome is EchoOutcome.FAILED
    assert "status 0x0211" in result.sentence


def test_a_peer_that_does_not_know_the_caller() -> None:
    ae = _verifying()
    ae.require_calling_aet = ["SOMEBODY"]
    with _application(ae) as peer:
        result = echo(peer, CALLER)
    assert result.outcome is EchoOutcome.REJECTED
    assert result.calling_ae_unknown
    assert "does not recognise the calling AE title GLIONODE" in result.sentence


def test_a_peer_that_has_another_name() -> None:
    ae = _verifying()
    ae.ae_title = "OTHER"
    ae.require_called_aet = True
    with _application(ae) as peer:
        result = echo(peer, CALLER)
    assert result.outcome is EchoOutcome.REJECTED
    assert not result.calling_ae_unknown
    assert "does not recognise the called AE title" in result.sentence


def test_a_peer_that_is_full_says_so() -> None:
    ae = _verifying()
    ae.maximum_associations = 1
    with _application(ae) as peer:
        holder = AE(ae_title="HOLDER")
        holder.add_requested_context(Verification)
        held = holder.associate("127.0.0.1", peer.port)
        result = echo(peer, CALLER)
        held.release()
    assert result.outcome is EchoOutcome.REJECTED
    assert "Local limit exceeded" in result.sentence


def test_a_peer_without_verification() -> None:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(CTImageStorage)
    with _application(ae) as peer:
        assert echo(peer, CALLER).outcome is EchoOutcome.ABORTED


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom 3.0.4 after a refused connection
def test_nobody_listens() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        peer = Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=closed.getsockname()[1])
        result = echo(peer, CALLER)
    assert result.outcome is EchoOutcome.CONNECTION_REFUSED
    assert "the connection was refused" in result.sentence


def test_somebody_listens_but_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=mute.getsockname()[1])
        result = echo(peer, CALLER, timeout_s=0.5)
    assert result.outcome is EchoOutcome.ABORTED
    assert "no association within 0.5 s" in result.sentence


def test_a_host_that_is_not_known() -> None:
    peer = Peer(name="PACS", ae_title="PACS", host="nowhere.invalid", port=104)
    result = echo(peer, CALLER)
    assert result.outcome is EchoOutcome.UNKNOWN_HOST
    assert "nowhere.invalid" in result.sentence


def test_a_host_name_that_no_resolver_takes() -> None:
    peer = Peer(name="PACS", ae_title="PACS", host="a..b", port=104)
    assert echo(peer, CALLER).outcome is EchoOutcome.UNKNOWN_HOST


def test_a_sender_without_an_address_cannot_be_called() -> None:
    result = echo(Peer(name="Scanner", ae_title="MR1"), CALLER)
    assert result.outcome is EchoOutcome.NO_ADDRESS
