"""Associations as pynetdicom serves them, for a version of it that the prompt ones do not support.

They are slower, and lack the limits of `line`: a data set of any size is kept in memory, and refused only afterwards.
"""

from io import BytesIO
from typing import Any, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node.reception.acceptor.admission import Admit
from dicom_node.reception.acceptor.connections import Connections
from dicom_node.reception.acceptor.dimse_commands import StoreCommand
from dicom_node.reception.acceptor.messages import (
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    Services,
    too_large,
)
from dicom_node.reception.incoming import Incoming

__all__ = ["stock_handlers"]


def stock_handlers(admit: Admit, services: Services, connections: Connections) -> list[Any]:
    """Return the event handlers for pynetdicom's own server."""

    def request(event: evt.Event) -> None:
        assoc = event.assoc
        assoc.requestor.ae_title = cast("A_ASSOCIATE", assoc.requestor.primitive).calling_ae_title
        rejection = admit(assoc)
        if rejection is not None:
            assoc.acse.send_reject(rejection.result, rejection.source, rejection.diagnostic)
            assoc.kill()  # as pynetdicom does after its own rejections: once it is sent

    def store(event: evt.Event) -> int:
        return _store(event, services)

    def report(event: evt.Event) -> tuple[int, None]:
        information = cast("N_EVENT_REPORT", event.request).EventInformation
        syntax = UID(event.context.transfer_syntax)
        return services.on_report(event.assoc, syntax, b"" if information is None else information.getvalue()), None

    def end(event: evt.Event) -> None:
        connections.leave(event.assoc)
        services.on_end(event.assoc, released=event.assoc.is_released)

    return [
        (evt.EVT_REQUESTED, request),
        (evt.EVT_C_STORE, store),
        (evt.EVT_N_EVENT_REPORT, report),
        (evt.EVT_CONN_CLOSE, end),
    ]


def _store(event: evt.Event, services: Services) -> int:
    assoc: Association = event.assoc
    request = cast("C_STORE", event.request)
    syntax = str(event.context.transfer_syntax)
    command = StoreCommand(
        message_id=request.MessageID or 0,
        sop_class_uid=str(request.AffectedSOPClassUID),
        sop_instance_uid=str(request.AffectedSOPInstanceUID),
    )
    if command.sop_class_uid != event.context.abstract_syntax:
        return SOP_CLASS_NOT_SUPPORTED
    content = memoryview(cast("BytesIO", request.DataSet).getvalue())
    if len(content) > services.data_set_bytes:
        services.refuse(assoc, "data_set_too_large", too_large(services.data_set_bytes))
        return OUT_OF_RESOURCES
    incoming = Incoming(lambda: services.make_spool(command, syntax))
    try:
        incoming.take(content)
        return services.on_store(assoc, command, syntax, incoming)
    finally:
        incoming.discard()
