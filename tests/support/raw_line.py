"""An association byte by byte: what a sender may do on the wire that no library does."""

import io
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.transport import AddressInformation

__all__ = [
    "ABORT",
    "ACCEPT",
    "COMMAND",
    "CONTEXT",
    "LAST",
    "P_DATA",
    "RELEASE_RESPONSE",
    "RawLine",
    "command_of",
    "data_of",
    "raw_line",
]

ACCEPT, P_DATA, RELEASE_RESPONSE, ABORT = 0x02, 0x04, 0x06, 0x07
CONTEXT = 1
COMMAND, LAST = 0x01, 0x02
TIMEOUT_S = 30.0


def command_of(image: Dataset, message_id: int) -> bytes:
    """Return the command set of a C-STORE request."""
    primitive, message = C_STORE(), C_STORE_RQ()
    primitive.MessageID, primitive.Priority = message_id, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    primitive.DataSet = io.BytesIO(b"\0")
    message.primitive_to_message(primitive)
    return next(iter(message.encode_msg(CONTEXT, 0))).presentation_data_value_list[0][1][1:]


def data_of(image: Dataset) -> bytes:
    """Return a data set as bytes, Explicit VR Little Endian."""
    encoded = encode(image, is_implicit_vr=False, is_little_endian=True)
    assert encoded is not None
    return encoded


class RawLine:
    """The socket of an established association for MR images."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def send_values(self, values: Sequence[tuple[int, int, bytes]]) -> None:
        """Send one P-DATA-TF PDU of presentation data values: context, control header, fragment."""
        items = b"".join(
            struct.pack(">IBB", len(fragment) + 2, context, control) + fragment for context, control, fragment in values
        )
        self.socket.sendall(struct.pack(">BBI", P_DATA, 0, len(items)) + items)

    def read_pdu(self) -> tuple[int, bytes]:
        """Return the next PDU's type and the whole of it; type 0 when the other side has closed."""
        head = self._read(6)
        if len(head) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", head)
        return kind, head + self._read(length)

    def read_status(self) -> tuple[int, int]:
        """Return the next C-STORE response's message ID and status."""
        kind, content = self.read_pdu()
        assert kind == P_DATA
        pdu, message = P_DATA_TF(), DIMSEMessage()
        pdu.decode(content)
        assert message.decode_msg(pdu.to_primitive())
        assert isinstance(message, C_STORE_RSP)
        return message.command_set.MessageIDBeingRespondedTo, message.command_set.Status

    def release(self) -> int:
        """Ask for release; return the type of the PDU that answers."""
        self.socket.sendall(struct.pack(">BBII", 0x05, 0, 4, 0))
        return self.read_pdu()[0]

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size and (piece := self.socket.recv(size - len(content))):
            content += piece
        return content


@contextmanager
def raw_line(port: int, calling_ae: str = "SENDER") -> Iterator[RawLine]:
    """Associate for MR images in Explicit VR Little Endian."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(_association_request(calling_ae))
        line = RawLine(connection)
        assert line.read_pdu()[0] == ACCEPT
        yield line


def _association_request(calling_ae: str) -> bytes:
    request = A_ASSOCIATE()
    request.application_context_name = UID("1.2.840.10008.3.1.1.1")
    request.calling_ae_title, request.called_ae_title = calling_ae, "GLIONODE"
    request.calling_presentation_address = AddressInformation("127.0.0.1", 104)
    request.called_presentation_address = AddressInformation("127.0.0.1", 104)
    context = build_context(MRImageStorage, ExplicitVRLittleEndian)
    context.context_id = CONTEXT
    request.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, UID("1.2.3")
    request.user_information = [length, implementation]
    return A_ASSOCIATE_RQ(request).encode()
