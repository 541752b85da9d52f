"""The self-test, and a real Orthanc that is registered and routes each MR instance to the node once."""

import io
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SegmentationStorage,
    generate_uid,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.check import Check
from dicom_node.peers.orthanc import OrthancTarget, connect_orthanc, disconnect_orthanc, lasting_configuration
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import (
    accepted_calling_ae_titles,
    add_peer,
    destinations,
    list_peers,
    put_peer,
    remove_peer,
)
from dicom_node.settings import Settings, config_folder, read_settings
from dicom_node.setup.doctor import diagnose
from tests.support.orthanc import free_port

_DEADLINE_S = 60.0
_MARK_HANDLED = """
local before = OnStableStudy
function OnStableStudy(study, tags, metadata)
  before(study, tags, metadata)
  RestApiPut('/studies/' .. study .. '/metadata/5000', 'handled', false)
end
"""


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited {_DEADLINE_S:g} s for {what}"
        time.sleep(0.05)


@dataclass(kw_only=True)
class _Node:
    """An SCP that accepts the peers of the node's database, and remembers what came."""

    settings: Settings
    database: Database
    received: list[str] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator[None]:
        ae = AE(ae_title=self.settings.node.ae_title)
        ae.require_called_aet = True
        for uid in (Verification, MRImageStorage, CTImageStorage):
            ae.add_supported_context(uid)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REQUESTED, lambda event: self._check(ae, event)),
        ]
        server: Any = ae.start_server(("127.0.0.1", self.settings.node.dicom_port), block=False, evt_handlers=handlers)
        try:
            yield
        finally:
            server.shutdown()

    def _check(self, ae: AE, _event: Any) -> None:  # noqa: ANN401
        ae.require_calling_aet = sorted(accepted_calling_ae_titles(self.database))

    def _store(self, event: Any) -> int:  # noqa: ANN401
        self.received.append(event.request.AffectedSOPInstanceUID)
        return 0x0000


@pytest.fixture
def node(tmp_path: Path) -> _Node:
    defaults = read_settings(environment={})
    settings = replace(defaults, node=replace(defaults.node, folder=tmp_path / "node", dicom_port=free_port()))
    return _Node(settings=settings, database=open_database(settings.database_url))


@dataclass(frozen=True, kw_only=True)
class _Orthanc:
    url: str
    dicom_port: int
    client: httpx.Client

    def upload(self, dataset: Dataset) -> None:
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        self.client.post("/instances", content=file.getvalue()).raise_for_status()

    def changes(self, kind: str) -> int:
        answer = self.client.get("/changes", params={"since": 0, "limit": 10000}).json()
        return sum(change["ChangeType"] == kind for change in answer["Changes"])

    def jobs(self, state: str) -> list[str]:
        return [job["ID"] for job in self.client.get("/jobs", params={"expand": ""}).json() if job["State"] == state]


@contextmanager
def _orthanc(folder: Path, auth: tuple[str, str] | None = None, **options: object) -> Iterator[_Orthanc]:
    folder.mkdir(parents=True, exist_ok=True)
    http_port, dicom_port = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "StableAge": 1,
        "ExecuteLuaEnabled": True,
        **options,
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(configuration), encoding="utf-8")
    url = f"http://127.0.0.1:{http_port}"
    with (folder / "log.txt").open("w") as log, httpx.Client(base_url=url, auth=auth, timeout=20) as client:
        process = subprocess.Popen(["Orthanc", str(path)], stdout=log, stderr=log, cwd=folder)
        try:
            _wait_for(lambda: _answers(client), "Orthanc")
            yield _Orthanc(url=url, dicom_port=dicom_port, client=client)
        finally:
            process.terminate()
            process.wait(timeout=_DEADLINE_S)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/system").is_success
    except httpx.TransportError:
        return False


def _instance(study_uid: str, modality: str, sop_class: str) -> Dataset:
    ds = Dataset()
    ds.PatientID, ds.PatientName, ds.Modality = "PHANTOM", "Phantom", modality
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = UID(study_uid), generate_uid(), generate_uid()
    ds.SOPClassUID = UID(sop_class)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def _send_result(settings: Settings, orthanc: _Orthanc, dataset: Dataset) -> None:
    ae = AE(ae_title=settings.node.ae_title)
    ae.add_requested_context(dataset.SOPClassUID)
    assoc = ae.associate("127.0.0.1", orthanc.dicom_port, ae_title="ORTHANC")
    assert assoc.is_established
    assert assoc.send_c_store(dataset).Status == 0x0000
    assoc.release()


def _failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.ok]


