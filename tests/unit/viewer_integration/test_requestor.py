"""The requestor over raw sockets: a line that fails is no answer, and a peer's habits are read over."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from tests.support.odd_scp import USER_ITEMS, OddScp, item, odd_scp
from tests.support.small_study import make_small_study
from viewer_integration.transport import association
from viewer_integration.transport.association import ContextRequest, RemoteEntity, open_association
from viewer_integration.transport.delivery import send_files

FIND, GET, MOVE = (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
CONTEXTS: list[ContextRequest] = [
    (one, ImplicitVRLittleEndian) for one in (Verification, FIND, GET, MOVE, MRImageStorage, StorageCommitmentPushModel)
]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Return three images as files."""
    paths = []
    for number, ds in enumerate(make_small_study("requestor", roles=["FLAIR"])[:3]):
        paths.append(tmp_path / f"{number}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


@contextmanager
def _associated(scp: OddScp) -> Iterator[Association]:
    assoc, refusal = open_association(scp.remote, "GLIONODE", CONTEXTS)
    assert refusal == ""
    yield assoc
    if assoc.is_established:
        assoc.release()


def _wait_for_the_end(assoc: Association) -> None:
    deadline = time.monotonic() + 20
    while assoc.is_alive():
        assert time.monotonic() < deadline, "the association has not ended"
        time.sleep(0.01)


def _last(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Dataset:
    (answer,) = answers
    return answer[0]


def _keys() -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", "1.2"
    return ds


def _image() -> Dataset:
    return make_small_study("requestor", roles=["FLAIR"])[0]


REQUESTS: dict[str, Callable[[Association], object]] = {
    "C-ECHO": lambda assoc: assoc.send_c_echo(),
    "C-STORE": lambda assoc: assoc.send_c_store(_image()),
    "C-FIND": lambda assoc: _last(assoc.send_c_find(_keys(), FIND)),
    "C-GET": lambda assoc: _last(assoc.send_c_get(_keys(), GET)),
    "C-MOVE": lambda assoc: _last(assoc.send_c_move(_keys(), "GLIONODE", MOVE)),
    "N-ACTION": lambda assoc: assoc.send_n_action(
        _keys(), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    )[0],
}


@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_request_after_the_line_has_failed_has_no_answer(request_name: str) -> None:
    with odd_scp(OddScp()) as scp, _associated(scp) as assoc:
        _hang_up(assoc)
        _wait_for_the_end(assoc)
        assert REQUESTS[request_name](assoc) == Dataset()
        assoc.release()
        assoc.abort()


def _hang_up(assoc: Association) -> None:
    """Let the connection fail, as when a PACS starts anew."""
    transport = assoc.dul.socket
    assert transport is not None
    assert transport.socket is not None
    transport.socket.shutdown(socket.SHUT_RDWR)


def test_what_is_wrong_with_a_request_itself_is_still_told() -> None:
    with odd_scp(OddScp()) as scp, _associated(scp) as assoc:
        with pytest.raises(ValueError, match="No presentation context"):
            assoc.send_c_find(_keys(), "1.2.840.10008.5.1.4.1.2.1.1")
        with pytest.raises(AttributeError, match="SOPClassUID"):
            assoc.send_c_store(_without_class())


def _without_class() -> Dataset:
    ds = Dataset()
    ds.PatientID = "1"
    return ds


class _Restarting(type(Path())):  # type: ignore[misc]
    """A file during whose reading the PACS that it is for starts anew."""

    ended = False

    def __fspath__(self) -> str:
        lines = [each for each in threading.enumerate() if each.name.startswith("RequestorThread")]
        for each in lines:
            assert isinstance(each, Association)
            _hang_up(each)
            _wait_for_the_end(each)
            type(self).ended = True
        return super().__fspath__()


def test_a_pacs_that_starts_anew_while_a_file_is_read_is_a_receipt(files: list[Path]) -> None:
    with odd_scp(OddScp()) as scp:
        receipts = list(send_files([files[0], _Restarting(files[1]), files[2]], scp.remote, "GLIONODE"))
    assert _Restarting.ended, "the line was cut where it should be"
    assert [(each.accepted, each.status) for each in receipts] == [(True, 0), (False, None), (False, None)]
    assert [each.reason for each in receipts[1:]] == [
        "ODD gave no answer",
        "ODD closed the association; not sent",
    ]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("no-such-host.invalid", "this machine cannot resolve the host name no-such-host.invalid"),
        ("a..b", "'a..b' is not a host name"),
    ],
)
def test_a_host_that_cannot_be_found_is_said(files: list[Path], host: str, told: str) -> None:
    remote = RemoteEntity(name="PACS", ae_title="PACS", host=host, port=104)
    receipts = list(send_files(files, remote, "GLIONODE"))
    assert [(each.accepted, each.status) for each in receipts] == [(False, None)] * 3
    assert all(told in each.reason for each in receipts)


