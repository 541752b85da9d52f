"""Delivery to a real Orthanc with proof: storage commitment, query, STOW-RS, and each destination's own profile."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pydicom
import pytest

from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from tests.support.node import SENDER, Node, running_node
from tests.support.orthanc import Orthanc, free_port, running_orthanc
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study
from tests.support.waiting import ANSWER_S

pytestmark = [pytest.mark.orthanc, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Orthanc]]:
    """Run a node and an Orthanc that know each other."""
    folder, port = tmp_path_factory.mktemp("proof"), free_port()
    with (
        running_orthanc(folder / "orthanc", {"GLIONODE": ("127.0.0.1", port)}) as orthanc,
        running_node(folder, [SENDER], {"GLIONODE_NODE_DICOM_PORT": str(port)}) as node,
    ):
        yield node, orthanc


def _peer(orthanc: Orthanc, **changed: Any) -> Peer:  # noqa: ANN401 - any field of a peer
    peer = Peer(name="Orthanc", ae_title="ORTHANC", host="127.0.0.1", port=orthanc.dicom_port, is_destination=True)
    return replace(peer, **changed)


def _delivered(node: Node, peer: Peer, name: str) -> tuple[str, list[tuple[Any, ...]]]:
    """Send a study with one destination; return its UID and what the books say of each object's delivery."""
    put_peer(node.database, peer)
    images = make_small_study(name)
    assert set(store([instance_of(ds) for ds in images], node.settings.node.dicom_port)) == {0x0000}
    study_uid = str(images[0].StudyInstanceUID)
    node.wait_for_state(study_uid, {"delivered"})
    query = (
        "SELECT result.kind, delivery.proof, delivery.status, delivery.attempts, result.path FROM delivery "
        "JOIN result USING (sop_instance_uid) WHERE result.study_uid = ? ORDER BY result.kind"
    )
    return study_uid, node.rows("glionode.sqlite", query, study_uid)


def _files(orthanc: Orthanc, study_uid: str) -> dict[str, pydicom.FileDataset]:
    """Return what Orthanc holds of a study, by modality."""
    found = {}
    asked = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}}
    for one in httpx.post(f"{orthanc.url}/tools/find", json=asked, timeout=ANSWER_S).raise_for_status().json():
        content = httpx.get(f"{orthanc.url}/instances/{one}/file", timeout=ANSWER_S).raise_for_status().content
        ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
        assert ds.Modality not in found, "every object once"
        found[ds.Modality] = ds
    return found


@pytest.mark.parametrize(
    ("changed", "proof"),
    [
        ({}, "commitment"),
        ({"proof": "commitment"}, "commitment"),
        ({"proof": "query"}, "query"),
        ({"proof": "none"}, "none"),
    ],
    ids=["auto", "commitment", "query", "none"],
)
def test_what_orthanc_accepts_is_proven(pair: tuple[Node, Orthanc], changed: dict[str, str], proof: str) -> None:
    node, orthanc = pair
    study_uid, rows = _delivered(node, _peer(orthanc, **changed), f"proof {changed}")
    assert [row[:4] for row in rows] == [("SEG", proof, 0, 1), ("SR", proof, 0, 1)]
    assert set(_files(orthanc, study_uid)) == {"SEG", "SR"}


def test_stow_rs_is_proven_by_qido_rs(pair: tuple[Node, Orthanc]) -> None:
    node, orthanc = pair
    by_web = {"host": "", "port": 0, "dicomweb_url": orthanc.dicomweb_root, "send_by": "stow-rs"}
    study_uid, rows = _delivered(node, _peer(orthanc, **by_web), "by web")
    assert [row[:4] for row in rows] == [("SEG", "query", 0, 1), ("SR", "query", 0, 1)]
    assert set(_files(orthanc, study_uid)) == {"SEG", "SR"}


def test_a_destination_gets_what_it_wants(pair: tuple[Node, Orthanc]) -> None:
    node, orthanc = pair
    wishes = {"objects": "SEG", "seg_form": "labelmap", "seg_series": 99, "transfer_syntax": "implicit"}
    study_uid, rows = _delivered(node, _peer(orthanc, **wishes), "wishes")
    assert [row[:2] for row in rows] == [("SEG", "commitment")]
    assert rows[0][4].endswith("/labelmap-99-7702/SEG.dcm")
    (seg,) = _files(orthanc, study_uid).values()
    assert (seg.SegmentationType, seg.SeriesNumber) == ("LABELMAP", 99)
    kept = pydicom.dcmread(node.settings.node.folder / rows[0][4])
    assert (seg.pixel_array == kept.pixel_array).all()
    assert seg.SOPInstanceUID == kept.SOPInstanceUID
