"""PDUs of messages as bytes; what comes over the wire in them is tested in test_prompt_association.py."""

import pytest
from pynetdicom.pdu import P_DATA_TF

from dicom_node.reception.acceptor.data_pdu import DataPdu, data_pdu

HEAD_BYTES = 6


def _content(*values: tuple[int, bytes]) -> bytes:
    return b"".join(data_pdu(context_id, value)[HEAD_BYTES:] for context_id, value in values)


def test_what_is_written_is_what_pynetdicom_reads() -> None:
    pdu = P_DATA_TF()
    pdu.decode(data_pdu(3, b"\3answer"))
    assert [(one.context_id, one.data) for one in pdu.presentation_data_value_items] == [(3, b"\3answer")]


def test_values_come_in_their_order() -> None:
    values = [(1, b"\3command"), (1, b"\0data"), (5, b"\2" + bytes(1000))]
    found = DataPdu(_content(*values)).to_primitive().presentation_data_value_list
    assert [(context_id, bytes(value)) for context_id, value in found] == values


def test_a_large_value_is_not_copied() -> None:
    content = _content((1, bytes(10_000)), (1, bytes(100)))
    assert DataPdu(content).presentation_data_value_list[0][1].obj is content


def test_a_small_value_does_not_keep_a_large_pdu_in_memory() -> None:
    values = DataPdu(_content((1, bytes(4_000)), *[(1, b"\0")] * 1000)).presentation_data_value_list
    assert all(len(value.obj) == len(value) for _context_id, value in values)


@pytest.mark.parametrize("content", [b"\0", b"\0\0\0\1\1", b"\0\0\0\3\1\0", b"\0\0\0\2\1\0\0"])
def test_lengths_that_do_not_add_up_are_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="do not add up"):
        DataPdu(content)