def test_a_pdu_that_claims_gigabytes_is_not_read() -> None:
    claim = struct.pack(">BBI", 0x04, 0, 2**32 - 1) + bytes(1000)
    with odd_scp(OddScp(acceptance=lambda pdu: pdu + claim)) as scp, _associated(scp) as assoc:
        _wait_for_the_end(assoc)
        assert REQUESTS["C-ECHO"](assoc) == Dataset()


class _Endless(OddScp):
    """Answers with a message of 32 MiB that has no end, all command or all data set."""

    is_command = True

    def _answer(self, context: int, syntax: str, command: bytes, data: bytes) -> bytes:
        size = 2**19
        fragment = struct.pack(">BBIIBB", 0x04, 0, size + 6, size + 2, context, int(self.is_command)) + bytes(size)
        answer = super()._answer(context, syntax, command, data)
        without, with_data = (struct.pack("<HHIH", 0, 0x0800, 2, kind) for kind in (0x0101, 0x0000))
        return (b"" if self.is_command else answer.replace(without, with_data)) + 64 * fragment


@pytest.mark.parametrize("is_command", [True, False])
def test_an_answer_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch, *, is_command: bool) -> None:
    monkeypatch.setattr(association, "ANSWER_TIMEOUT_S", 10)
    endless = _Endless()
    endless.is_command = is_command
    with odd_scp(endless) as scp, _associated(scp) as assoc:
        assert REQUESTS["C-ECHO"](assoc) == Dataset()
        _wait_for_the_end(assoc)
        held = assoc.dimse.message
        assert held is not None
        size = held.encoded_command_set.tell() + held.data_set.tell()
        assert 2**20 < size < association.ANSWER_BYTES + 2**20


HABITS = {
    "to the letter": USER_ITEMS,
    "no maximum length": item(0x52, b"1.2.3.4"),
    "no user information": b"",
    "a long version name": USER_ITEMS + item(0x55, b"A VERY LONG VERSION NAME"),
    "a version name that is no text": USER_ITEMS + item(0x55, b"\xff\x00V1\0"),
    "an empty version name": USER_ITEMS + item(0x55, b""),
    "items that nobody defined": USER_ITEMS + item(0x5F, b"?") + item(0xEE, b""),
    "a padded class UID": item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3\0"),
    "a class UID that is none": item(0x51, struct.pack(">I", 16384)) + item(0x52, b"VENDOR"),
    "a length of three bytes": item(0x51, b"\0\1\0") + item(0x52, b"1.2.3"),
    "a length of nought": item(0x51, bytes(4)) + item(0x52, b"1.2.3"),
    "a length that takes nothing": item(0x51, struct.pack(">I", 1)) + item(0x52, b"1.2.3"),
    "a length of 128 bytes": item(0x51, struct.pack(">I", 128)) + item(0x52, b"1.2.3"),
    "the same twice": USER_ITEMS + USER_ITEMS,
    "asynchronous operations": USER_ITEMS + item(0x53, struct.pack(">HH", 0, 0)),
    "extended negotiation": USER_ITEMS + item(0x56, b"\0\3"),
}


