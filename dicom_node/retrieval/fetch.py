"""Fetches studies by WADO-RS, C-GET or C-MOVE, with priors of the same patient if requested."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from pydicom.dataset import Dataset
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
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_node.audit.codes import Role
from dicom_node.audit.events import remote_node
from dicom_node.audit.queries import record_query
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import PENDING, StudyFound, demographics_of, studies_of_patient
from dicom_node.peers.query_answers import QueryFailed, is_uid
from dicom_node.peers.web_source import WebLimits
from dicom_node.reception.acceptor.dimse_commands import CANNOT_UNDERSTAND
from dicom_node.reception.inbox import Inbox
from dicom_node.reception.intake import Fetched, Intake, NoRoom
from dicom_node.retrieval.stored_data_sets import StoredDataSets
from dicom_node.retrieval.wado import fetch_by_web
from dicom_node.settings import Settings
from dicom_node.storage.disk_space import Disk
from viewer_integration.transport.association import ContextRequest, limit_data_sets, open_association

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
"""SOP classes of a study of interest; a C-GET must propose each of them in advance."""

_Answers = Iterator[tuple[Dataset, Dataset | None]]

Progress = Callable[[int], None]
"""Called with the number of instances received so far."""

NO_ROOM = 0xA700
"""Status of a C-STORE that is refused for lack of resources (PS3.4 B.2.3)."""

GET_S = 4 * 3600.0
"""Time limit for a C-GET or C-MOVE; the node aborts the association of a source that does not stop."""

FILED_S = 30.0
"""Time limit for the listener to file what it received: usually within a second, longer when it is busy."""

LOOK_S = 0.1

AFTER_ABORT_S = 0.5


class Fetcher:
    """Fetches studies from one source into the node's inbox.

    Parameters
    ----------
    progress
        Called with the number of instances of a study received so far.
    web_limits
        Time limits for WADO-RS.
    longest_s
        Time limit for a C-GET or C-MOVE; None for `GET_S`.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        source: Peer,
        progress: Progress = lambda _: None,
        web_limits: WebLimits = WebLimits(),  # noqa: B008 - frozen
        longest_s: float | None = None,
    ) -> None:
        self._calling_ae, self._folder = settings.node.ae_title, settings.node.folder
        self._database = database
        self._trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
        self._disk = Disk(settings.node.folder, settings.limits.free_disk_gib)
        self._largest_bytes = settings.limits.data_set_bytes
        self._source, self._progress, self._web_limits = source, progress, web_limits
        self._longest_s = GET_S if longest_s is None else longest_s

    def fetch(self, study_uid: str, priors: int = 0) -> list[Fetched]:
        """Fetch a study and the newest MR studies of its patient from earlier days.

        The patient is the one to whom the source assigns the study now, so that a correction or a merge there applies.
        A prior that cannot be fetched is reported; the study and the other priors are still fetched.

        Raises
        ------
        QueryFailed
            When the source cannot be queried, does not list the study, or sends nothing of it.
        """
        if not is_uid(study_uid):
            raise QueryFailed("a Study Instance UID consists of numbers separated by dots, such as 1.2.840.113619.2.1")
        earlier = self._priors(study_uid)[:priors] if priors else []
        return [self._fetch_one(study_uid), *(self._fetch_prior(study.study_uid) for study in earlier)]

    def _priors(self, study_uid: str) -> list[StudyFound]:
        """Return the studies of earlier days; another scan of the same day is part of the same examination."""
        self._record_query({"StudyInstanceUID": study_uid})
        patient_id = demographics_of(self._source, self._calling_ae, study_uid).get("PatientID", "")
        if not patient_id:
            raise QueryFailed(f"{self._source.name} lists no such study, or no Patient ID for it")
        self._record_query({"PatientID": patient_id})
        found = {study.study_uid: study for study in studies_of_patient(self._source, self._calling_ae, patient_id)}
        date = found[study_uid].date if study_uid in found else ""
        if not date:
            sentence = "gives no date for the study, so its priors are unknown: fetch it without priors"
            raise QueryFailed(f"{self._source.name} {sentence}")
        earlier = [study for study in found.values() if study.has_mr and study.date and study.date < date]
        return sorted(earlier, key=lambda study: study.date, reverse=True)

    def _fetch_prior(self, study_uid: str) -> Fetched:
        try:
            return self._fetch_one(study_uid)
        except QueryFailed as failure:
            return Fetched(study_uid=study_uid, by="", instances=0, problems=(str(failure),), complete=False)

    def _fetch_one(self, study_uid: str) -> Fetched:
        if self._source.dicomweb_url:
            done = fetch_by_web(self._source, self._intake(study_uid), self._web_limits)
        else:
            done = self._by_get(study_uid) or self._by_move(study_uid)
        if not done.instances:
            why = "; ".join(done.problems) or "check that it has the study"
            raise QueryFailed(f"{self._source.name} sent nothing of the study; {why}")
        self._record_arrival(done)
        _log.info("fetched", by=done.by, instances=done.instances, failed=done.failed, complete=done.complete)
        return done

    def _record_query(self, keys: Mapping[str, str]) -> None:
        source = self._source
        record_query(self._trail, source.ae_title, source.host, keys, by_web=bool(source.dicomweb_url))

    def _record_arrival(self, done: Fetched) -> None:
        """Record what arrived; after a C-MOVE the listener does so too, for the association that brought it."""
        source = remote_node(self._source.ae_title, self._source.host, Role.SOURCE, is_requestor=False)
        self._trail.record(
            self._trail.report.received(source, self._trail.study(done.study_uid), description=done.summary)
        )

    def _intake(self, study_uid: str) -> Intake:
        return Intake(
            inbox=Inbox(self._database, self._folder),
            disk=self._disk,
            calling_ae=self._source.ae_title,
            study_uid=study_uid,
            progress=self._progress,
        )

    def _by_get(self, study_uid: str) -> Fetched | None:
        """Fetch over the association of the request; None where the source does not offer C-GET."""
        intake, deadline = self._intake(study_uid), time.monotonic() + self._longest_s
        model = StudyRootQueryRetrieveInformationModelGet
        syntaxes = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
        contexts = [(one, syntax) for one in (model, *FETCHED_CLASSES) for syntax in syntaxes]
        roles = [build_role(one, scp_role=True) for one in FETCHED_CLASSES]
        with self._associated(contexts, ext_neg=roles) as assoc:
            if not any(context.abstract_syntax == model for context in assoc.accepted_contexts):
                return None
            storing = _Storing(assoc, intake, deadline, self._largest_bytes)
            try:
                report = self._await(assoc, lambda: assoc.send_c_get(_study(study_uid), model), "C-GET", deadline)
            finally:
                storing.data_sets.discard()
        lost = max(0, (report.completed or 0) - intake.received)
        broken_off = storing.stopped or report.problem or (_lost(lost) if lost else "")
        if (storing.stopped or report.problem) and not intake.received:
            raise QueryFailed(broken_off)
        return intake.result("C-GET", max(0, report.failed - intake.refused) + lost, broken_off)

    def _by_move(self, study_uid: str) -> Fetched:
        """Have the source send to this node's listener, whose AE title must be configured there."""
        model, deadline = StudyRootQueryRetrieveInformationModelMove, time.monotonic() + self._longest_s
        contexts = [(model, syntax) for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)]
        with self._associated(contexts) as assoc:
            if not assoc.accepted_contexts:
                raise QueryFailed(f"{self._source.remote.where} offers neither C-GET nor C-MOVE")
            ask = lambda: assoc.send_c_move(_study(study_uid), self._calling_ae, model)  # noqa: E731
            report = self._await(assoc, ask, "C-MOVE", deadline)
        stored = self._count_stored(study_uid, report.completed)
        lost = max(0, (report.completed or 0) - stored)
        problem = report.problem or (_lost(lost) if lost else "")
        if problem and not stored:
            raise QueryFailed(problem)
        return Fetched(
            study_uid=study_uid,
            by="C-MOVE",
            instances=stored,
            failed=report.failed + lost,
            problems=(f"incomplete: {problem}",) if problem else (),
            complete=not problem,
        )

    def _count_stored(self, study_uid: str, expected: int | None) -> int:
        """Return how many of the instances that the source reports as sent are in the database; wait for the listener.

        Parameters
        ----------
        expected
            Number reported by the source. None where it reports none: then all instances of the study count.
        """
        instance = sa.select(InstanceRow.series_uid, InstanceRow.sop_instance_uid).distinct()
        held = sa.select(sa.func.count()).select_from(instance.where(InstanceRow.study_uid == study_uid).subquery())
        deadline = time.monotonic() + FILED_S
        while True:
            with self._database.session() as session:
                count = session.scalar(held) or 0
            if count >= (1 if expected is None else expected) or time.monotonic() > deadline:
                return count if expected is None else min(count, expected)
            time.sleep(LOOK_S)

    @contextmanager
    def _associated(self, contexts: Sequence[ContextRequest], **options: Any) -> Iterator[Association]:  # noqa: ANN401
        assoc, refusal = open_association(self._source.remote, self._calling_ae, contexts, **options)
        if refusal:
            raise QueryFailed(refusal)
        try:
            yield assoc
        finally:
            if assoc.is_established:
                assoc.release()

    def _await(self, assoc: Association, ask: Callable[[], _Answers], name: str, deadline: float) -> "_Report":
        """Send the request, and wait for the final answer."""
        code: int | None = None
        completed: int | None = None
        failed = 0
        try:
            for status, _ in ask():
                code = _number(status, "Status")
                completed = _number(status, "NumberOfCompletedSuboperations") or completed
                failed = _number(status, "NumberOfFailedSuboperations") or 0
                if code not in PENDING or time.monotonic() > deadline:
                    break
        except (RuntimeError, ValueError):
            code = None  # the association was closed before the request
        if code in (0x0000, 0xB000):
            return _Report(completed=completed, failed=failed)
        failure = "gave no answer" if code is None else f"answered 0x{code:04X}"
        if code in PENDING:
            failure = "did not finish its answer"
            assoc.abort()
        problem = f"{self._source.remote.where} {failure} to the {name}"
        return _Report(completed=completed, failed=failed, problem=problem)


