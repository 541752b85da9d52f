"""Sends a small synthetic study to a peer, gets it back, and compares every image: the test of a connection."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from conversion.encoding import read_instance
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import instances_of_study
from dicom_node.peers.query_answers import QueryFailed
from dicom_node.peers.web_source import WebLimits
from dicom_node.phantom.connection_uids import new_test_uids
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings
from viewer_integration.transport.delivery import DeliveryReceipt, send_files
from viewer_integration.transport.stow import store_over_web

__all__ = ["IMAGES", "Answered", "Patience", "RoundTrip"]

IMAGES = 6
_OTHERS = 3
"""UIDs of a study that are not of an image: study, series, frame of reference."""

_SYNTAXES = {"explicit": None, "implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
_LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a test waits.

    Attributes
    ----------
    shown_s
        Until the peer lists what it has accepted.
    fetched_s
        For a C-GET, C-MOVE or WADO-RS.
    routed_s
        For a peer that is not queried, or sends nothing when asked, to route the study to this node.
    """

    shown_s: float = 20.0
    fetched_s: float = 60.0
    routed_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One step of a test and the answer to it.

    Attributes
    ----------
    step
        ``make``, ``send``, ``find``, ``fetch``, ``wait`` or ``compare``.
    ok
        None where the step says something without being right or wrong.
    sentence
        What came of it, and what to try where it failed.
    took_s
        How long it took.
    """

    step: str
    ok: bool | None
    sentence: str
    took_s: float = 0.0


Note = Callable[[Answered], None]


class RoundTrip:
    """One test of one peer.

    Parameters
    ----------
    note
        Called with each step when it has ended.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        peer: Peer,
        note: Note,
        patience: Patience = Patience(),
    ) -> None:
        self._settings, self._database, self._peer = settings, database, peer
        self._note, self._patience = note, patience
        self._uids = new_test_uids(_OTHERS + IMAGES)
        self._since = time.monotonic()

    @property
    def study_uid(self) -> str:
        """Study Instance UID of the synthetic study."""
        return self._uids[0]

    def run(self) -> bool:
        """Make, send, fetch and compare; return whether every image came back unchanged."""
        from dicom_node.phantom.connection_study import write_connection_study  # noqa: PLC0415 - loads scipy

        with tempfile.TemporaryDirectory(prefix="glionode-test-") as scratch:
            self._since = time.monotonic()
            sent = write_connection_study(Path(scratch), self._uids)
            self._tell("make", f"Made a synthetic MR study of {len(sent)} images; it is of no patient.", ok=True)
            if not self._send(sent):
                return False
            if not (self._peer.is_source and self._find() and self._fetch()):
                self._wait()
            return self._compare(sent)

    def _tell(self, step: str, sentence: str, *, ok: bool | None) -> None:
        now = time.monotonic()
        self._note(Answered(step=step, ok=ok, sentence=sentence, took_s=round(now - self._since, 2)))
        self._since = now

    def _send(self, paths: Sequence[Path]) -> bool:
        by = "STOW-RS" if self._peer.send_by == "stow-rs" else "C-STORE"
        receipts = list(self._receipts(paths))
        accepted = sum(one.accepted for one in receipts)
        reasons = sorted({one.reason for one in receipts if one.reason})
        why = f": {'; '.join(reasons)}" if reasons else ""
        self._tell("send", f"Accepted by {by}: {accepted} of {len(paths)} images{why}.", ok=accepted == len(paths))
        return accepted == len(paths)

    def _receipts(self, paths: Sequence[Path]) -> Sequence[DeliveryReceipt]:
        peer = self._peer
        if peer.send_by == "stow-rs":
            return list(store_over_web(paths, peer.name, peer.dicomweb_url, peer.web_headers))
        calling_ae = self._settings.node.ae_title
        return list(send_files(paths, peer.remote, calling_ae, _SYNTAXES[peer.transfer_syntax]))

    def _find(self) -> bool:
        """Query until the peer lists every image: an archive may show them a moment after it accepted them."""
        by, deadline = "QIDO-RS" if self._peer.dicomweb_url else "C-FIND", time.monotonic() + self._patience.shown_s
        while True:
            try:
                held = instances_of_study(self._peer, self._settings.node.ae_title, self.study_uid)
            except QueryFailed as failure:
                self._tell("find", f"It could not be queried by {by}: {failure}.", ok=False)
                return False
            listed = len(frozenset().union(*held.values()) & frozenset(self._uids[_OTHERS:]))
            if listed == IMAGES or time.monotonic() > deadline:
                self._tell("find", f"Listed by {by}: {listed} of {IMAGES} images.", ok=listed == IMAGES)
                return listed == IMAGES
            time.sleep(_LOOK_S)

    def _fetch(self) -> bool:
        limits = WebLimits(first_s=self._patience.fetched_s, whole_s=self._patience.fetched_s)
        fetcher = Fetcher(
            self._settings, self._database, self._peer, web_limits=limits, longest_s=self._patience.fetched_s
        )
        try:
            (done,) = fetcher.fetch(self.study_uid)
        except QueryFailed as failure:
            title = self._settings.node.ae_title
            hint = (
                f"For C-MOVE it has to know this node's AE title {title}, host and port, and be allowed to send here."
            )
            self._tell("fetch", f"It sent nothing back when asked: {failure}. {hint}", ok=False)
            return False
        self._tell("fetch", f"Sent back when asked: {done.sentence}.", ok=done.complete and not done.failed)
        return True

    def _wait(self) -> None:
        """Wait for a peer that routes what it receives to this node."""
        deadline = time.monotonic() + self._patience.routed_s
        while len(self._returned()) < IMAGES and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        count = len(self._returned())
        sentence = f"Routed back to this node by itself: {count} of {IMAGES} images."
        if not count:
            sentence += " It may not route what this node sends; mark it as queried for its studies to ask for them."
        self._tell("wait", sentence, ok=count == IMAGES)

    def _returned(self) -> dict[str, InstanceRow]:
        """Return what this node has received of the study, by SOP Instance UID."""
        received = sa.select(InstanceRow).where(InstanceRow.study_uid == self.study_uid, InstanceRow.current)
        with self._database.session() as session:
            return {row.sop_instance_uid: row for row in session.scalars(received)}

    def _compare(self, sent: Sequence[Path]) -> bool:
        """Compare pixels and identifiers of what was sent with what came back."""
        returned, differs = self._returned(), []
        for path, uid in zip(sent, self._uids[_OTHERS:], strict=True):
            row = returned.get(uid)
            if row is None:
                differs.append("missing")
            elif found := _differences(path, self._settings.node.folder / row.path):
                differs.append(found)
        same = IMAGES - len(differs)
        sentence = f"Came back unchanged (pixels and identifiers): {same} of {IMAGES} images."
        if differs:
            kinds = sorted(set(differs))
            sentence += f" Not the same: {'; '.join(f'{differs.count(kind)} x {kind}' for kind in kinds)}."
        self._tell("compare", sentence, ok=not differs)
        return not differs


_IDENTIFIERS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
)


def _differences(sent: Path, returned: Path) -> str:
    """Return what differs between two files; empty where nothing does."""
    try:
        before, after = read_instance(sent), read_instance(returned)
        found = [keyword for keyword in _IDENTIFIERS if str(before.get(keyword)) != str(after.get(keyword))]
        return ", ".join([*found, *(["pixels"] if _hash(before) != _hash(after) else [])])
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for what a peer has made of a file
        return f"unreadable ({type(error).__name__})"


def _hash(ds: Dataset) -> str:
    pixels = ds.pixel_array
    return hashlib.sha256(f"{pixels.shape} ".encode() + pixels.astype("<i4").tobytes()).hexdigest()
