"""What a peer says it holds of a study, asked by C-FIND over real sockets, and what is said when it cannot be asked."""

import gc
from collections.abc import Iterator
from copy import deepcopy

import pytest

from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed, instances_of_study
from tests.support.archive import Archive, running_archive
from tests.support.small_study import SLICES, make_small_study


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive() as running:
        yield running


def _peer(archive: Archive, **changed: object) -> Peer:
    where: dict[str, object] = {"host": "127.0.0.1", "port": archive.port} | changed
    return Peer(name="Archive", ae_title="ARCHIVE", is_source=True, **where)  # type: ignore[arg-type]


def test_a_study_is_counted_at_the_level_of_instances(archive: Archive) -> None:
    images = make_small_study("asked", roles=["T1", "FLAIR"])
    archive.put(*images, *make_small_study("another"))
    held = instances_of_study(_peer(archive), "GLIONODE", str(images[0].StudyInstanceUID))
    assert {uid: len(instances) for uid, instances in held.items()} == {
        str(images[0].SeriesInstanceUID): SLICES,
        str(images[-1].SeriesInstanceUID): SLICES,
    }
    assert frozenset().union(*held.values()) == {str(ds.SOPInstanceUID) for ds in images}
    assert archive.asked == ["SERIES", "IMAGE", "IMAGE"]


def test_what_is_no_mr_is_not_counted(archive: Archive) -> None:
    images = make_small_study("asked", roles=["FLAIR"])
    report = deepcopy(images[0])
    report.Modality, report.SeriesInstanceUID, report.SOPInstanceUID = "SR", "1.2.3", "1.2.3.4"
    archive.put(*images, report)
    assert set(instances_of_study(_peer(archive), "GLIONODE", str(images[0].StudyInstanceUID))) == {
        str(images[0].SeriesInstanceUID)
    }


def test_a_study_that_the_peer_does_not_know_has_nothing(archive: Archive) -> None:
    assert instances_of_study(_peer(archive), "GLIONODE", "1.2.3") == {}


def test_a_failure_is_told_with_its_status(archive: Archive) -> None:
    archive.answer = 0xA700
    with pytest.raises(QueryFailed, match=r"ARCHIVE at 127\.0\.0\.1:\d+ answered 0xA700 to a C-FIND at level SERIES"):
        instances_of_study(_peer(archive), "GLIONODE", "1.2.3")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_peer_that_does_not_answer_is_told(archive: Archive) -> None:
    with pytest.raises(QueryFailed, match="does not answer; check address, port and firewall"):
        instances_of_study(_peer(archive, port=1), "GLIONODE", "1.2.3")
    gc.collect()  # pynetdicom leaves its refused socket to the collector


def test_a_web_address_that_does_not_answer_is_told(archive: Archive) -> None:
    peer = _peer(archive, dicomweb_url="http://127.0.0.1:1/dicom-web")
    with pytest.raises(QueryFailed, match=r"could not be reached by QIDO-RS \(ConnectError\)"):
        instances_of_study(peer, "GLIONODE", "1.2.3")
