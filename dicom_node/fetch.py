"""The node fetches studies: by WADO-RS, C-GET or C-MOVE, with priors of the same patient if wanted."""

import email.parser
import email.policy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pydicom
import structlog
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedMRImageStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from pynetdicom import build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.database import Database
from dicom_node.inbox import Inbox, InboxRefusal
from dicom_node.peer import Peer
from dicom_node.query import PENDING, QueryFailed, StudyFound, demographics_of, studies_of_patient
from dicom_node.settings import Settings
from dicom_node.store_command import CANNOT_UNDERSTAND
from viewer_integration.association import open_association

__all__ = ["Fetched", "Fetcher"]

_log = structlog.get_logger()

FETCHED_CLASSES = (
    MRImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    SegmentationStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    SecondaryCaptureImageStorage,
)
"""What a study of interest holds; a C-GET has to name each kind before it comes."""

WEB_TIMEOUT_S = 600.0

Progress = Callable[[int], None]
"""Told how many instances have come."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came of one study.

    Attributes
    ----------
    by
        ``WADO-RS``, ``C-GET`` or ``C-MOVE``.
    failed
        Instances that the source could not send.
    """

    study_uid: str
    by: str
    instances: int
    failed: int = 0


def show_nothing(_count: int) -> None:
    """Show no progress."""


