"""What a real listener refuses, for each of its reasons, with a patient in every value: nothing of that is written."""

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.dimse_primitives import C_FIND, C_STORE, N_EVENT_REPORT

from dicom_node.database.maintenance import set_maintenance
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, remove_peer
from tests.support.canary import AE_TITLE, TEXT, UID, leaks, mark
from tests.support.pacs import VERIFICATION, Instance, association, echo, instance_of, store
from tests.support.raw_line import raw_line
from tests.support.raw_request import answer_to, associate_request, context_item, user_item
from tests.support.raw_values import put_raw, reread
from tests.support.role_process import RoleProcess, role_process
from tests.support.small_study import make_small_study

COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
SMALL_GIB, NO_ROOM_GIB = "0.001", "1e6"
PEERS = [
    Peer(name="Sender", ae_title="SENDER"),
    Peer(name="Archive", ae_title="ARCHIVE", host="127.0.0.1", port=1, is_destination=True, may_send=False),
    Peer(name="Wren", ae_title=AE_TITLE),  # a peer is logged by what the site calls it
]


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleProcess]:
    environment = {"GLIONODE_NODE_DICOM_PORT": "0", "GLIONODE_LIMITS_DATA_SET_GIB": SMALL_GIB}
    with role_process("listen", tmp_path_factory.mktemp("door"), environment) as started:
        for peer in PEERS[:2]:
            put_peer(started.database, peer)
        yield started


def _port(listener: RoleProcess) -> int:
    return int(listener.wait_for("listening")[0]["port"])


def _image() -> Dataset:
    ds = mark(make_small_study("door", ["FLAIR"])[0], series=True)
    ds.StudyID, ds.ReferringPhysicianName = TEXT[:16], ds.PatientName
    return ds


def _sent(change: Callable[[Instance], Instance], calling_ae: str = "SENDER") -> Callable[[int], object]:
    return lambda port: store([change(instance_of(_image()))], port, calling_ae)


def _without_valid_uid(keyword: str) -> Callable[[int], object]:
    ds = reread(_image())
    put_raw(ds, keyword, "UI", TEXT[:62].encode("latin-1"))
    return lambda port: store([replace(instance_of(ds), sop_instance_uid=UID)], port)


def _deflated(size: int, cut: int | None) -> Callable[[Instance], Instance]:
    def change(one: Instance) -> Instance:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        deflated = packer.compress(one.data_set + bytes(size)) + packer.flush()
        return replace(one, transfer_syntax_uid=DeflatedExplicitVRLittleEndian, data_set=deflated[:cut])

    return change


def _over(contexts: str, request: Any) -> Callable[[int], object]:  # noqa: ANN401 - any request of pynetdicom's
    """Send a request over a context for something else, below the checks of the library."""

    def speak(port: int) -> object:
        with association([(contexts, ExplicitVRLittleEndian)], port) as assoc:
            (context,) = assoc.accepted_contexts
            assoc._reactor_checkpoint.clear()
            assoc.dimse.send_msg(request, context.context_id or 0)
            _, answer = assoc.dimse.get_msg(block=True)
            assoc._reactor_checkpoint.set()
            return answer

    return speak


def _store_request() -> C_STORE:
    request, image = C_STORE(), _image()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = image.SOPClassUID, UID
    request.DataSet = io.BytesIO(instance_of(image).data_set)
    return request


def _find_request() -> C_FIND:
    request = C_FIND()
    request.MessageID, request.Priority, request.AffectedSOPClassUID = 1, 2, MRImageStorage
    request.Identifier = io.BytesIO(instance_of(_image()).data_set)
    return request


def _report(content: bytes) -> N_EVENT_REPORT:
    request = N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = 1, 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = COMMITMENT, COMMITMENT_INSTANCE
    request.EventInformation = io.BytesIO(content)
    return request


def _answer_nobody_asked_for() -> bytes:
    ds, item = mark(Dataset()), mark(Dataset())
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, UID
    ds.TransactionUID, ds.ReferencedSOPSequence = UID, [item]
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, UID
    return instance_of(ds).data_set


def _answer_without_references() -> bytes:
    ds = mark(Dataset())
    ds.SOPClassUID, ds.SOPInstanceUID, ds.TransactionUID = MRImageStorage, UID, UID
    ds.ReferencedSOPSequence = [mark(Dataset())]
    return instance_of(ds).data_set


def _garbage(port: int) -> object:
    with raw_line(port) as line:
        line.socket.sendall(b"\x04\0" + len(TEXT).to_bytes(4, "big") + TEXT.encode("latin-1"))
        return line.read_pdu()


def _not_a_command(port: int) -> object:
    with raw_line(port) as line:
        line.send_values([(1, 3, TEXT.encode("latin-1"))])
        return line.read_pdu()


def _request_with(**parts: Any) -> Callable[[int], object]:  # noqa: ANN401
    return lambda port: answer_to(port, associate_request(**parts))


def _title() -> bytes:
    return AE_TITLE.ljust(16).encode()


