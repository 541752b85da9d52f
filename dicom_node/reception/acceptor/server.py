"""The server at the port: prompt associations if they support the installed pynetdicom, else pynetdicom's own."""

import functools
from collections.abc import Sequence
from typing import Any

import pynetdicom
import structlog
from pynetdicom import AE
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.reception.acceptor.admission import Admit
from dicom_node.reception.acceptor.connections import Connections
from dicom_node.reception.acceptor.messages import Services
from dicom_node.reception.acceptor.prompt_association import PromptRequestHandler, SupportedContexts
from dicom_node.reception.acceptor.shared_port import SharedPortServer
from dicom_node.reception.acceptor.stock_association import stock_handlers

__all__ = ["KNOWN_VERSION", "make_server"]

_log = structlog.get_logger()

KNOWN_VERSION = "3.0.4"
"""Version of pynetdicom whose private parts are replaced. The same tests check both acceptors."""


def make_server(
    entity: AE,
    address: tuple[str, int],
    handlers: Sequence[Any],
    *,
    admit: Admit,
    services: Services,
    connections: Connections,
) -> ThreadedAssociationServer:
    """Open a port; the server answers once `serve_forever` is called.

    Parameters
    ----------
    handlers
        Event handlers, for both acceptors.
    """
    if pynetdicom.__version__ == KNOWN_VERSION:
        made_by = functools.partial(PromptRequestHandler, admit=admit, services=services, connections=connections)
        server = entity.make_server(
            address, evt_handlers=list(handlers), server_class=SharedPortServer, request_handler=made_by
        )
    else:
        _log.warning("stock_acceptor", installed=pynetdicom.__version__, known=KNOWN_VERSION)
        both = [*handlers, *stock_handlers(admit, services, connections)]
        server = entity.make_server(address, evt_handlers=both, server_class=SharedPortServer)
    server.contexts = SupportedContexts(server.contexts)
    return server
