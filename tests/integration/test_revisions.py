"""What comes late makes a new revision that replaces the old result; what is not used changes nothing."""

import io
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.peers.peer import Peer
from tests.support.archive import running_archive
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import Pacs, instance_of, running_pacs, store
from tests.support.small_study import make_small_study, uid_of


def _send(node: Node, images: list[Dataset]) -> None:
    assert set(store([instance_of(ds) for ds in images], node.settings.node.dicom_port)) == {0x0000}


def _results(node: Node, pacs: Pacs, study_uid: str) -> dict[str, Dataset]:
    """Return what the destination holds of the study's standing result, by kind."""
    study = node.study(study_uid)
    assert study is not None
    return {kind: _read(pacs, uid) for kind, uid, _ in study.results}


def _read(pacs: Pacs, sop_instance_uid: str) -> Dataset:
    (content,) = pacs.received[sop_instance_uid]
    ds = pydicom.dcmread(io.BytesIO(content), force=True)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _tracking(seg: Dataset) -> dict[str, str]:
    return {item.SegmentLabel: str(item.TrackingUID) for item in seg.SegmentSequence}


def test_a_late_series_replaces_the_result_and_a_series_of_no_use_leaves_it(tmp_path: Path) -> None:
    images = make_small_study("late")
    study_uid = str(images[0].StudyInstanceUID)
    early = [ds for ds in images if ds.SeriesDescription != "FLAIR"]
    late = [ds for ds in images if ds.SeriesDescription == "FLAIR"]
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        _send(node, early)
        waiting = node.wait_for_state(study_uid, {"receiving"})
        assert waiting.instances == len(early)
        node.wait_for_state(study_uid, {"delivered"})
        first = _results(node, pacs, study_uid)
        assert "PredecessorDocumentsSequence" not in first["SR"]

        _send(node, late)
        assert node.wait_for_state(study_uid, {"queued", "running"}).revision == 2
        node.wait_for_state(study_uid, {"delivered"})
        second = _results(node, pacs, study_uid)
        (replaced,) = second["SR"].PredecessorDocumentsSequence
        (series,) = replaced.ReferencedSeriesSequence
        assert replaced.StudyInstanceUID == study_uid
        assert series.SeriesInstanceUID == first["SR"].SeriesInstanceUID
        assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first["SR"].SOPInstanceUID
        assert second["SEG"].SOPInstanceUID != first["SEG"].SOPInstanceUID
        shared = set(_tracking(first["SEG"])) & set(_tracking(second["SEG"]))
        assert shared
        assert {label: _tracking(first["SEG"])[label] for label in shared} == {
            label: _tracking(second["SEG"])[label] for label in shared
        }

        sent = set(pacs.received)
        _send(node, _scout(images[0]))
        node.wait_for_state(study_uid, {"receiving", "queued"})
        standing = node.wait_for_state(study_uid, {"delivered"})
        assert standing.revision == 2
        assert _results(node, pacs, study_uid).keys() == second.keys()
        assert set(pacs.received) == sent
        runs = node.rows("glionode.sqlite", "SELECT state, reason FROM run ORDER BY ready_at, revision")
        assert runs[-1] == ("unchanged", "the new images are not used; the result of revision 2 remains valid")


def _scout(like: Dataset) -> list[Dataset]:
    """Return one large coronal picture, as planning scans are."""
    ds = Dataset()
    ds.update(like)
    ds.file_meta = like.file_meta
    ds.SeriesInstanceUID, ds.SOPInstanceUID = uid_of("late", "scout"), uid_of("late", "scout", "0")
    ds.SeriesNumber, ds.SeriesDescription = 99, "localizer"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return [ds]


def test_a_patient_corrected_in_the_pacs_reaches_later_results(tmp_path: Path) -> None:
    images = make_small_study("corrected")
    with running_archive() as archive:
        for ds in make_small_study("corrected", patient_id="MERGED", patient_name="Müller^Änne"):
            ds.SpecificCharacterSet = "ISO_IR 100"
            archive.put(ds)
        where = {"host": "127.0.0.1", "port": archive.port, "is_destination": True, "is_source": True}
        peer = Peer(name="Archive", ae_title="ARCHIVE", **where)  # type: ignore[arg-type]
        with running_node(tmp_path, [SENDER, peer]) as node:
            _send(node, images)
            study = node.wait_for_state(str(images[0].StudyInstanceUID), {"delivered"})
            sent = [archive.holds[uid] for _, uid, _ in study.results]
            assert {(str(ds.PatientID), str(ds.PatientName)) for ds in sent} == {("MERGED", "Müller^Änne")}
            told = [decision.reason for decision in study.decisions if decision.code == "demographics_corrected"]
            assert told == [
                "PatientID, PatientName: the PACS differs from the images; the results use the PACS's values"
            ]
            assert "Müller" not in node.log_file.read_text(encoding="utf-8")