@pytest.mark.orthanc
def test_orthanc_routes_each_mr_once_and_results_do_not_loop(node: _Node, tmp_path: Path) -> None:
    with node.listening(), _orthanc(tmp_path / "orthanc") as orthanc:
        target = OrthancTarget(url=orthanc.url)
        for _ in range(2):  # repeating it changes nothing
            assert _failed(connect_orthanc(target, node.settings, node.database)) == []
        assert [(peer.name, peer.port) for peer in destinations(node.database)] == [("Orthanc", orthanc.dicom_port)]

        study_uid = generate_uid()
        images = [_instance(study_uid, "MR", MRImageStorage) for _ in range(5)]
        for dataset in (*images, _instance(study_uid, "CT", CTImageStorage)):
            orthanc.upload(dataset)
        _wait_for(lambda: len(orthanc.jobs("Success")) == 1, "the study to be routed")
        assert sorted(node.received) == sorted(image.SOPInstanceUID for image in images)

        _send_result(node.settings, orthanc, _instance(study_uid, "SEG", SegmentationStorage))
        _send_result(node.settings, orthanc, _instance(study_uid, "MR", MRImageStorage))  # a derived image of the node
        _wait_for(lambda: orthanc.changes("StableStudy") == 2, "the study to be stable with its results")

        late = _instance(study_uid, "MR", MRImageStorage)
        orthanc.upload(late)  # stable events are handled in order: had the results been routed, it was before this
        _wait_for(lambda: late.SOPInstanceUID in node.received, "the late instance")
        assert len(node.received) == 6
        assert orthanc.client.get("/statistics").json()["CountStudies"] == 1


@pytest.mark.orthanc
def test_what_the_node_missed_is_sent_when_the_job_is_resubmitted(node: _Node, tmp_path: Path) -> None:
    with _orthanc(tmp_path / "orthanc") as orthanc:
        checks = connect_orthanc(OrthancTarget(url=orthanc.url), node.settings, node.database)
        assert _failed(checks) == ["echo from Orthanc"]
        assert "glionode serve" in next(check.detail for check in checks if not check.ok)
        study_uid = generate_uid()
        first, second = (_instance(study_uid, "MR", MRImageStorage) for _ in range(2))
        orthanc.upload(first)
        _wait_for(lambda: len(orthanc.jobs("Failure")) == 1, "the job to fail")
        with node.listening():
            orthanc.client.post(f"/jobs/{orthanc.jobs('Failure')[0]}/resubmit", content=b"").raise_for_status()
            _wait_for(lambda: len(orthanc.jobs("Success")) == 1, "the job to succeed")
            orthanc.upload(second)
            _wait_for(lambda: len(orthanc.jobs("Success")) == 2, "the second job")
    assert node.received == [first.SOPInstanceUID, second.SOPInstanceUID]


@pytest.mark.orthanc
def test_the_configuration_that_lasts_routes_after_a_restart(node: _Node, tmp_path: Path) -> None:
    text = lasting_configuration(OrthancTarget(url="http://127.0.0.1:8042"), node.settings)
    fragment = json.loads(text[text.index("{") :])
    folder = tmp_path / "orthanc"
    folder.mkdir()
    shutil.copy(config_folder() / "orthanc" / "route-to-glionode.lua", folder)
    add_peer(node.database, Peer(name="Orthanc", ae_title="ORTHANC"))
    options = {**fragment, "StableAge": 1, "ExecuteLuaEnabled": False}
    with node.listening(), _orthanc(folder, **options) as orthanc:
        image = _instance(generate_uid(), "MR", MRImageStorage)
        orthanc.upload(image)
        _wait_for(lambda: bool(node.received), "the study to be routed")
        assert node.received == [image.SOPInstanceUID]


@pytest.mark.orthanc
def test_a_removed_node_is_sent_nothing(node: _Node, tmp_path: Path) -> None:
    with node.listening(), _orthanc(tmp_path / "orthanc") as orthanc:
        target = OrthancTarget(url=orthanc.url)
        connect_orthanc(target, node.settings, node.database)
        for _ in range(2):  # the second time there is nothing to remove
            assert _failed(disconnect_orthanc(target, node.database)) == []
        assert list_peers(node.database) == []
        assert orthanc.client.get("/modalities").json() == []
        orthanc.client.post("/tools/execute-script", content=_MARK_HANDLED).raise_for_status()
        orthanc.upload(_instance(generate_uid(), "MR", MRImageStorage))
        study = orthanc.client.get("/studies").json()[0]
        handled = f"/studies/{study}/metadata/5000"
        _wait_for(lambda: orthanc.client.get(handled).is_success, "the script to see the stable study")
        assert orthanc.client.get("/jobs").json() == []


