"""Delivery against real storage SCPs: every answer becomes a receipt, and nothing raises."""

import gc
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.events import Event

from tests.support.dicom_series import axis_aligned, mr_slices, write_slices
from tests.support.hand_made_run import make_run
from tests.support.mislabelled import mislabel
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.delivery import DeliveryReceipt, send_files

SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
SR_STORAGE = "1.2.840.10008.5.1.4.1.1.88.34"
ALL = (SEG_STORAGE, SR_STORAGE, MRImageStorage)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless]

Answer = Callable[[Event], int | Dataset]


@dataclass(kw_only=True)
class Peer:
    """A storage SCP, and what it saw."""

    destination: RemoteEntity
    stored: list[Dataset] = field(default_factory=list)
    syntaxes: list[str] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)


@contextmanager
def _peer(
    answer: Answer = lambda _: 0x0000, accepts: tuple[str, ...] = ALL, only_caller: str | None = None
) -> Iterator[Peer]:
    """Run an SCP on a free port that answers every C-STORE with `answer`."""
    peer = Peer(destination=RemoteEntity(name="PACS", ae_title="PACS", host="127.0.0.1", port=0))

    def store(event: Event) -> int | Dataset:
        peer.stored.append(event.dataset)
        peer.syntaxes.append(str(event.context.transfer_syntax))
        return answer(event)

    entity = AE(ae_title="PACS")
    for sop_class in accepts:
        entity.add_supported_context(sop_class, [*SYNTAXES, DeflatedExplicitVRLittleEndian])
    if not accepts:
        entity.add_supported_context("1.2.840.10008.1.1")
    entity.require_called_aet = True
    entity.require_calling_aet = [only_caller] if only_caller else []
    handlers: list[evt.EventHandlerType] = [
        (evt.EVT_C_STORE, store),
        (evt.EVT_ACCEPTED, lambda event: peer.callers.append(event.assoc.requestor.ae_title)),
        (evt.EVT_RELEASED, lambda event: peer.releases.append(event.assoc.requestor.ae_title)),
    ]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    peer.destination = RemoteEntity(name="PACS", ae_title="PACS", host="127.0.0.1", port=server.server_address[1])
    with ExitStack() as stack:
        stack.callback(server.shutdown)
        yield peer


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return a SEG and an SR as files."""
    folder = tmp_path_factory.mktemp("results")
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[1:3, 2:6, 2:6] = 2
    paths = []
    for each in make_run(folder / "source", labels, axis_aligned("axial")).encode().objects:
        paths.append(folder / f"{each.kind}.dcm")
        paths[-1].write_bytes(each.content)
    return paths


def _send(paths: list[Path], destination: RemoteEntity) -> list[DeliveryReceipt]:
    return list(send_files(paths, destination, "GLIONODE"))


def _uids(paths: list[Path]) -> list[str]:
    return [str(pydicom.dcmread(path).SOPInstanceUID) for path in paths]


def _wait_for_release(peer: Peer) -> None:
    deadline = time.monotonic() + 20
    while peer.releases != ["GLIONODE"]:
        assert time.monotonic() < deadline, "the association was not released"
        time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_accepted_objects_arrive_as_they_are_over_one_association(results: list[Path]) -> None:
    with _peer() as peer:
        receipts = _send(results, peer.destination)
        _wait_for_release(peer)
    assert [(r.path, r.sop_instance_uid, r.accepted, r.status, r.reason) for r in receipts] == [
        (path, uid, True, 0x0000, "") for path, uid in zip(results, _uids(results), strict=True)
    ]
    assert peer.callers == ["GLIONODE"]
    for sent, stored in zip(map(pydicom.dcmread, results), peer.stored, strict=True):
        assert Dataset(sent) == stored


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0001, 0x0107, 0x0116])
def test_a_warning_counts_as_accepted_and_is_kept(results: list[Path], status: int) -> None:
    with _peer(lambda _: status) as peer:
        (receipt,) = _send(results[:1], peer.destination)
    assert receipt.accepted
    assert receipt.status == status
    assert receipt.reason == f"PACS answered 0x{status:04X}"


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0122, 0x0124])
def test_a_refusal_is_kept_and_the_next_object_is_still_sent(results: list[Path], status: int) -> None:
    with _peer(lambda event: status if event.request.AffectedSOPClassUID == SEG_STORAGE else 0x0000) as peer:
        refused, accepted = _send(results, peer.destination)
    assert (refused.accepted, refused.status) == (False, status)
    assert refused.reason == f"PACS answered 0x{status:04X}"
    assert (accepted.accepted, accepted.status) == (True, 0x0000)


def test_what_the_peer_says_about_its_answer_is_kept(results: list[Path]) -> None:
    def full(_: Event) -> Dataset:
        status = Dataset()
        status.Status, status.ErrorComment = 0xA700, "disk full"
        return status

    with _peer(full) as peer:
        (receipt,) = _send(results[:1], peer.destination)
    assert receipt.reason == "PACS answered 0xA700: disk full"


def test_a_rejected_association_is_told_apart(results: list[Path]) -> None:
    with _peer(only_caller="SOMEONE") as peer:
        receipts = _send(results, peer.destination)
    assert [(r.accepted, r.status) for r in receipts] == [(False, None)] * 2
    assert all("rejected the association" in r.reason and "AE title" in r.reason for r in receipts)
    assert [r.sop_instance_uid for r in receipts] == _uids(results)
    assert peer.stored == []


def test_a_wrong_called_ae_title_is_rejected(results: list[Path]) -> None:
    with _peer() as peer:
        wrong = RemoteEntity(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=peer.destination.port)
        receipts = _send(results, wrong)
    assert all("ARCHIVE at 127.0.0.1" in r.reason and "rejected" in r.reason for r in receipts)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_listening_is_said_for_every_object(results: list[Path]) -> None:
    port = _free_port()
    nobody = RemoteEntity(name="PACS", ae_title="PACS", host="127.0.0.1", port=port)
    receipts = _send(results, nobody)
    assert [(r.accepted, r.status) for r in receipts] == [(False, None)] * 2
    assert {r.reason for r in receipts} == {
        f"PACS at 127.0.0.1:{port} does not answer; check address, port and firewall"
    }
    gc.collect()  # pynetdicom leaves its refused socket to the collector


def test_a_peer_that_takes_no_seg_gets_the_rest(results: list[Path]) -> None:
    with _peer(accepts=(SR_STORAGE,)) as peer:
        seg, report = _send(results, peer.destination)
    assert (seg.accepted, seg.status) == (False, None)
    assert "does not accept this kind of object" in seg.reason
    assert report.accepted
    assert len(peer.stored) == 1


def test_a_peer_that_takes_nothing_is_said_for_every_object(results: list[Path]) -> None:
    with _peer(accepts=()) as peer:
        receipts = _send(results, peer.destination)
    assert [(r.accepted, r.status) for r in receipts] == [(False, None)] * 2
    assert all(r.reason for r in receipts)


def test_what_is_not_dicom_is_not_sent_and_keeps_its_place(results: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "short").write_bytes(b"")
    paths = [results[0], tmp_path / "notes.txt", results[1], tmp_path / "short", tmp_path / "absent"]
    with _peer() as peer:
        receipts = _send(paths, peer.destination)
    assert [r.path for r in receipts] == paths
    assert [r.accepted for r in receipts] == [True, False, True, False, False]
    unread = "the file cannot be read (FileNotFoundError); not sent"
    assert [r.reason for r in receipts if not r.accepted] == [*["not a DICOM file; not sent"] * 2, unread]
    assert len(peer.stored) == 2


@pytest.mark.parametrize("meta", [True, False])
def test_a_class_that_stands_in_one_place_alone_is_known_and_one_that_stands_nowhere_said(
    results: list[Path], tmp_path: Path, *, meta: bool
) -> None:
    ds = pydicom.dcmread(results[0])
    del ds.file_meta.MediaStorageSOPClassUID
    if not meta:
        del ds.SOPClassUID
    pydicom.dcmwrite(tmp_path / "a.dcm", ds, enforce_file_format=False)
    with _peer() as peer:
        (receipt,) = _send([tmp_path / "a.dcm"], peer.destination)
    assert (receipt.accepted, receipt.reason) == (meta, "" if meta else "the file has no SOPClassUID; not sent")
    assert peer.callers == (["GLIONODE"] if meta else []), "there was nothing to associate for"


PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("says", ["", *PLAIN, JPEG2000Lossless, RLELossless])
@pytest.mark.parametrize("true", [*PLAIN, RLELossless], ids=lambda syntax: syntax.name)
def test_a_file_that_is_wrong_about_its_encoding_is_sent_as_it_is(tmp_path: Path, true: UID, says: str) -> None:
    """The peer gets the image, and is not blamed for what the file says."""
    voxels = np.arange(2 * 64, dtype=np.uint16).reshape(2, 8, 8)
    paths = write_slices(tmp_path, mr_slices(voxels, axis_aligned("axial"), "wrong"), transfer_syntax=true)
    before = [pydicom.dcmread(path) for path in paths]
    for path in paths:
        mislabel(path, says)
    with _peer() as peer:
        receipts = _send(paths, peer.destination)
    assert [receipt.reason for receipt in receipts] == ["", ""]
    assert [ds.SOPInstanceUID for ds in peer.stored] == [ds.SOPInstanceUID for ds in before]
    assert [ds.PixelData for ds in peer.stored] == [ds.PixelData for ds in before]
    assert [ds.SeriesDescription for ds in peer.stored] == ["T1 post contrast"] * 2
    assert set(peer.syntaxes) <= ({RLELossless} if true == RLELossless else set(PLAIN))


def test_a_file_in_a_syntax_that_is_none_is_not_sent(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, mr_slices(np.zeros((2, 8, 8), np.uint16), axis_aligned("axial"), "wrong"))
    for path in paths:
        mislabel(path, "1.2.3")
    with _peer() as peer:
        receipts = _send(paths, peer.destination)
    says = "its stated transfer syntax 1.2.3 is not a DICOM transfer syntax; not sent"
    assert {receipt.reason for receipt in receipts} == {says}


def test_nothing_to_send_calls_nobody() -> None:
    with _peer() as peer:
        assert _send([], peer.destination) == []
    assert peer.callers == []


def test_a_peer_that_aborts_is_said_and_the_rest_is_not_lost(results: list[Path]) -> None:
    def hang_up(event: Event) -> int:
        event.assoc.abort()
        return 0x0000

    with _peer(hang_up) as peer:
        receipts = _send(results, peer.destination)
    assert [(r.accepted, r.status) for r in receipts] == [(False, None)] * 2
    assert "no answer" in receipts[0].reason
    assert "closed the association; not sent" in receipts[1].reason


def test_a_handler_that_fails_leaves_the_object_with_the_sender(results: list[Path]) -> None:
    def broken(_: Event) -> int:
        raise OSError

    with _peer(broken) as peer:
        (receipt,) = _send(results[:1], peer.destination)
    assert (receipt.accepted, receipt.status) == (False, 0xC211)


def test_files_are_sent_in_the_transfer_syntax_they_are_stored_in(tmp_path: Path) -> None:
    paths = []
    for syntax in SYNTAXES:
        slices = mr_slices(np.arange(2 * 64, dtype=np.uint16).reshape(2, 8, 8), axis_aligned("axial"), str(syntax))
        paths += write_slices(tmp_path / str(syntax), slices, transfer_syntax=syntax)
    before = [path.read_bytes() for path in paths]
    with _peer() as peer:
        receipts = _send(paths, peer.destination)
    assert all(r.accepted for r in receipts)
    assert peer.syntaxes == [str(syntax) for syntax in SYNTAXES for _ in range(2)]
    assert [path.read_bytes() for path in paths] == before


def test_a_sender_that_stops_early_releases_the_association(results: list[Path]) -> None:
    with _peer() as peer:
        receipts = send_files(results, peer.destination, "GLIONODE")
        assert next(receipts).accepted
        receipts.close()  # type: ignore[attr-defined]
        assert len(peer.stored) == 1
        _wait_for_release(peer)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_objects_are_encoded_anew_for_a_destination_that_wants_it(results: list[Path], syntax: UID) -> None:
    with _peer() as peer:
        receipts = list(send_files(results, peer.destination, "GLIONODE", syntax))
    assert [(receipt.accepted, receipt.status) for receipt in receipts] == [(True, 0)] * 2
    assert peer.syntaxes == [str(syntax)] * 2
    for sent, path in zip(peer.stored, results, strict=True):
        kept = Dataset(pydicom.dcmread(path))
        assert sent.get("PixelData") == kept.get("PixelData")
        for ds in (sent, kept):  # whose value representation depends on the transfer syntax (PS3.5 A.1, A.2)
            ds.pop("PixelData", None)
        assert sent == kept
