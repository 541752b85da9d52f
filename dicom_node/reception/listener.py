"""The DICOM listener: C-ECHO and C-STORE for every storage class; stores durably before it returns success."""

import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa
import structlog
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode
from pynetdicom.pdu_primitives import A_RELEASE
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.audit.studies import studies_brought
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import AssociationEnd
from dicom_node.database.tables import RefusalRow, utc_now
from dicom_node.delivery.proof import note_commitment
from dicom_node.peers.registry import accepted_calling_ae_titles, may_send
from dicom_node.reception.acceptor.association_request import Rejection
from dicom_node.reception.acceptor.connections import Connections
from dicom_node.reception.acceptor.dimse_commands import CANNOT_UNDERSTAND, StoreCommand, file_header
from dicom_node.reception.acceptor.line import MAXIMUM_PDU_BYTES
from dicom_node.reception.acceptor.messages import Services
from dicom_node.reception.acceptor.server import make_server
from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.associations import AssociationBook
from dicom_node.reception.contract import (
    ACCEPTED_TRANSFER_SYNTAXES,
    BUSY,
    CALLED_UNKNOWN,
    CALLING_UNKNOWN,
    COMMITMENT,
    DATA_SET_MISMATCH,
    FULL,
    MISMATCHES,
    NO_SUCH_INSTANCE,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    accepted_contexts,
)
from dicom_node.reception.identity import InboxRefusal
from dicom_node.reception.inbox import Inbox
from dicom_node.reception.incoming import Incoming
from dicom_node.reception.journal import Journal
from dicom_node.reception.recorded import ReceptionRecord
from dicom_node.reception.refusals import note_refusal
from dicom_node.reception.spool import Spool, remove_abandoned
from dicom_node.settings import Settings
from dicom_node.storage.disk_space import Disk
from viewer_integration.transport.association import send_at_once
from viewer_integration.transport.commitment import read_answer

__all__ = ["ACCEPTED_TRANSFER_SYNTAXES", "Listener"]

_log = structlog.get_logger()

STOP_S = 0.05
"""How soon the listener notices that it should stop."""