@pytest.mark.parametrize("habit", HABITS)
def test_objects_reach_a_peer_with_habits(files: list[Path], habit: str) -> None:
    with odd_scp(OddScp(user_items=HABITS[habit])) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [(each.accepted, each.status, each.reason) for each in receipts] == [(True, 0, "")] * 3
    assert [uid for uid, _, _ in scp.stored] == [pydicom.dcmread(path).SOPInstanceUID for path in files]


def _with_nul_titles(pdu: bytes) -> bytes:
    return pdu[:10] + bytes(32) + pdu[42:]


def _with_an_unknown_item(pdu: bytes) -> bytes:
    return _sized(pdu[:74] + item(0x7E, b"?") + pdu[74:])


def _with_a_padded_syntax(pdu: bytes) -> bytes:
    """Pad the transfer syntax of the first context, and change the lengths around it."""
    at = pdu.index(item(0x40, b"1.2.840.10008.1.2.1")) - 8
    length = struct.unpack(">H", pdu[at + 2 : at + 4])[0]
    context, rest = pdu[at + 4 : at + 8], pdu[at + 4 + length :]
    return _sized(pdu[:at] + item(0x21, context + item(0x40, b"1.2.840.10008.1.2.1\0")) + rest)


def _sized(pdu: bytes) -> bytes:
    return pdu[:2] + struct.pack(">I", len(pdu) - 6) + pdu[6:]


@pytest.mark.parametrize("acceptance", [_with_nul_titles, _with_an_unknown_item, _with_a_padded_syntax])
def test_objects_reach_a_peer_whose_acceptance_is_not_to_the_letter(
    files: list[Path], acceptance: Callable[[bytes], bytes]
) -> None:
    with odd_scp(OddScp(acceptance=acceptance)) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [(each.accepted, each.reason) for each in receipts] == [(True, "")] * 3


