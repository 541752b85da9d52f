"""A real storage SCP that keeps what it is sent, and a sender that stores any bytes at any storage SCP."""

import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode, split_dataset
from pynetdicom.presentation import AllStoragePresentationContexts

from viewer_integration.transport.association import guard_answers

VERIFICATION = "1.2.840.10008.1.1"
TIMEOUT_S = 30.0


class OpenSockets:
    """Closes connections for certain: pynetdicom leaves a socket open when the other side was the first to close it."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    @property
    def handler(self) -> tuple[evt.EventType, Callable[[evt.Event], None]]:
        """Give this to whatever opens associations."""
        return evt.EVT_CONN_OPEN, self._on_open

    def close(self) -> None:
        """Close what was opened, as often as one likes."""
        for one in self._sockets:
            one.close()

    def _on_open(self, event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            self._sockets.append(transport.socket)
            transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(kw_only=True)
class Pacs:
    """A running storage SCP.

    Attributes
    ----------
    received
        The data sets as they came, by SOP Instance UID, one for each C-STORE request.
    answer
        Status given to every request; only 0x0000 counts as stored.
    """

    ae_title: str = "PACS"
    port: int = 0
    answer: int = 0x0000
    received: dict[str, list[bytes]] = field(default_factory=dict)
    refused: int = 0
    _open: threading.Event = field(default_factory=threading.Event)

    def hold(self) -> None:
        """Keep what comes, but give no answer until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Answer again, also those who wait."""
        self._open.set()

    def _on_store(self, event: evt.Event) -> int:
        request = event.request
        assert isinstance(request, C_STORE)
        assert request.DataSet is not None
        if self.answer == 0x0000:
            versions = self.received.setdefault(str(request.AffectedSOPInstanceUID), [])
            versions.append(request.DataSet.getvalue())
        else:
            self.refused += 1
        self._open.wait(TIMEOUT_S)
        return self.answer


@contextmanager
def running_pacs(ae_title: str = "PACS", port: int = 0) -> Iterator[Pacs]:
    """Serve on a port, by default a free one, until the block ends."""
    pacs = Pacs(ae_title=ae_title)
    pacs.release()
    entity = AE(ae_title=ae_title)
    entity.add_supported_context(VERIFICATION)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax))
    sockets = OpenSockets()
    handlers: list[Any] = [(evt.EVT_C_STORE, pacs._on_store), sockets.handler]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    assert server is not None
    pacs.port = int(server.server_address[1])
    try:
        yield pacs
    finally:
        pacs.release()
        entity.shutdown()
        sockets.close()


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What one C-STORE request carries: the UIDs that it names, and any bytes as its data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


def instance_of(ds: Dataset, transfer_syntax_uid: str = ExplicitVRLittleEndian) -> Instance:
    """Encode a data set; a compressed one holds its encapsulated pixels already."""
    syntax = UID(transfer_syntax_uid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break the standard are sent on purpose
        content = encode(ds, syntax.is_implicit_VR, is_little_endian=True)
    assert content is not None
    return Instance(
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        transfer_syntax_uid=str(syntax),
        data_set=content,
    )


def instance_of_file(path: Path) -> Instance:
    """Read a DICOM file without decoding its data set."""
    meta, offset = split_dataset(path)
    return Instance(
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
        data_set=path.read_bytes()[offset:],
    )


def store(
    instances: Sequence[Instance], port: int, calling_ae: str = "SENDER", called_ae: str = "GLIONODE"
) -> list[int | None]:
    """Send over one association and return each status, None where no answer came.

    Raises
    ------
    ConnectionRefusedError
        When the association is not accepted.
    """
    pairs = sorted({(one.sop_class_uid, one.transfer_syntax_uid) for one in instances})
    with association(pairs, port, calling_ae, called_ae) as assoc:
        contexts = {(str(c.abstract_syntax), str(c.transfer_syntax[0])): c.context_id for c in assoc.accepted_contexts}
        return [
            _send(assoc, one, contexts[one.sop_class_uid, one.transfer_syntax_uid] or 0, message_id)
            for message_id, one in enumerate(instances, start=1)
        ]


class Line:
    """An association that is held open and sent over image by image."""

    def __init__(self, port: int, like: Sequence[Instance], calling_ae: str = "SENDER") -> None:
        pairs = sorted({(one.sop_class_uid, one.transfer_syntax_uid) for one in like})
        self._context = association(pairs, port, calling_ae, idle_s=None)
        self._assoc = self._context.__enter__()
        self._contexts = {
            (str(c.abstract_syntax), str(c.transfer_syntax[0])): c.context_id for c in self._assoc.accepted_contexts
        }

    def send(self, one: Instance) -> int | None:
        """Send one image and return the status."""
        return _send(self._assoc, one, self._contexts[one.sop_class_uid, one.transfer_syntax_uid] or 0, 1)

    def close(self, *, abort: bool = False) -> None:
        """Release, or abort, and wait until the connection is closed."""
        if abort:
            self._assoc.abort()
        self._context.__exit__(None, None, None)


def echo(port: int, calling_ae: str = "SENDER", called_ae: str = "GLIONODE") -> bool:
    """Tell whether a C-ECHO is answered with success."""
    try:
        with association([(VERIFICATION, ExplicitVRLittleEndian)], port, calling_ae, called_ae) as assoc:
            return bool(assoc.send_c_echo().get("Status") == 0x0000)
    except ConnectionRefusedError:
        return False


@contextmanager
def association(
    pairs: Sequence[tuple[str, str]],
    port: int,
    calling_ae: str = "SENDER",
    called_ae: str = "GLIONODE",
    idle_s: float | None = TIMEOUT_S,
) -> Iterator[Association]:
    """Associate for pairs of SOP class and transfer syntax, and release at the end.

    Raises
    ------
    ConnectionRefusedError
        When the association is not accepted.
    """
    entity = AE(ae_title=calling_ae)
    entity.acse_timeout = entity.dimse_timeout = TIMEOUT_S
    entity.network_timeout = idle_s
    for sop_class_uid, transfer_syntax_uid in pairs:
        entity.add_requested_context(sop_class_uid, transfer_syntax_uid)
    sockets = OpenSockets()
    assoc = entity.associate("127.0.0.1", port, ae_title=called_ae, evt_handlers=[sockets.handler])
    try:
        if not assoc.is_established:
            message = "rejected" if assoc.is_rejected else "no answer"
            raise ConnectionRefusedError(message)
        guard_answers(assoc)
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()
        if assoc.ident is not None:  # a rejected one was never started
            assoc.join(TIMEOUT_S)
        sockets.close()


def _send(assoc: Association, instance: Instance, context_id: int, message_id: int) -> int | None:
    """Send below `send_c_store`, which would decode and encode the data set."""
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 2
    request.AffectedSOPClassUID = UID(instance.sop_class_uid)
    request._affected_sop_instance_uid = UID(instance.sop_instance_uid)  # unchecked: invalid ones are sent on purpose
    request.DataSet = BytesIO(instance.data_set)
    if not assoc.is_established:
        return None
    assoc._reactor_checkpoint.clear()
    try:
        assoc.dimse.send_msg(request, context_id)
        _, answer = assoc.dimse.get_msg(block=True)
    finally:
        assoc._reactor_checkpoint.set()
    return getattr(answer, "Status", None)
