"""What both acceptors promise: the prompt one, and pynetdicom's own where its version is another one than is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from pynetdicom.transport import RequestHandler

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import AssociationEnd
from dicom_node.database.tables import AssociationRow, InstanceRow, RefusalRow
from dicom_node.reception.acceptor import server
from dicom_node.reception.acceptor.prompt_association import PromptRequestHandler
from tests.support.pacs import Line, OpenSockets, association, echo, instance_of, store
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

VERIFICATION = [("1.2.840.10008.1.1", ExplicitVRLittleEndian)]
ACCEPTORS = {"prompt": server.KNOWN_VERSION, "stock": "9.9.9"}


@pytest.fixture(params=ACCEPTORS, autouse=True)
def acceptor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the listener find the version that it knows, or another one."""
    monkeypatch.setattr(server, "KNOWN_VERSION", ACCEPTORS[request.param])
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    return str(request.param)


@pytest.fixture
def images() -> list[Dataset]:
    return make_small_study("contract", roles=["FLAIR"])


def _stored(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow).order_by(InstanceRow.id)))


def _refusal(database: Database) -> RefusalRow:
    def found() -> list[RefusalRow]:
        with database.session() as session:
            return list(session.scalars(sa.select(RefusalRow)))

    wait_until(lambda: bool(found()))
    (row,) = found()
    return row


def _ends(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(AssociationRow.end)))


def test_an_echo_is_answered_by_the_acceptor_that_is_meant(
    port: int, acceptor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[type[RequestHandler]] = []
    real = RequestHandler.__init__

    def noted(self: RequestHandler, *arguments: object, **named: object) -> None:
        seen.append(type(self))
        real(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(RequestHandler, "__init__", noted)
    assert echo(port)
    assert seen == [PromptRequestHandler if acceptor == "prompt" else RequestHandler]


def test_bytes_are_stored_as_received_and_once(
    port: int, folder: Path, database: Database, images: list[Dataset]
) -> None:
    sent = [instance_of(image) for image in images]
    assert store(sent, port) == [0x0000] * len(images)
    assert store(sent, port) == [0x0000] * len(images)
    rows = _stored(database)
    assert {row.sop_instance_uid for row in rows} == {image.SOPInstanceUID for image in images}
    assert len(rows) == len(images)
    for row in rows:
        (one,) = [one for one in sent if one.sop_instance_uid == row.sop_instance_uid]
        assert (folder / row.path).read_bytes().endswith(one.data_set)


def test_compressed_bytes_are_stored_in_their_own_syntax(
    port: int, folder: Path, database: Database, images: list[Dataset]
) -> None:
    images[0].PixelData = encapsulate([b"no decoder reads this"])
    images[0]["PixelData"].VR = "OB"
    images[0]["PixelData"].is_undefined_length = True
    assert store([instance_of(images[0], JPEG2000Lossless)], port) == [0x0000]
    (row,) = _stored(database)
    assert pydicom.dcmread(folder / row.path).file_meta.TransferSyntaxUID == JPEG2000Lossless


def test_who_is_not_let_in_hears_why(port: int, database: Database) -> None:
    with pytest.raises(ConnectionRefusedError, match="rejected"), association(VERIFICATION, port, "STRANGER"):
        pass
    assert (_refusal(database).code, _refusal(database).calling_ae) == ("calling_ae_title", "STRANGER")


def test_in_maintenance_senders_are_asked_to_come_again(port: int, database: Database) -> None:
    set_maintenance(database, on=True, who="Ada")
    assert not echo(port)
    assert _refusal(database).code == "maintenance"
    set_maintenance(database, on=False, who="Ada")
    assert echo(port)


def test_one_association_too_many_is_rejected(start: Callable[..., int], database: Database) -> None:
    port = start(GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="1")
    with association(VERIFICATION, port):
        assert not echo(port)
    assert _refusal(database).code == "association_limit"
    wait_until(lambda: echo(port))


def test_a_full_disk_is_refused(start: Callable[..., int], database: Database, images: list[Dataset]) -> None:
    port = start(GLIONODE_LIMITS_FREE_DISK_GIB="1e9")
    assert store([instance_of(images[0])], port) == [0xA700]
    assert _refusal(database).code == "disk_full"
    assert _stored(database) == []


def test_what_is_too_large_is_refused(start: Callable[..., int], database: Database, images: list[Dataset]) -> None:
    sent = instance_of(images[0])
    port = start(GLIONODE_LIMITS_DATA_SET_GIB=f"{(len(sent.data_set) - 1) / 2**30:.12f}")
    assert store([sent], port) == [0xA700]
    assert _refusal(database).code == "data_set_too_large"
    assert _stored(database) == []


def test_a_request_that_names_another_instance_is_refused(port: int, database: Database, images: list[Dataset]) -> None:
    assert store([replace(instance_of(images[0]), sop_instance_uid="1.2.826.7")], port) == [0xA900]
    assert _refusal(database).code == "uid_mismatch"


def test_a_data_set_of_another_class_than_its_request_is_refused(
    port: int, database: Database, images: list[Dataset]
) -> None:
    assert store([replace(instance_of(images[0]), sop_class_uid=CTImageStorage)], port) == [0xA900]
    assert _refusal(database).code == "sop_class_mismatch"
    assert _stored(database) == []


def test_an_answer_about_commitment_reaches_the_node(port: int, database: Database) -> None:
    answer = Dataset()
    answer.TransactionUID, answer.ReferencedSOPSequence = "1.2.3", []
    entity, sockets = AE(ae_title="SENDER"), OpenSockets()
    entity.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = entity.associate("127.0.0.1", port, ae_title="GLIONODE", ext_neg=[role], evt_handlers=[sockets.handler])
    try:
        assert assoc.is_established
        model, instance = StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        status, _ = assoc.send_n_event_report(answer, 1, model, instance)
        assert status.Status == 0x0112
    finally:
        assoc.release()
        sockets.close()
    assert _refusal(database).code == "unknown_commitment"


def test_the_end_of_an_association_is_noted(port: int, database: Database, images: list[Dataset]) -> None:
    assert store([instance_of(images[0])], port) == [0x0000]
    wait_until(lambda: AssociationEnd.OPEN not in _ends(database))
    assert _ends(database) == [AssociationEnd.RELEASED]
    line = Line(port, [instance_of(images[1])])
    assert line.send(instance_of(images[1])) == 0x0000
    line.close(abort=True)
    wait_until(lambda: AssociationEnd.OPEN not in _ends(database))
    assert sorted(_ends(database)) == [AssociationEnd.ABORTED, AssociationEnd.RELEASED]
