"""Studies fetched from a real Orthanc by each of the three ways, and priors asked for by QIDO-RS."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.delivery.outbox import Outbox
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed, demographics_of, instances_of_study
from dicom_node.peers.registry import put_peer
from dicom_node.reception.listener import Listener
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings, read_settings
from tests.support.orthanc import Orthanc, free_port, running_orthanc
from tests.support.small_study import make_small_study

pytestmark = pytest.mark.orthanc


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port = str(free_port())
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": port})


@pytest.fixture
def orthanc(tmp_path: Path, settings: Settings) -> Iterator[Orthanc]:
    """Run an Orthanc that holds a study and an earlier one of the same patient."""
    peers = {"GLIONODE": ("127.0.0.1", settings.node.dicom_port)}
    with running_orthanc(tmp_path / "orthanc", peers) as running:
        for name, date in (("now", "20240601"), ("before", "20230101")):
            for ds in make_small_study(name, roles=["FLAIR"], patient_name="Müller^Änne"):
                ds.StudyDate = date
                path = tmp_path / "one.dcm"
                ds.save_as(path, enforce_file_format=True)
                running.upload(path)
        yield running


def _study_uid(name: str) -> str:
    return str(make_small_study(name, roles=["FLAIR"])[0].StudyInstanceUID)


def _by_dicom(orthanc: Orthanc) -> Peer:
    return Peer(name="Orthanc", ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port, is_source=True)


def _by_web(orthanc: Orthanc) -> Peer:
    return Peer(name="Orthanc", ae_title="ORTHANC", dicomweb_url=orthanc.dicomweb_root, is_source=True)


def _held(database: Database) -> set[tuple[str, str]]:
    with database.session() as session:
        return {(row.study_uid, row.sop_instance_uid) for row in session.scalars(sa.select(InstanceRow))}


def _wanted(*names: str) -> set[tuple[str, str]]:
    images = [ds for name in names for ds in make_small_study(name, roles=["FLAIR"])]
    return {(str(ds.StudyInstanceUID), str(ds.SOPInstanceUID)) for ds in images}


def test_by_wado_rs_with_a_prior_found_by_qido_rs(settings: Settings, database: Database, orthanc: Orthanc) -> None:
    done = Fetcher(settings, database, _by_web(orthanc)).fetch(_study_uid("now"), priors=5)
    assert [(one.by, one.instances, one.failed) for one in done] == [("WADO-RS", 10, 0)] * 2
    assert _held(database) == _wanted("now", "before")


def test_by_c_get(settings: Settings, database: Database, orthanc: Orthanc) -> None:
    done = Fetcher(settings, database, _by_dicom(orthanc)).fetch(_study_uid("now"), priors=1)
    assert [(one.by, one.instances, one.failed) for one in done] == [("C-GET", 10, 0)] * 2
    assert _held(database) == _wanted("now", "before")


def test_by_c_move_to_the_node_s_own_listener(settings: Settings, database: Database, orthanc: Orthanc) -> None:
    put_peer(database, _by_dicom(orthanc))
    listener = Listener(settings, database)
    listener.start()
    try:
        done = Fetcher(settings, database, _by_dicom(orthanc))._by_move(_study_uid("now"))
    finally:
        listener.stop()
    assert (done.by, done.instances, done.failed) == ("C-MOVE", 10, 0)
    assert _held(database) == _wanted("now")


def test_whom_a_study_is_of_is_told_alike_by_c_find_and_by_qido_rs(orthanc: Orthanc) -> None:
    expected = {
        "PatientID": "SMALL-1",
        "PatientName": "Müller^Änne",
        "PatientBirthDate": "19700101",
        "PatientSex": "O",
    }
    for peer in (_by_dicom(orthanc), _by_web(orthanc)):
        assert demographics_of(peer, "GLIONODE", _study_uid("now")) == expected
        assert demographics_of(peer, "GLIONODE", "1.2.3") == {}


def test_an_orthanc_that_wants_authorisation_gets_it_from_the_environment(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.dcm" for number in range(10)]
    for path, ds in zip(paths, make_small_study("now", roles=["FLAIR"]), strict=True):
        ds.save_as(path, enforce_file_format=True)
    options = {"AuthenticationEnabled": True, "RegisteredUsers": {"node": "a secret"}}
    with running_orthanc(tmp_path / "orthanc", **options) as orthanc:
        root = {"dicomweb_url": orthanc.dicomweb_root, "send_by": "stow-rs"}
        peer = Peer(name="Orthanc", ae_title="MY-PACS 1", is_source=True, is_destination=True, **root)
        outbox = Outbox(settings, database, "worker")
        (first, *_) = outbox._receipts(paths, peer)
        assert (first.accepted, first.reason) == (False, "Orthanc answered 401 to STOW-RS, but reported on no object")
        with pytest.raises(QueryFailed, match="answered 401 to WADO-RS"):
            Fetcher(settings, database, peer).fetch(_study_uid("now"))
        header = "Basic " + base64.b64encode(b"node:a secret").decode()
        monkeypatch.setenv("GLIONODE_DICOMWEB_AUTHORIZATION_MY_PACS_1", header)
        monkeypatch.setenv("GLIONODE_DICOMWEB_ORIGIN_MY_PACS_1", orthanc.dicomweb_root)
        assert [one.accepted for one in outbox._receipts(paths, peer)] == [True] * 10
        assert [len(held) for held in instances_of_study(peer, "GLIONODE", _study_uid("now")).values()] == [10]
        (done,) = Fetcher(settings, database, peer).fetch(_study_uid("now"))
        assert (done.by, done.instances) == ("WADO-RS", 10)
    assert _held(database) == _wanted("now")