@pytest.mark.parametrize(
    ("acceptance", "told"),
    [
        (lambda pdu: _sized(pdu[:80]), "something that is not DICOM"),
        (lambda _: struct.pack(">BBIBBBB", 0x07, 0, 4, 0, 0, 0, 0), "aborted the association"),
        (
            lambda _: struct.pack(">BBIBBBB", 0x03, 0, 4, 0, 1, 1, 3),
            "this node's AE title is configured there",
        ),
        (lambda _: struct.pack(">BBIBBBB", 0x03, 0, 4, 0, 1, 1, 7), "it does not recognise the called AE title"),
        (lambda _: struct.pack(">BBIBBBB", 0x03, 0, 4, 0, 2, 3, 2), "its reason: Local limit exceeded"),
        (lambda _: struct.pack(">BBIBBBB", 0x03, 0, 4, 0, 9, 9, 99), "rejected the association"),
        (lambda _: struct.pack(">BBIBB", 0x03, 0, 2, 0, 1), "it gave no readable reason"),
        (lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n", "accepted the connection, but no association"),
    ],
    ids=["unreadable", "abort", "calling", "called", "busy", "senseless", "cut", "http"],
)
def test_why_there_is_no_association_is_said_of_the_right_side(
    files: list[Path], acceptance: Callable[[bytes], bytes], told: str
) -> None:
    with odd_scp(OddScp(acceptance=acceptance)) as scp:
        receipts = list(send_files(files[:1], scp.remote, "GLIONODE"))
    assert told in receipts[0].reason


def test_a_peer_that_takes_nothing_is_not_said_to_have_aborted(files: list[Path]) -> None:
    with odd_scp(OddScp(takes=())) as scp:
        (receipt,) = send_files(files[:1], scp.remote, "GLIONODE")
    assert receipt.reason.endswith("accepts none of the offered kinds of object (SOP classes) and transfer syntaxes")


def test_a_peer_that_closes_after_one_object_keeps_that_one(files: list[Path]) -> None:
    with odd_scp(OddScp(stores=1)) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [each.accepted for each in receipts] == [True, False, False]
    assert {each.reason for each in receipts[1:]} <= {"ODD gave no answer", "ODD closed the association; not sent"}
    assert len(scp.stored) == 1


def _with_element(answer: bytes, element: int, value: int) -> bytes:
    """Return an answer with another number in an element of its command set."""
    at = answer.index(struct.pack("<HHI", 0, element, 2)) + 8
    return answer[:at] + struct.pack("<H", value) + answer[at + 2 :]


STATUS, ANSWERED = 0x0900, 0x0120


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_is_accepted(files: list[Path], status: int) -> None:
    with odd_scp(OddScp(answer=lambda pdu: _with_element(pdu, STATUS, status))) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [(each.accepted, each.status) for each in receipts] == [(True, status)] * 3


def test_an_answer_to_what_was_never_asked_proves_nothing(files: list[Path]) -> None:
    with odd_scp(OddScp(answer=lambda pdu: _with_element(pdu, ANSWERED, 999))) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert not any(each.accepted for each in receipts)
    assert receipts[0].reason == "ODD gave no answer"


def test_an_answer_that_comes_twice_is_not_that_to_the_next_object(files: list[Path]) -> None:
    answers = iter(range(len(files)))

    def answer(pdu: bytes) -> bytes:
        return pdu + pdu if next(answers) == 0 else _with_element(pdu, STATUS, 0xA700)

    with odd_scp(OddScp(answer=answer)) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [each.status for each in receipts] == [0x0000, 0xA700, 0xA700]
    assert [each.accepted for each in receipts] == [True, False, False]


def test_an_answer_of_which_nothing_can_be_made_ends_in_a_sentence(files: list[Path]) -> None:
    """A thread that ends by an exception would fail this test."""
    with odd_scp(OddScp(answer=lambda pdu: pdu[:12] + b"\xff" * (len(pdu) - 12))) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [each.accepted for each in receipts] == [False] * 3
    assert receipts[0].reason == "ODD gave no answer"


def test_a_peer_that_freezes_with_its_connection_open_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(association, "ANSWER_TIMEOUT_S", 1)
    ds = _image()
    ds.Rows, ds.Columns = 4096, 4096
    ds.PixelData = bytes(2 * 4096 * 4096)  # more than the connection's buffers hold
    ds.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    frozen = threading.Event()
    with odd_scp(OddScp(reads=frozen)) as scp:
        (receipt,) = send_files([tmp_path / "large.dcm"], scp.remote, "GLIONODE")
        frozen.set()
    assert (receipt.accepted, receipt.status, receipt.reason) == (False, None, "ODD gave no answer")


def test_a_plain_object_is_offered_and_sent_in_the_default_syntax(files: list[Path]) -> None:
    with odd_scp(OddScp(takes=[ImplicitVRLittleEndian])) as scp:
        receipts = list(send_files(files, scp.remote, "GLIONODE"))
    assert [(each.accepted, each.reason) for each in receipts] == [(True, "")] * 3
    for path, (_, syntax, data) in zip(files, scp.stored, strict=True):
        assert syntax == ImplicitVRLittleEndian
        sent = pydicom.filereader.read_dataset(
            pydicom.filebase.DicomBytesIO(data), is_implicit_VR=True, is_little_endian=True
        )
        kept = pydicom.dcmread(path)
        assert sent.PixelData == kept.PixelData
        assert sent.PatientName == kept.PatientName
    assert {syntaxes for _, syntaxes in scp.proposed} == {(ExplicitVRLittleEndian,), (ImplicitVRLittleEndian,)}