REFUSED: dict[str, tuple[str, Callable[[int], object]]] = {
    "called title": ("called_ae_title", lambda port: echo(port, called_ae=AE_TITLE)),
    "calling title": ("calling_ae_title", lambda port: echo(port, calling_ae=AE_TITLE)),
    "may not send": ("calling_ae_title", _sent(lambda one: one, "ARCHIVE")),
    "another UID": ("uid_mismatch", _sent(lambda one: replace(one, sop_instance_uid=UID))),
    "a name for a UID": ("uid_mismatch", _sent(lambda one: replace(one, sop_instance_uid=TEXT[:40]))),
    "no study UID": ("invalid_uid", _without_valid_uid("StudyInstanceUID")),
    "no series UID": ("invalid_uid", _without_valid_uid("SeriesInstanceUID")),
    "text alone": ("invalid_uid", _sent(lambda one: replace(one, data_set=TEXT.encode()))),
    "a text cut short": (
        "invalid_uid",
        _sent(lambda one: replace(one, data_set=b"\x08\0\x05\0CS\xff\xff" + TEXT.encode())),
    ),
    "deflated, cut short": ("unreadable_data_set", _sent(_deflated(0, -40))),
    "another class within": (
        "sop_class_mismatch",
        lambda port: store([replace(_other_class(), sop_class_uid=MRImageStorage)], port),
    ),
    "another context": ("sop_class_mismatch", _over(VERIFICATION, _store_request())),
    "a find": ("unsupported_operation", _over(MRImageStorage, _find_request())),
    "too large": ("data_set_too_large", _sent(lambda one: replace(one, data_set=one.data_set + bytes(2**21)))),
    "an answer nobody asked for": ("unknown_commitment", _over(COMMITMENT, _report(_answer_nobody_asked_for()))),
    "an answer without references": ("unknown_commitment", _over(COMMITMENT, _report(_answer_without_references()))),
    "garbage": ("protocol_error", _garbage),
    "no command": ("protocol_error", _not_a_command),
    "no request": ("bad_association_request", lambda port: answer_to(port, TEXT.encode())),
    "an odd request": (
        "bad_association_request",
        _request_with(calling=_title(), items=[context_item(rest=TEXT.encode()), user_item(version=TEXT.encode())]),
    ),
    "a strange request": ("called_ae_title", _request_with(calling=_title(), called=TEXT[:16].encode())),
}


def _other_class() -> Instance:
    ds = _image()
    ds.SOPClassUID = CTImageStorage
    return instance_of(ds)


def _refused(listener: RoleProcess, speak: Callable[[int], object]) -> tuple[dict[str, Any], str]:
    """Do what is refused; return what is told of it, and what was written since."""
    port, events, size = _port(listener), len(listener.events("refused")), len(listener.written())
    speak(port)
    told = listener.wait_for("refused", events + 1)[events]
    return told, listener.written()[size:]


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_told_by_its_code_alone(name: str, listener: RoleProcess) -> None:
    code, speak = REFUSED[name]
    told, written = _refused(listener, speak)
    assert told["code"] == code
    assert leaks(written) == []


def test_a_peer_is_told_by_the_name_that_the_site_gave_it(listener: RoleProcess) -> None:
    put_peer(listener.database, PEERS[2])
    told, written = _refused(listener, _sent(lambda one: replace(one, sop_instance_uid=UID), AE_TITLE))
    remove_peer(listener.database, "Wren")
    assert (told["code"], told["peer"]) == ("uid_mismatch", "Wren")
    assert leaks(written) == []


def test_who_is_turned_away_in_maintenance_is_not_named(listener: RoleProcess) -> None:
    set_maintenance(listener.database, "test", on=True)
    told, written = _refused(listener, lambda port: echo(port, calling_ae=AE_TITLE))
    set_maintenance(listener.database, "test", on=False)
    assert told["code"] == "maintenance"
    assert leaks(written) == []


def test_what_finds_no_room_is_not_named(tmp_path: Path) -> None:
    environment = {"GLIONODE_NODE_DICOM_PORT": "0", "GLIONODE_LIMITS_FREE_DISK_GIB": NO_ROOM_GIB}
    with role_process("listen", tmp_path, environment) as listener:
        put_peer(listener.database, PEERS[0])
        assert store([instance_of(_image())], _port(listener)) == [0xA700]
        assert listener.wait_for("refused")[0]["code"] == "disk_full"
        assert leaks(listener.written()) == []
        limits = Path(f"/proc/{listener.pid}/limits").read_text("ascii")
        assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]


@pytest.mark.parametrize("table", ["refusal", "peer", "instance"])
def test_what_meets_broken_books_is_not_named(table: str, listener: RoleProcess) -> None:
    """A statement that fails is quoted with its values by the error that the database raises."""
    size, events = len(listener.written()), len(listener.events("refused"))
    _rename(listener, table, "gone")
    if table == "instance":
        assert store([instance_of(_image())], _port(listener)) == [0x0000]  # the journal has it
        listener.wait_for("not_filed")
    else:
        assert not echo(_port(listener), calling_ae=AE_TITLE if table == "refusal" else "SENDER")
        listener.wait_for("refused", events + 1)
    _rename(listener, "gone", table)
    assert leaks(listener.written()[size:]) == []


def _rename(listener: RoleProcess, table: str, name: str) -> None:
    with listener.database.session() as session:
        session.execute(sa.text(f"ALTER TABLE {table} RENAME TO {name}"))
