"""A synthetic study to a real Orthanc and back, by every way that a peer's profile allows."""

from pathlib import Path
from typing import Any

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import StudyRow, utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.retrieval.round_trip import IMAGES, Answered, Patience, RoundTrip
from dicom_node.settings import Settings
from dicom_node.studies.assembly import TEST_STUDY, Assembly
from tests.support.orthanc import Orthanc, running_orthanc

pytestmark = pytest.mark.orthanc

ROUTES_EVERYTHING = "function OnStoredInstance(instance) SendToModality(instance, 'GLIONODE') end"
"""Unlike the node's own script, which sends nothing back that came from the node."""


def _peer(orthanc: Orthanc, way: str) -> Peer:
    by_dicom = {"host": "127.0.0.1", "port": orthanc.dicom_port}
    ways: dict[str, dict[str, Any]] = {
        "C-GET": {**by_dicom, "is_source": True},
        "DICOMweb": {"dicomweb_url": orthanc.dicomweb_root, "send_by": "stow-rs", "is_source": True},
        "routed": by_dicom,
    }
    return Peer(name="Orthanc", ae_title="ORTHANC", transfer_syntax="implicit", **ways[way])


@pytest.mark.usefixtures("listener")
@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("C-GET", ["make", "send", "find", "fetch", "compare"]),
        ("DICOMweb", ["make", "send", "find", "fetch", "compare"]),
        ("routed", ["make", "send", "wait", "compare"]),
    ],
)
def test_every_image_comes_back_and_none_is_processed(
    settings: Settings, database: Database, tmp_path: Path, way: str, expected: list[str]
) -> None:
    steps: list[Answered] = []
    script = tmp_path / "route.lua"
    script.write_text(ROUTES_EVERYTHING, encoding="utf-8")
    options = {"LuaScripts": [str(script)]} if way == "routed" else {}
    with running_orthanc(
        tmp_path / "orthanc", {"GLIONODE": ("127.0.0.1", settings.node.dicom_port)}, **options
    ) as pacs:
        peer = _peer(pacs, way)
        put_peer(database, peer)
        trip = RoundTrip(settings, database, peer, steps.append, Patience(routed_s=60.0))
        passed = trip.run()
        held = pacs.instances(trip.study_uid)
    assert (passed, [(one.step, one.ok) for one in steps]) == (True, [(step, True) for step in expected])
    assert steps[-1].sentence == f"Came back unchanged (pixels and identifiers): {IMAGES} of {IMAGES} images."
    assert len(held) == IMAGES
    Assembly(database, settings.node.folder, settings.assembly, "GLIONODE").ready_studies(utc_now())
    with database.session() as session:
        (study,) = session.query(StudyRow).all()
    assert (study.study_uid, study.state, study.reason) == (trip.study_uid, StudyState.KEPT_OUT, TEST_STUDY)