class _Storing:
    """Stores the instances that a source sends in answer to a C-GET.

    Attributes
    ----------
    stopped
        Why no more instances are accepted; empty where they are.
    """

    def __init__(self, assoc: Association, intake: Intake, deadline: float, largest_bytes: int) -> None:
        self._intake, self._deadline, self._largest_bytes, self.stopped = intake, deadline, largest_bytes, ""
        self.data_sets = StoredDataSets(assoc, intake.make_spool)
        limit_data_sets(assoc, largest_bytes, self._stop_at_size)
        assoc.bind(evt.EVT_C_STORE, self._on_store)

    def _on_store(self, event: evt.Event) -> int:
        try:
            if time.monotonic() > self._deadline:
                raise NoRoom("the transfer was not complete after the time allowed for it")  # noqa: TRY301
            accepted = self._take(event)
        except NoRoom as refusal:
            self.stopped = str(refusal)
            event.assoc.abort()
            event.assoc.dimse_timeout = AFTER_ABORT_S  # otherwise pynetdicom waits for the full DIMSE timeout
            return NO_ROOM
        return 0x0000 if accepted else CANNOT_UNDERSTAND  # the source counts it as failed

    def _take(self, event: evt.Event) -> bool:
        request: Any = event.request
        try:
            header, data_set = self.data_sets.take(request.DataSet.getvalue())
        except KeyError:
            self._intake.refuse("without SOP Class or Instance UID", "unreadable_data_set")
            return False
        with self._intake.writing(data_set):
            return self._intake.data_set(
                data_set,
                header,
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                sop_class_uid=str(request.AffectedSOPClassUID),
                transfer_syntax_uid=str(event.context.transfer_syntax),
            )

    def _stop_at_size(self) -> None:
        limit_gib = self._largest_bytes / 2**30
        self.stopped = f"the source sent a data set larger than {limit_gib:g} GiB (limits.data_set_gib)"


@dataclass(frozen=True, kw_only=True)
class _Report:
    """What a source reports about its sub-operations; this may be wrong."""

    completed: int | None
    failed: int
    problem: str = ""


def _lost(count: int) -> str:
    return f"the source reports {count} more as sent than were received"


def _number(status: Dataset, keyword: str) -> int | None:
    value = status.get(keyword)
    return value if isinstance(value, int) and value >= 0 else None


def _study(study_uid: str) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", study_uid
    return ds
