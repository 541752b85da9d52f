"""A DICOM port that several listener processes share: the kernel distributes connections (SO_REUSEPORT, socket(7))."""

import socket
import socketserver
from typing import cast

from pynetdicom.transport import ThreadedAssociationServer

__all__ = ["SharedPortServer"]


class SharedPortServer(ThreadedAssociationServer):
    """Serves each association in a thread, alongside other processes on the same port."""

    request_queue_size = 128
    """Connections that may wait to be accepted; with Python's default of 5, simultaneous senders are refused."""

    def server_bind(self) -> None:
        """Bind so that another listener of the same user may bind the same port."""
        cast("socket.socket", self.socket).setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def shutdown(self) -> None:
        """Stop accepting, and close the port."""
        socketserver.BaseServer.shutdown(self)  # pynetdicom's looks for itself among the servers that AE started
        self.server_close()