class Listener:
    """Accepts associations from configured peers and stores what they send in the inbox."""

    def __init__(self, settings: Settings, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._inbox = Inbox(database, settings.node.folder, clock)
        self._disk = Disk(settings.node.folder, settings.limits.free_disk_gib)
        self._with_refusals: WeakSet[Association] = WeakSet()
        self._senders: WeakKeyDictionary[Association, bool] = WeakKeyDictionary()
        self._associations = AssociationBook(database, clock)
        self._record = ReceptionRecord(AuditTrail(settings.node.folder, settings.node.ae_title, database))
        self._connections = Connections(
            waiting_for_each=settings.listener.waiting_connections, seats=settings.listener.maximum_associations
        )
        self._entity = _application_entity(settings)
        self._journal: Journal | None = None
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """The TCP port in use, also when the settings request any free one."""
        if self._server is None:
            message = "the listener has not been started"
            raise RuntimeError(message)
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Open the port and serve in separate threads."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, send_at_once),
            (evt.EVT_ACSE_RECV, self._on_release_request),
            (evt.EVT_RELEASED, lambda event: self._on_end(event.assoc, released=True)),
            (evt.EVT_ABORTED, lambda event: self._on_end(event.assoc, released=False)),
        ]
        lost = self._associations.close_left_open()
        if left := remove_abandoned(self._settings.node.folder / "inbox"):
            _log.warning("unfinished_removed", files=left)
        self._journal = Journal(self._settings.node.folder / "journal", self._inbox.file)
        if lost:
            threading.Thread(target=self._record_lost, args=(self._journal, lost), daemon=True).start()
        address = (self._settings.node.bind, self._settings.node.dicom_port)
        services = Services(
            on_store=self._on_store,
            make_spool=self._make_spool,
            on_report=self._on_report,
            on_end=self._on_end,
            refuse=self._refuse,
            data_set_bytes=self._settings.limits.data_set_bytes,
        )
        server = make_server(
            self._entity, address, handlers, admit=self._admit, services=services, connections=self._connections
        )
        threading.Thread(target=server.serve_forever, args=(STOP_S,), daemon=True).start()
        self._server = server
        _log.info("listening", ae_title=self._settings.node.ae_title, port=self.port)

    def _record_lost(self, journal: Journal, callers: Mapping[str, str]) -> None:
        """Record what associations brought whose listener was killed, once all of it is in the database."""
        journal.drain()
        self._record.lost(studies_brought(self._database, self._settings.node.folder, callers))

    def stop(self) -> None:
        """Close the port and end open associations."""
        self._entity.shutdown()  # aborts open associations
        if self._server is not None:
            self._server.shutdown()
        if self._journal is not None:
            self._journal.close()

    def _admit(self, assoc: Association) -> Rejection | None:
        """Return why an association is rejected, or None; read the peers anew, so that a change applies to the next."""
        try:
            rejection = self._rejection(assoc)
        except sa.exc.SQLAlchemyError:
            reason = "the peers could not be read from the database; the sender can try again"
            rejection = Rejection(code="not_admitted", reason=reason, **BUSY)
        if rejection is None and not self._connections.sit(assoc):
            limit = self._settings.listener.maximum_associations
            reason = f"more than {limit} associations at the same time; the sender can try again"
            rejection = Rejection(code="association_limit", reason=reason, **FULL)
        if rejection is not None:
            self._refuse(assoc, rejection.code, rejection.reason)
        return rejection

    def _rejection(self, assoc: Association) -> Rejection | None:
        calling = assoc.requestor.ae_title.strip()
        called = str(getattr(assoc.requestor.primitive, "called_ae_title", "")).strip()
        if in_maintenance(self._database):
            reason = "the node is in maintenance (`glionode maintenance off` ends it); the sender can try again later"
            return Rejection(code="maintenance", reason=reason, **BUSY)
        if called not in (titles := self._settings.node.ae_titles):
            reason = f"called AE title {called!r} is not that of this node ({', '.join(map(repr, titles))})"
            return Rejection(code="called_ae_title", reason=reason, **CALLED_UNKNOWN)
        if not self._settings.node.any_calling_ae and calling not in accepted_calling_ae_titles(self._database):
            reason = f"calling AE title {calling!r} is not an enabled peer that may send; add it on the AE titles page"
            return Rejection(code="calling_ae_title", reason=reason, **CALLING_UNKNOWN)
        return None

    def _make_spool(self, command: StoreCommand, transfer_syntax_uid: str) -> Spool:
        header = file_header(command, transfer_syntax_uid)
        return self._inbox.spool(header, self._disk.shortage)

    def _on_store(self, assoc: Association, command: StoreCommand, transfer_syntax_uid: str, incoming: Incoming) -> int:
        try:
            return self._store(assoc, command, transfer_syntax_uid, incoming)
        except InboxRefusal as refusal:
            self._refuse(assoc, refusal.code, str(refusal))
            return DATA_SET_MISMATCH if refusal.code in MISMATCHES else CANNOT_UNDERSTAND
        except Exception as error:  # noqa: BLE001 - whatever fails here, the sender must be informed and keep its image
            self._refuse(assoc, "not_stored", f"could not be stored ({type(error).__name__}); the sender keeps it")
            return OUT_OF_RESOURCES

    def _store(self, assoc: Association, command: StoreCommand, transfer_syntax_uid: str, incoming: Incoming) -> int:
        calling = assoc.requestor.ae_title.strip()
        if not self._settings.node.any_calling_ae and not self._may_send(assoc, calling):
            reason = f"calling AE title {calling!r} is accepted for storage commitment only"
            self._refuse_once(assoc, "calling_ae_title", f"{reason}; allow it to send on the AE titles page")
            return NOT_AUTHORISED
        if (shortage := self._disk.shortage()) is not None:
            self._refuse_once(assoc, "disk_full", shortage)
            return OUT_OF_RESOURCES
        stated = {
            "calling_ae": calling,
            "sop_instance_uid": command.sop_instance_uid,
            "association_id": self._associations.id_of(assoc),
            "transfer_syntax_uid": transfer_syntax_uid,
        }
        if (spool := incoming.spool) is not None:
            arrival = self._inbox.identify_spooled(spool, **stated)
        else:
            header = file_header(command, transfer_syntax_uid)
            content = incoming.behind(header)
            arrival = self._inbox.identify(content, memoryview(content)[len(header) :], **stated)
        _check_class(arrival, command)
        if spool is not None:
            self._inbox.place(spool, arrival)
        self._keep(arrival)
        self._record.arrived(assoc, arrival)
        return SUCCESS

    def _may_send(self, assoc: Association, calling: str) -> bool:
        """Return whether the sender of an association may store images; look it up once for each association."""
        if assoc not in self._senders:
            self._senders[assoc] = may_send(self._database, calling)
        return self._senders[assoc]

    def _on_report(self, assoc: Association, transfer_syntax_uid: UID, data_set: bytes) -> int:
        """Record a storage commitment result, which another process of the node may have requested."""
        syntax = transfer_syntax_uid
        try:
            answer = read_answer(decode(BytesIO(data_set), syntax.is_implicit_VR, syntax.is_little_endian))
            is_known = note_commitment(self._database, answer)
        except sa.exc.SQLAlchemyError:
            self._refuse(assoc, "not_stored", "a storage commitment result could not be written to the database")
            return PROCESSING_FAILURE
        except Exception:  # noqa: BLE001 - whatever pydicom raises for a data set from the network
            self._refuse(assoc, "unreadable_data_set", "a storage commitment result cannot be read")
            return PROCESSING_FAILURE
        if is_known:
            _log.info("commitment", committed=len(answer.committed), failed=len(answer.failed))
            return SUCCESS
        self._refuse(assoc, "unknown_commitment", "a storage commitment result that this node did not request")
        return NO_SUCH_INSTANCE

    def _refuse_once(self, assoc: Association, code: str, reason: str) -> None:
        """Record a reason that applies to every image of an association once, instead of a thousand times."""
        if assoc not in self._with_refusals:
            self._with_refusals.add(assoc)
            self._refuse(assoc, code, reason)

    def _keep(self, arrival: ArrivedInstance) -> None:
        """Make an instance durable, in order of receipt: the version recorded last is the current one."""
        if self._journal is None:
            self._inbox.file([arrival])
        else:
            self._journal.append(arrival)

    def _on_release_request(self, event: evt.Event) -> None:
        """Delay the answer to a release request until all instances received so far are in the database."""
        if isinstance(getattr(event, "primitive", None), A_RELEASE) and self._journal is not None:
            self._journal.drain()

    def _on_end(self, assoc: Association, *, released: bool) -> None:
        """Record the end, if possible before the peer notices it, and at the latest when the connection is closed."""
        if self._journal is not None:
            self._journal.drain()
        self._associations.end(assoc, AssociationEnd.RELEASED if released else AssociationEnd.ABORTED)
        self._record.ended(assoc, released=released)

    def _refuse(self, assoc: Association, code: str, reason: str) -> None:
        calling_ae, address = assoc.requestor.ae_title.strip()[:16], str(assoc.requestor.address)[:64]
        peer = ""
        try:
            refusal = RefusalRow(calling_ae=calling_ae, address=address, code=code, reason=reason)
            with self._database.session() as session:
                peer = note_refusal(session, refusal, self._clock())
        except sa.exc.SQLAlchemyError as error:  # the sender must still get the refusal
            _log.error("refusal_not_noted", code=code, error=type(error).__name__)
        # The AE title is not logged: an unknown caller may use any, even a patient's name. It is in the database.
        _log.warning("refused", code=code, peer=peer, address=address)
        self._record.refused(assoc, code, peer)


