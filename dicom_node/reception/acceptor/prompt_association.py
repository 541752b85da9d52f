"""pynetdicom's acceptor, woken by events instead of polling every millisecond, and answering at once.

In the original, two threads for each association poll a thousand times a second, a message waits for both of them in
turn, and a PDU is read in pieces of 4 KiB, whatever length it states, for as long as it takes. At sixteen associations
the polling alone took more processor time than receiving (`benchmarks/ingest.md`). Here the thread that reads a request
also answers it (`upper_layer`), messages are processed without pydicom (`messages`), and what an unknown sender may
send, and how slowly, is limited (`line`, `association_request`, `connections`).
"""

# ruff: noqa: SLF001 - pynetdicom has no public way to replace these parts; its version is pinned, and
# tests/unit/dicom_node/test_prompt_association.py tests what they must do

import copy
import threading
from typing import Any, cast

import structlog
from pynetdicom import evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import RequestHandler

from dicom_node.reception.acceptor.admission import Admit
from dicom_node.reception.acceptor.connections import Connections
from dicom_node.reception.acceptor.line import Line
from dicom_node.reception.acceptor.messages import Messages, Services
from dicom_node.reception.acceptor.upper_layer import Checkpoint, UpperLayer

__all__ = ["PromptRequestHandler", "SupportedContexts"]

_log = structlog.get_logger()

GRACE_S = 5.0
"""How much later pynetdicom's own timers for an association request expire, as they record no refusal."""


class SupportedContexts(list[PresentationContext]):
    """The presentation contexts that a server supports, copied one level deep for each association.

    pynetdicom copies every transfer syntax of every context, which took longer than all other steps of opening an
    association. Nothing modifies them there.
    """

    def __deepcopy__(self, _memo: dict[int, Any]) -> "SupportedContexts":
        return SupportedContexts(copy.copy(context) for context in self)


class PromptRequestHandler(RequestHandler):
    """Turns each connection into a prompt association."""

    def __init__(
        self,
        request: Any,  # noqa: ANN401 - as there
        address: Any,  # noqa: ANN401
        server: Any,  # noqa: ANN401
        *,
        admit: Admit,
        services: Services,
        connections: Connections,
    ) -> None:
        self._admit, self._services, self._connections = admit, services, connections
        super().__init__(request, address, server)  # does all the work

    def handle(self) -> None:
        """Serve in separate threads; close the connection where the machine has none left."""
        assoc = cast("_Association", self._create_association())
        try:
            evt.trigger(assoc, evt.EVT_CONN_OPEN, {"address": self.client_address})
            assoc.start()
        except RuntimeError:
            assoc.end()

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        line = cast("Line", assoc.dul.socket)
        # Nothing runs yet: the parts that pynetdicom created are replaced before the first thread starts.
        assoc.__class__ = _Association
        assoc.acse.__class__ = _Negotiation
        assoc.dul.__class__ = UpperLayer
        line.__class__ = Line
        assoc.dimse.__class__ = Messages
        assoc._reactor_checkpoint = Checkpoint()
        assoc.dul._run_loop_delay = 0.0
        line.connection = self.request
        cast("Messages", assoc.dimse).serve_at_once(self._services)
        cast("_Negotiation", assoc.acse).admit_by(self._admit)
        cast("_Association", assoc).belong_to(self._services, self._connections)
        cast("UpperLayer", assoc.dul).limit(self._services, assoc.acse_timeout or 0.0, assoc.network_timeout or 0.0)
        assoc.acse_timeout = (assoc.acse_timeout or 0.0) + GRACE_S
        self._connections.enter(assoc, str(self.client_address[0]), cast("UpperLayer", assoc.dul).make_room)
        return assoc


class _Association(Association):
    """An association whose requests are answered by the thread that reads them, and that always ends completely."""

    def belong_to(self, services: Services, connections: Connections) -> None:
        """Set the objects that are notified of the end."""
        self._services, self._connections = services, connections

    def run(self) -> None:
        """Run this class's `run_reactor`; pynetdicom set its own as the thread's target before the class changed."""
        self.run_reactor()

    def run_reactor(self) -> None:
        """Negotiate, serve and end, as pynetdicom does for an acceptor, but end in every case."""
        try:
            self.dul.start()
            self._started_dul = True
            self._dul_ready.wait()
            request = self.dul.receive_pdu(wait=True, timeout=self.acse_timeout)
            if isinstance(request, A_ASSOCIATE):
                self.requestor.primitive = request
                self.acse.negotiate_association()
                if self.is_established:
                    self._run_reactor()
        except Exception as error:  # noqa: BLE001 - the thread ends here, and its connection, whatever arrived
            _log.error("connection_failed", exc_info=error)
            self.dul.kill_dul()
        finally:
            self.end()

    def end(self) -> None:
        """Close the connection, stop its threads, and report the end if that has not been done."""
        self.kill()
        cast("Line", self.dul.socket).connection.close()
        self._connections.leave(self)
        self._services.on_end(self, released=self._sent_release)

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: FBT001, FBT002 - as there
        # The thread that reads cannot wait for its own end.
        super()._abort_blocking(block and threading.current_thread() is not self.dul)


class _Negotiation(ACSE):
    """Rejects associations that this node does not accept."""

    def admit_by(self, admit: Admit) -> None:
        """Set the function that decides."""
        self._admit = admit

    def _negotiate_as_acceptor(self) -> None:
        self.requestor.ae_title = cast("A_ASSOCIATE", self.requestor.primitive).calling_ae_title
        rejection = self._admit(self.assoc)
        if rejection is None:
            super()._negotiate_as_acceptor()
        else:
            self.send_reject(rejection.result, rejection.source, rejection.diagnostic)
