"""The bytes of C-STORE messages, against pynetdicom and pydicom as readers and writers."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.reception.acceptor.dimse_commands import (
    C_CANCEL,
    N_EVENT_REPORT,
    Command,
    StoreCommand,
    file_header,
    read_command,
    response,
)
from dicom_node.reception.acceptor.dimse_commands import C_STORE as STORE

uids = st.from_regex(r"1\.(0|[1-9][0-9]{0,9})(\.(0|[1-9][0-9]{0,9})){1,4}", fullmatch=True)
numbers = st.integers(0, 0xFFFF)


def _request(message_id: int, sop_class: str, sop_instance: str) -> bytes:
    """Return a request's command set as pynetdicom encodes it."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = message_id, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(sop_class), UID(sop_instance)
    primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = "MOVER", 3
    primitive.DataSet = io.BytesIO(b"\x08\x00")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    fragment = next(iter(message.encode_msg(1, 0)))
    return fragment.presentation_data_value_list[0][1][1:]


@given(numbers, uids, uids)
def test_a_request_is_read_as_pynetdicom_wrote_it(message_id: int, sop_class: str, sop_instance: str) -> None:
    command = read_command(_request(message_id, sop_class, sop_instance))
    assert (command.field, command.has_data_set, command.is_answer) == (STORE, True, False)
    assert command.store == StoreCommand(message_id=message_id, sop_class_uid=sop_class, sop_instance_uid=sop_instance)


@given(numbers, uids, uids, st.sampled_from([0x0000, 0xA700, 0xA900, 0xC000, 0x0124]))
def test_a_response_is_read_by_pynetdicom(message_id: int, sop_class: str, sop_instance: str, status: int) -> None:
    command = Command(
        field=STORE,
        message_id=message_id,
        has_data_set=True,
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
    )
    fragment, message = P_DATA(), DIMSEMessage()
    fragment._presentation_data_value_list = [(5, b"\x03" + response(command, status))]
    assert message.decode_msg(fragment)
    assert isinstance(message, C_STORE_RSP)
    assert (message.context_id, message.command_set.CommandGroupLength) == (
        5,
        len(response(command, status)) - 12,
    )
    answer = message.message_to_primitive()
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (message_id, status)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (sop_class, sop_instance)


@given(uids, st.sampled_from([ExplicitVRLittleEndian, JPEG2000Lossless]))
def test_a_file_begins_as_pynetdicom_and_pydicom_would_write_it(sop_instance: str, syntax: UID) -> None:
    command = StoreCommand(message_id=1, sop_class_uid=MRImageStorage, sop_instance_uid=sop_instance)
    meta = create_file_meta(sop_class_uid=MRImageStorage, sop_instance_uid=UID(sop_instance), transfer_syntax=syntax)
    header = file_header(command, syntax)
    assert header == bytes(128) + b"DICM" + encode_file_meta(meta)
    assert dcmread(io.BytesIO(header)).file_meta.TransferSyntaxUID == syntax


def _read(encoded: bytes) -> StoreCommand | None:
    try:
        return read_command(encoded).store
    except ValueError:
        return None


def test_other_commands_are_no_request_to_store() -> None:
    primitive, message = C_ECHO(), C_ECHO_RQ()
    primitive.MessageID = 1
    message.primitive_to_message(primitive)
    fragment = next(iter(message.encode_msg(1, 0)))
    assert _read(fragment.presentation_data_value_list[0][1][1:]) is None


@pytest.mark.parametrize("element", [0x0002, 0x0100, 0x0110, 0x0800, 0x1000])
def test_a_request_that_lacks_something_is_none(element: int) -> None:
    whole = _request(7, "1.2.3", "1.2.4")
    assert _read(whole) is not None
    offset = 0
    while int.from_bytes(whole[offset + 2 : offset + 4], "little") != element:
        offset += 8 + int.from_bytes(whole[offset + 4 : offset + 8], "little")
    end = offset + 8 + int.from_bytes(whole[offset + 4 : offset + 8], "little")
    assert _read(whole[:offset] + whole[end:]) is None


@given(st.binary(max_size=200), st.integers(0, 120))
def test_damage_is_none_or_a_request_and_never_an_error(noise: bytes, at: int) -> None:
    whole = _request(7, "1.2.3", "1.2.4")
    for damaged in (noise, whole[:at], whole[:at] + noise):
        command = _read(damaged)
        assert command is None or (command.sop_class_uid and command.sop_instance_uid)


def _elements(*elements: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in elements)


def _short(value: int) -> bytes:
    return struct.pack("<H", value)


EVENT = (
    (0x0002, b"1.2.840.10008.1.20.1"),
    (0x0100, _short(0x0100)),
    (0x0110, _short(7)),
    (0x0800, _short(1)),
    (0x1000, b"1.2.840.10008.1.20.1.1"),
    (0x1002, _short(2)),
)
"""An N-EVENT-REPORT request of storage commitment, PS3.7 10.3.1."""


def test_the_answer_to_an_event_repeats_its_type() -> None:
    command = read_command(_elements(*EVENT))
    assert (command.field, command.message_id, command.event_type_id, command.store) == (N_EVENT_REPORT, 7, 2, None)
    answer = read_command(response(command, 0x0110))
    assert (answer.field, answer.message_id, answer.event_type_id) == (0x8100, 7, 2)
    assert (answer.is_answer, answer.has_data_set) == (True, False)
    assert (answer.sop_class_uid, answer.sop_instance_uid) == (command.sop_class_uid, command.sop_instance_uid)
    assert response(command, 0x0110).count(_elements((0x0900, _short(0x0110)))) == 1


def test_a_cancel_and_an_answer_name_the_message_that_they_are_about() -> None:
    for field in (C_CANCEL, 0x8001):
        encoded = _elements((0x0100, _short(field)), (0x0120, _short(9)), (0x0800, _short(0x0101)))
        assert read_command(encoded).message_id == 9
        with pytest.raises(ValueError, match="lacks the command field, the message ID or the data set type"):
            read_command(encoded.replace(b"\x20\x01\x02", b"\x10\x01\x02"))


def test_requested_uids_stand_for_affected_ones_and_what_is_no_text_is_left_out() -> None:
    head = ((0x0100, _short(0x0030)), (0x0110, _short(1)), (0x0800, _short(0x0101)))
    requested = read_command(_elements((0x0003, b"1.2.3\0"), *head, (0x1001, b"1.2.4 ")))
    assert (requested.sop_class_uid, requested.sop_instance_uid) == ("1.2.3", "1.2.4")
    odd = read_command(_elements((0x0002, b"1.2\n3"), *head, (0x1000, b"1.\xb2")))
    assert (odd.sop_class_uid, odd.sop_instance_uid) == ("", "")


def test_every_element_of_a_response_has_an_even_length() -> None:
    command = Command(field=STORE, message_id=1, has_data_set=True, sop_class_uid="1.2.3", sop_instance_uid="1.2.34")
    encoded = response(command, 0)
    assert len(encoded) % 2 == 0
    assert b"1.2.3\0" in encoded
    assert b"1.2.34\0" not in encoded


@pytest.mark.parametrize("encoded", [b"\0" * 7, _elements((0x0100, b"\1\0"))[:-1], struct.pack("<HHI", 8, 0x18, 0)])
def test_what_is_no_command_set_is_told(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="not a command set"):
        read_command(encoded)