def _check_class(arrival: ArrivedInstance, command: StoreCommand) -> None:
    if not arrival.sop_class_uid:
        reason = "the data set has no SOPClassUID, so its kind is unknown; the sender keeps it"
        raise InboxRefusal("sop_class_missing", reason)
    if arrival.sop_class_uid != command.sop_class_uid:
        reason = "the SOP class of the data set differs from that of the request and its presentation context"
        raise InboxRefusal("sop_class_mismatch", reason)


def _application_entity(settings: Settings) -> AE:
    entity = AE(ae_title=settings.node.ae_title)
    # The listener itself decides which associations it accepts, and how many (`_admit`).
    entity.require_called_aet, entity.require_calling_aet = False, []
    entity.maximum_associations = sys.maxsize
    entity.acse_timeout = settings.listener.association_timeout_s
    entity.dimse_timeout = settings.listener.dimse_timeout_s
    entity.network_timeout = settings.listener.network_timeout_s
    entity.maximum_pdu_size = MAXIMUM_PDU_BYTES
    for sop_class, syntaxes in accepted_contexts().items():
        # Destinations send results as SCP over an association that they open, so they propose that role (PS3.4 J.3.3).
        roles = {"scu_role": False, "scp_role": True} if sop_class == COMMITMENT else {}
        entity.add_supported_context(sop_class, list(syntaxes), **roles)
    return entity