@pytest.mark.orthanc
def test_an_orthanc_that_runs_no_scripts_says_so(node: _Node, tmp_path: Path) -> None:
    with node.listening(), _orthanc(tmp_path / "orthanc", ExecuteLuaEnabled=False) as orthanc:
        checks = connect_orthanc(OrthancTarget(url=orthanc.url), node.settings, node.database)
    assert _failed(checks) == ["routing"]
    assert "ExecuteLuaEnabled is false" in checks[-1].detail


@pytest.mark.orthanc
def test_what_a_person_changed_of_orthanc_stays(node: _Node, tmp_path: Path) -> None:
    with node.listening(), _orthanc(tmp_path / "orthanc") as orthanc:
        target = OrthancTarget(url=orthanc.url)
        assert _failed(connect_orthanc(target, node.settings, node.database)) == []
        (added,) = list_peers(node.database)
        changed = replace(added, name="Archive", proof="query", objects="SEG", is_urgent=True, seg_series=900)
        remove_peer(node.database, added.name)
        put_peer(node.database, changed)
        assert _failed(connect_orthanc(target, node.settings, node.database)) == []
        assert list_peers(node.database) == [changed]


@pytest.mark.orthanc
def test_orthanc_wants_its_password(node: _Node, tmp_path: Path) -> None:
    user, password = "doctor", "correct horse"
    options = {"AuthenticationEnabled": True, "RegisteredUsers": {user: password}}
    with node.listening(), _orthanc(tmp_path / "orthanc", auth=(user, password), **options) as orthanc:
        wrong = OrthancTarget(url=orthanc.url, username=user, password="wrong")  # noqa: S106
        (check,) = connect_orthanc(wrong, node.settings, node.database)
        assert "requires a user name and a password" in check.detail
        assert list_peers(node.database) == []
        right = OrthancTarget(url=orthanc.url, username=user, password=password)
        assert _failed(connect_orthanc(right, node.settings, node.database)) == []
        assert password not in repr(right)


def test_an_orthanc_that_is_not_there(node: _Node) -> None:
    (check,) = connect_orthanc(OrthancTarget(url="http://127.0.0.1:9"), node.settings, node.database)
    assert not check.ok
    assert check.detail.startswith("Orthanc cannot be reached at http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["127.0.0.1:8042", "ftp://host", "http://host:port", ""])
def test_a_url_that_is_none(node: _Node, url: str) -> None:
    (check,) = connect_orthanc(OrthancTarget(url=url), node.settings, node.database)
    assert "should look like http://127.0.0.1:8042" in check.detail


def _named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_node_that_runs_is_well(node: _Node) -> None:
    with node.listening():
        add_peer(
            node.database,
            Peer(name="Itself", ae_title="GLIONODE", host="127.0.0.1", port=node.settings.node.dicom_port),
        )
        checks = diagnose(node.settings, node.database)
    assert [check.name for check in checks] == [
        "folder",
        "disk",
        "model",
        "viewer",
        "https",
        "database",
        "listener",
        "peer Itself",
    ]
    assert _named(checks, "folder").ok
    assert _named(checks, "database").ok
    assert _named(checks, "listener") == Check(
        name="listener",
        ok=True,
        detail=f"GLIONODE at 127.0.0.1:{node.settings.node.dicom_port} answered the C-ECHO.",
    )


def test_a_node_without_senders_says_so(node: _Node) -> None:
    add_peer(node.database, Peer(name="Nobody", ae_title="NOBODY", enabled=False))
    ae = AE(ae_title="GLIONODE")
    ae.require_calling_aet = ["SOMEBODY"]
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", node.settings.node.dicom_port), block=False)
    check = _named(diagnose(node.settings, node.database), "listener")
    server.shutdown()
    assert check.ok
    assert "no peer may send to it" in check.detail


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom 3.0.4 after a refused connection
def test_what_is_not_there_is_said(node: _Node, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    settings = replace(
        node.settings,
        node=replace(node.settings.node, folder=blocked / "inside"),
        processing=replace(node.settings.processing, model="no-such-model"),
        viewer=replace(node.settings.viewer, folder=str(tmp_path)),
    )
    away = Peer(name="Away", ae_title="AWAY", host="127.0.0.1", port=free_port())
    checks = diagnose(settings, node.database, away)
    assert _failed(checks) == ["folder", "disk", "model", "viewer", "peer Away"]
    assert "No node is running" in _named(checks, "listener").detail
    assert "make setup" in _named(checks, "viewer").detail


def test_a_database_that_is_closed_ends_the_test(node: _Node) -> None:
    broken = Database(node.database.engine.execution_options())
    node.database.engine.dispose()
    path = Path(str(node.database.engine.url.database))
    path.unlink()
    path.mkdir()
    checks = diagnose(node.settings, broken)
    assert checks[-1].name == "database"
    assert "does not answer" in checks[-1].detail
