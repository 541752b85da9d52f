"""The DICOM listener: C-ECHO and C-STORE for every storage class, durable before the sender is thanked."""

import functools
import secrets
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa
import structlog
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.arrivals import Arrival
from dicom_node.associations import VERIFICATION, AssociationBook
from dicom_node.database import Database
from dicom_node.disk import Disk
from dicom_node.inbox import Inbox, InboxRefusal, check_inflated_size
from dicom_node.journal import Journal
from dicom_node.maintenance import in_maintenance
from dicom_node.peers import accepted_calling_ae_titles, may_send
from dicom_node.prompt_association import PromptRequestHandler, SupportedContexts
from dicom_node.proof import note_commitment
from dicom_node.settings import Settings
from dicom_node.shared_port import SharedPortServer
from dicom_node.states import AssociationEnd
from dicom_node.store_command import CANNOT_UNDERSTAND, StoreCommand, file_header
from dicom_node.tables import RefusalRow, utc_now
from viewer_integration.association import send_at_once
from viewer_integration.commitment import read_answer

__all__ = ["ACCEPTED_TRANSFER_SYNTAXES", "Listener"]

_log = structlog.get_logger()

ACCEPTED_TRANSFER_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGLosslessSV1,
    JPEGLossless,
    RLELossless,
    ExplicitVRBigEndian,
    JPEG2000,
    HTJ2K,
    JPEGLSNearLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)
"""Where a peer offers several in one presentation context, the first of these that it offers is taken.

Plain before compressed, and what may lose something last: a sender that can encode is never asked to lose anything.
Lossy syntaxes are taken all the same, because an archive that holds an image in one has no other of it. A result that
rests on such images says so (`viewer_integration.source_header`), and pixels that no decoder reads are refused with a
reason when they are read.
"""

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DATA_SET_MISMATCH = 0xA900
NOT_AUTHORISED = 0x0124
NO_SUCH_INSTANCE = 0x0112
"""Status codes of the Storage Service Class (PS3.4 B.2.3) and of N-EVENT-REPORT (PS3.7 10.1.1)."""

STOP_S = 0.05
"""How soon the listener notices that it shall stop."""

BUSY = (0x02, 0x03, 0x01)
"""Rejected transient, by the presentation service provider, temporary congestion: try again later (PS3.8 9.3.4)."""