class Fetcher:
    """Fetches from one source into the node's own inbox."""

    def __init__(
        self, settings: Settings, database: Database, source: Peer, progress: Progress = lambda _: None
    ) -> None:
        self._calling_ae = settings.node.ae_title
        self._inbox = Inbox(database, settings.node.folder)
        self._source = source
        self._progress = progress

    def fetch(self, study_uid: str, priors: int = 0) -> list[Fetched]:
        """Fetch a study and the newest earlier MR studies of its patient.

        The patient is whom the source takes the study for now, so that a correction or a merge there counts.

        Raises
        ------
        QueryFailed
            When the source cannot be asked, does not know the study, or sends nothing of it.
        """
        earlier = self._priors(study_uid)[:priors] if priors else []
        return [self._one(uid) for uid in (study_uid, *(study.study_uid for study in earlier))]

    def _priors(self, study_uid: str) -> list[StudyFound]:
        patient_id = demographics_of(self._source, self._calling_ae, study_uid).get("PatientID", "")
        if not patient_id:
            raise QueryFailed(f"{self._source.name} does not know the study or its patient")
        found = studies_of_patient(self._source, self._calling_ae, patient_id)
        date = next((study.date for study in found if study.study_uid == study_uid), "99999999")
        earlier = [study for study in found if study.study_uid != study_uid and study.has_mr and study.date <= date]
        return sorted(earlier, key=lambda study: study.date, reverse=True)

    def _one(self, study_uid: str) -> Fetched:
        if self._source.dicomweb_url:
            done = self._by_web(study_uid)
        else:
            done = self._by_get(study_uid) or self._by_move(study_uid)
        if not done.instances:
            raise QueryFailed(f"{self._source.name} sent nothing of the study; does it hold it?")
        _log.info("fetched", by=done.by, instances=done.instances, failed=done.failed)
        return done

    def _by_web(self, study_uid: str) -> Fetched:
        wanted = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        try:
            answer = httpx.get(
                f"{self._source.dicomweb_url}/studies/{study_uid}",
                headers=wanted | self._source.web_headers,
                timeout=WEB_TIMEOUT_S,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise QueryFailed(f"{self._source.name} answered {error.response.status_code} to WADO-RS") from error
        except httpx.HTTPError as error:
            raise QueryFailed(f"{self._source.name} could not be asked by WADO-RS ({type(error).__name__})") from error
        count = failed = 0
        for content in _parts(answer.content, answer.headers.get("content-type", "")):
            try:
                self._keep(content)
            except (InboxRefusal, InvalidDicomError) as error:
                failed += 1
                _log.warning("fetched_unreadable", error=type(error).__name__)
            else:
                count += 1
                self._progress(count)
        return Fetched(study_uid=study_uid, by="WADO-RS", instances=count, failed=failed)

    def _keep(self, content: bytes) -> None:
        """Store a file as if it had come by C-STORE: its data set begins behind the meta group (PS3.10 7.1)."""
        meta = pydicom.dcmread(io.BytesIO(content), specific_tags=[], stop_before_pixels=True).file_meta
        offset = 128 + 4 + 12 + int(meta.FileMetaInformationGroupLength)
        uid = str(meta.MediaStorageSOPInstanceUID)
        self._inbox.receive(content, content[offset:], self._source.ae_title, uid)

    def _by_get(self, study_uid: str) -> Fetched | None:
        """Fetch over the association that asks; None where the source does not offer that."""
        count = 0

        def on_store(event: evt.Event) -> int:
            nonlocal count
            request: Any = event.request
            uid = str(request.AffectedSOPInstanceUID)
            try:
                self._inbox.receive(event.encoded_dataset(), request.DataSet.getvalue(), self._source.ae_title, uid)
            except InboxRefusal:
                return CANNOT_UNDERSTAND  # the source counts it among what failed
            count += 1
            self._progress(count)
            return 0x0000

        model = StudyRootQueryRetrieveInformationModelGet
        syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        contexts = [(one, syntax) for one in (model, *FETCHED_CLASSES) for syntax in syntaxes]
        roles = [build_role(one, scp_role=True) for one in FETCHED_CLASSES]
        handlers = [(evt.EVT_C_STORE, on_store)]
        assoc, refusal = open_association(
            self._source.remote, self._calling_ae, contexts, ext_neg=roles, evt_handlers=handlers
        )
        if refusal:
            raise QueryFailed(refusal)
        try:
            if not any(context.abstract_syntax == model for context in assoc.accepted_contexts):
                return None
            failed = self._await(assoc.send_c_get(_study(study_uid), model), "C-GET")
        finally:
            if assoc.is_established:
                assoc.release()
        return Fetched(study_uid=study_uid, by="C-GET", instances=count, failed=failed)

    def _by_move(self, study_uid: str) -> Fetched:
        """Have the source send to this node's listener, which it has to know by its AE title."""
        model = StudyRootQueryRetrieveInformationModelMove
        contexts = [(model, syntax) for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)]
        assoc, refusal = open_association(self._source.remote, self._calling_ae, contexts)
        if refusal:
            raise QueryFailed(refusal)
        try:
            if not assoc.accepted_contexts:
                raise QueryFailed(f"{self._source.remote.where} offers neither C-GET nor C-MOVE")
            counted = _Counted()
            failed = self._await(counted.of(assoc.send_c_move(_study(study_uid), self._calling_ae, model)), "C-MOVE")
        finally:
            if assoc.is_established:
                assoc.release()
        return Fetched(study_uid=study_uid, by="C-MOVE", instances=counted.completed, failed=failed)

    def _await(self, answers: Iterator[tuple[Dataset, Dataset | None]], name: str) -> int:
        """Wait for the final answer; return how many instances failed."""
        code: int | None = None
        failed = 0
        for status, _ in answers:
            code = status.get("Status")
            failed = int(status.get("NumberOfFailedSuboperations") or 0)
            if code not in PENDING and code not in (0x0000, 0xB000):
                break
        if code in (0x0000, 0xB000):
            return failed
        said = "gave no answer" if code is None else f"answered 0x{code:04X}"
        raise QueryFailed(f"{self._source.remote.where} {said} to the {name}")


class _Counted:
    """Passes answers on, and keeps how many instances are through."""

    completed = 0

    def of(self, answers: Iterator[tuple[Dataset, Dataset | None]]) -> Iterator[tuple[Dataset, Dataset | None]]:
        for status, identifier in answers:
            self.completed = int(status.get("NumberOfCompletedSuboperations") or self.completed)
            yield status, identifier


def _study(study_uid: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", study_uid
    return ds


def _parts(content: bytes, content_type: str) -> Iterator[bytes]:
    """Yield the parts of a multipart answer (RFC 2046)."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
    for part in message.iter_parts():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield payload
