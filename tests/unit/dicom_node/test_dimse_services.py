"""Which requests are done over which presentation context, and what the others are answered."""

import struct
from io import BytesIO

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.dimse_primitives import C_STORE

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, RefusalRow
from tests.support.pacs import association, instance_of, store
from tests.support.raw_line import COMMAND, CONTEXT, LAST, RELEASE_RESPONSE, RawLine, command_of, data_of, raw_line
from tests.support.small_study import make_small_study

VERIFICATION = "1.2.840.10008.1.1"
COMMITMENT = "1.2.840.10008.1.20.1"
NO_DATA_SET = 0x0101


@pytest.fixture
def image() -> Dataset:
    return make_small_study("services", roles=["FLAIR"])[0]


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _command(field: int, *, sop_class: str = "", has_data: bool = False) -> bytes:
    shorts = ((0x0100, field), (0x0110, 9), (0x0800, 0x0001 if has_data else NO_DATA_SET))
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    return _element(0x0002, uid) + b"".join(_element(tag, struct.pack("<H", value)) for tag, value in shorts)


def _answer(line: RawLine) -> tuple[int, int]:
    """Return the command field and the status of the answer."""
    _, content = line.read_pdu()
    values, offset = {}, 12
    while offset < len(content):
        _, element, length = struct.unpack_from("<HHI", content, offset)
        values[element] = content[offset + 8 : offset + 8 + length]
        offset += 8 + length
    assert values[0x0120] == struct.pack("<H", 9)
    return int.from_bytes(values[0x0100], "little"), int.from_bytes(values[0x0900], "little")


def _codes(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(RefusalRow.code)))


def _stored(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow.sop_instance_uid)))


@pytest.mark.parametrize("over", [VERIFICATION, CTImageStorage])
def test_no_image_is_stored_over_a_context_for_something_else(
    port: int, database: Database, image: Dataset, over: str
) -> None:
    with association([(over, ExplicitVRLittleEndian)], port) as assoc:
        (context,) = assoc.accepted_contexts
        one = instance_of(image)
        request = C_STORE()
        request.MessageID, request.Priority = 1, 2
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        request.DataSet = BytesIO(one.data_set)
        assoc._reactor_checkpoint.clear()
        assoc.dimse.send_msg(request, context.context_id or 0)
        _, answer = assoc.dimse.get_msg(block=True)
        assoc._reactor_checkpoint.set()
        assert answer is not None
        assert answer.Status == 0x0122
    assert _codes(database) == ["sop_class_mismatch"]
    assert _stored(database) == []


@pytest.mark.parametrize(
    ("sop_class", "code"),
    [(CTImageStorage, "sop_class_mismatch"), (None, "sop_class_missing"), ("", "sop_class_missing")],
)
def test_a_data_set_of_another_class_than_the_request_or_of_none_is_refused(
    port: int, database: Database, image: Dataset, sop_class: str | None, code: str
) -> None:
    if sop_class is None:
        del image.SOPClassUID
    else:
        image.SOPClassUID = sop_class
    command = command_of(make_small_study("services", roles=["FLAIR"])[0], 9)
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, command)])
        line.send_values([(CONTEXT, LAST, data_of(image))])
        assert line.read_status() == (9, 0xA900)
        assert line.release() == RELEASE_RESPONSE
    assert _codes(database) == [code]
    assert _stored(database) == []


@pytest.mark.parametrize(
    ("field", "sop_class", "status"),
    [
        pytest.param(0x0030, VERIFICATION, 0x0122, id="an echo over a context for images"),
        pytest.param(0x0030, "", 0x0122, id="an echo of no class"),
        pytest.param(0x0100, COMMITMENT, 0x0122, id="a report over a context for images"),
        pytest.param(0x0001, MRImageStorage, 0xC000, id="a store without a data set"),
        pytest.param(0x0020, MRImageStorage, 0x0211, id="a find"),
        pytest.param(0x0021, MRImageStorage, 0x0211, id="a move"),
        pytest.param(0x0010, MRImageStorage, 0x0211, id="a get"),
        pytest.param(0x0110, MRImageStorage, 0x0211, id="an n-get"),
        pytest.param(0x0130, MRImageStorage, 0x0211, id="an action"),
        pytest.param(0x0150, MRImageStorage, 0x0211, id="a delete"),
        pytest.param(0x7777, MRImageStorage, 0x0211, id="what nobody knows"),
    ],
)
def test_what_is_not_done_is_answered_and_the_association_goes_on(
    port: int, database: Database, image: Dataset, field: int, sop_class: str, status: int
) -> None:
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, _command(field, sop_class=sop_class))])
        assert _answer(line) == (field | 0x8000, status)
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1)), (CONTEXT, LAST, data_of(image))])
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert len(_codes(database)) == 1
    assert _stored(database) == [image.SOPInstanceUID]


def test_cancels_and_answers_are_let_pass(port: int, database: Database, image: Dataset) -> None:
    number = struct.pack("<H", 9)
    cancel = _element(0x0100, b"\xff\x0f") + _element(0x0120, number) + _element(0x0800, b"\1\1")
    answer = _element(0x0100, b"\x01\x80") + _element(0x0120, number) + _element(0x0800, b"\1\1")
    with raw_line(port) as line:
        line.send_values([(CONTEXT, COMMAND | LAST, cancel), (CONTEXT, COMMAND | LAST, answer)])
        line.send_values([(CONTEXT, COMMAND | LAST, command_of(image, 1)), (CONTEXT, LAST, data_of(image))])
        assert line.read_status() == (1, 0x0000)
        assert line.release() == RELEASE_RESPONSE
    assert _codes(database) == []


def test_an_image_over_its_own_context_is_stored(port: int, database: Database, image: Dataset) -> None:
    assert store([instance_of(image)], port) == [0x0000]
    assert _stored(database) == [image.SOPInstanceUID]