class Listener:
    """Accepts associations of configured peers and puts what they send into the inbox."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._database = database
        self._inbox = Inbox(database, settings.node.folder, clock)
        self._disk = Disk(settings.node.folder, settings.limits.free_disk_gib)
        self._told: WeakSet[Association] = WeakSet()
        self._senders: WeakKeyDictionary[Association, bool] = WeakKeyDictionary()
        self._associations = AssociationBook(database, clock)
        self._entity = _application_entity(settings)
        self._journal: Journal | None = None
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The TCP port listened on, also when the settings asked for any free one."""
        if self._server is None:
            message = "the listener has not been started"
            raise RuntimeError(message)
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Open the port and serve in threads of its own."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, send_at_once),
            (evt.EVT_ACSE_RECV, self._on_release_asked),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_C_ECHO, lambda _event: SUCCESS),
            (evt.EVT_C_STORE, self._on_store_event),
            (evt.EVT_N_EVENT_REPORT, self._on_commitment),
            (evt.EVT_RELEASED, self._on_end, [AssociationEnd.RELEASED]),
            (evt.EVT_ABORTED, self._on_end, [AssociationEnd.ABORTED]),
            (evt.EVT_CONN_CLOSE, self._on_end, [AssociationEnd.ABORTED]),  # also a line that went dead
        ]
        self._associations.close_left_open()
        self._journal = Journal(self._settings.node.folder / "journal", self._inbox.file)
        address = (self._settings.node.bind, self._settings.node.dicom_port)
        handler = functools.partial(PromptRequestHandler, on_store=self._on_store)
        server = self._entity.make_server(
            address, evt_handlers=handlers, server_class=SharedPortServer, request_handler=handler
        )
        server.contexts = SupportedContexts(server.contexts)
        threading.Thread(target=server.serve_forever, args=(STOP_S,), daemon=True).start()
        self._server = server
        _log.info("listening", ae_title=self._settings.node.ae_title, port=self.port)

    def stop(self) -> None:
        """Close the port and end open associations."""
        self._entity.shutdown()  # aborts what is open
        if self._server is not None:
            self._server.shutdown()
        if self._journal is not None:
            self._journal.close()

    def _on_requested(self, event: evt.Event) -> None:
        """Read the accepted calling AE titles anew, so that a change in the panel acts on the next association."""
        if in_maintenance(self._database):
            reason = "the node is in maintenance and takes nothing; the sender tries again (`glionode maintenance off`)"
            self._refuse_once(event.assoc, "maintenance", reason)
            event.assoc.acse.send_reject(*BUSY)
            event.assoc.kill()
            return
        if self._settings.node.any_calling_ae:
            return
        titles = accepted_calling_ae_titles(self._database)
        # An empty list would mean "everybody" to pynetdicom: nobody can guess this one.
        self._entity.require_calling_aet = sorted(titles) or [secrets.token_hex(8)]

    def _on_rejected(self, event: evt.Event) -> None:
        request = event.assoc.requestor
        calling, called = request.ae_title.strip(), str(getattr(request.primitive, "called_ae_title", "")).strip()
        if called != self._settings.node.ae_title:
            reason = f"called AE title {called!r} is not this node's ({self._settings.node.ae_title!r})"
            code = "called_ae_title"
        elif not self._entity.require_calling_aet or calling in self._entity.require_calling_aet:
            reason = (
                f"more than {self._settings.listener.maximum_associations} associations at once; the sender tries again"
            )
            code = "association_limit"
        else:
            reason = f"calling AE title {calling!r} is not an enabled peer that may send; add it on the AE titles page"
            code = "calling_ae_title"
        self._refuse(event.assoc, code, reason)

    def _on_store(self, assoc: Association, command: StoreCommand, transfer_syntax_uid: str, data_set: bytes) -> int:
        try:
            return self._store(assoc, command, transfer_syntax_uid, data_set)
        except InboxRefusal as refusal:
            self._refuse(assoc, refusal.code, str(refusal))
            return DATA_SET_MISMATCH if refusal.code == "uid_mismatch" else CANNOT_UNDERSTAND
        except Exception as error:  # noqa: BLE001 - whatever fails here, the sender must hear it and keep its image
            self._refuse(assoc, "not_stored", f"could not be stored ({type(error).__name__}); the sender keeps it")
            return OUT_OF_RESOURCES

    def _store(self, assoc: Association, command: StoreCommand, transfer_syntax_uid: str, data_set: bytes) -> int:
        calling = assoc.requestor.ae_title.strip()
        if not self._settings.node.any_calling_ae and not self._may_send(assoc, calling):
            only = f"calling AE title {calling!r} is let in for storage commitment alone"
            self._refuse_once(assoc, "calling_ae_title", f"{only}; let it send on the AE titles page")
            return NOT_AUTHORISED
        if (shortage := self._disk.shortage()) is not None:
            self._refuse_once(assoc, "disk_full", shortage)
            return OUT_OF_RESOURCES
        if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            check_inflated_size(data_set)
        arrival = self._inbox.identify(
            content=file_header(command, transfer_syntax_uid) + data_set,
            data_set=data_set,
            calling_ae=calling,
            sop_instance_uid=command.sop_instance_uid,
            association_id=self._associations.id_of(assoc),
            transfer_syntax_uid=transfer_syntax_uid,
        )
        self._keep(arrival)
        return SUCCESS

    def _on_store_event(self, event: evt.Event) -> int:
        """Store what came by pynetdicom's own way, which a command set in several fragments takes."""
        request: Any = event.request  # a C-STORE, by the event it came with
        command = StoreCommand(
            message_id=request.MessageID,
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
        )
        syntax = str(event.context.transfer_syntax)
        return self._on_store(event.assoc, command, syntax, request.DataSet.getvalue())

    def _may_send(self, assoc: Association, calling: str) -> bool:
        """Tell, once for each association, whether images are taken from its sender."""
        if assoc not in self._senders:
            self._senders[assoc] = may_send(self._database, calling)
        return self._senders[assoc]

    def _on_commitment(self, event: evt.Event) -> tuple[int, None]:
        """Note the answer to a request for storage commitment, which may be another process's."""
        answer = read_answer(event.event_information)
        if note_commitment(self._database, answer):
            _log.info("commitment", committed=len(answer.committed), failed=len(answer.failed))
            return SUCCESS, None
        self._refuse(event.assoc, "unknown_commitment", "an answer about storage commitment that nobody asked for")
        return NO_SUCH_INSTANCE, None

    def _refuse_once(self, assoc: Association, code: str, reason: str) -> None:
        """Note what holds for every image of an association once, instead of a thousand times."""
        if assoc not in self._told:
            self._told.add(assoc)
            self._refuse(assoc, code, reason)

    def _keep(self, arrival: Arrival) -> None:
        """Make an instance durable: in the journal, or at its place at once when it is larger than that."""
        if self._journal is None or not self._journal.append(arrival):
            self._inbox.file([arrival])

    def _on_release_asked(self, event: evt.Event) -> None:
        """Answer a request for release when all that came over the association is in the books."""
        if isinstance(getattr(event, "primitive", None), A_RELEASE) and self._journal is not None:
            self._journal.drain()

    def _on_end(self, event: evt.Event, end: AssociationEnd) -> None:
        if self._journal is not None:
            self._journal.drain()
        self._associations.end(event.assoc, end)

    def _refuse(self, assoc: Association, code: str, reason: str) -> None:
        calling_ae, address = assoc.requestor.ae_title.strip()[:16], str(assoc.requestor.address)[:64]
        _log.warning("refused", code=code, calling_ae=calling_ae)
        try:
            with self._database.session() as session:
                session.add(RefusalRow(calling_ae=calling_ae, address=address, code=code, reason=reason))
        except sa.exc.SQLAlchemyError as error:  # the sender must hear it all the same
            _log.error("refusal_not_noted", code=code, error=type(error).__name__)


def _application_entity(settings: Settings) -> AE:
    entity = AE(ae_title=settings.node.ae_title)
    entity.require_called_aet = True
    # Nobody, until the first association has had the peers read: an empty list would mean everybody.
    entity.require_calling_aet = [] if settings.node.any_calling_ae else [secrets.token_hex(8)]
    entity.maximum_associations = settings.listener.maximum_associations
    entity.acse_timeout = settings.listener.association_timeout_s
    entity.dimse_timeout = settings.listener.dimse_timeout_s
    entity.network_timeout = settings.listener.network_timeout_s
    entity.maximum_pdu_size = 0  # as large as the sender likes: fewer, larger reads
    entity.add_supported_context(VERIFICATION)
    # Destinations answer as SCP over an association that they open, so they ask for that role (PS3.4 J.3.3).
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), list(ACCEPTED_TRANSFER_SYNTAXES))
    return entity
