"""The audit trail of a node, as one process writes it.

What cannot be written is held in memory and written as soon as that is possible, with a note of the gap: neither the
reception of images nor a result may depend on it (PS3.15 A.5 leaves this to the site; IHE ATNA has a node that cannot
reach its repository keep the messages and go on). A person's look at patient data, or change of the configuration, can
wait: `refusal` says why it is refused meanwhile.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog

from dicom_node.audit.codes import EventType
from dicom_node.audit.events import Reporter, StudyTouched
from dicom_node.audit.files import FOLDER, TrailFiles
from dicom_node.audit.head import audit_key, note_head
from dicom_node.audit.message import AuditMessage, to_xml
from dicom_node.audit.record import Torn
from dicom_node.audit.studies import study_named
from dicom_node.database.engine import Database
from dicom_node.database.tables import utc_now
from dicom_node.storage.disk_space import free_bytes

__all__ = ["AuditTrail"]

MOST_HELD = 10_000
"""Messages held in memory while the trail cannot be written, about 15 MB; of more, the oldest are lost and counted."""

LEAST_FREE_BYTES = 2**20
"""With less free space, a look is refused before it is made; a message has about 1.5 KB."""

ONCE_S = 600.0
"""What repeats itself, as hundreds of slices of one study or a port scan, is recorded once in this time."""

_MOST_REMEMBERED = 10_000
_COMPLAIN_S = 60.0

_log = structlog.get_logger()


class AuditTrail:
    """Records messages.

    Parameters
    ----------
    folder
        The node's folder.
    ae_title
        AE title of the node.

    Attributes
    ----------
    report
        Makes the messages.
    """

    def __init__(self, folder: Path, ae_title: str, database: Database) -> None:
        self.report = Reporter(ae_title)
        self._folder = folder
        self._database = database
        self._files = TrailFiles(folder)
        self._held: deque[tuple[str, datetime]] = deque()
        self._lost = 0
        self._lock = threading.Lock()
        self._key = b""
        self._once: OrderedDict[Hashable, float] = OrderedDict()
        self._complained: float | None = None

    def record(self, *messages: AuditMessage) -> bool:
        """Record messages; where that is not possible, hold them and return False. It never raises.

        Call it outside of a database session: it writes to the database too.
        """
        with self._lock:
            self._held.extend((to_xml(message), message.at) for message in messages)
            return self._write_held()

    def record_once(self, what: Hashable, message: AuditMessage) -> bool:
        """Record a message, unless it was recorded about the same not long ago."""
        now = time.monotonic()
        with self._lock:
            before = self._once.get(what)
            if before is not None and now - before < ONCE_S:
                return not self._held
            self._once[what] = now
            self._once.move_to_end(what)
            if len(self._once) > _MOST_REMEMBERED:
                self._once.popitem(last=False)
        done = self.record(message)
        if not done:
            with self._lock:
                self._once.pop(what, None)
        return done

    def was_recorded(self, what: Hashable) -> bool:
        """Return whether a message about the same was recorded not long ago."""
        with self._lock:
            before = self._once.get(what)
            return before is not None and time.monotonic() - before < ONCE_S

    @property
    def uri(self) -> str:
        """Address by which a message names the trail."""
        return (self._folder / FOLDER).absolute().as_uri()

    def study(self, name: str) -> StudyTouched:
        """Return a study by its UID or key as a message names it; an unknown one by what it was called."""
        return study_named(self._database, self._folder, name) or StudyTouched(study_uid=name)

    def refusal(self) -> str:
        """Return why nothing that has to be recorded may be done now; empty where it may."""
        with self._lock:
            if not self._write_held():
                return "the audit trail cannot be written"
            try:
                self._files.check()
                if free_bytes(self._folder) < LEAST_FREE_BYTES:
                    return "there is no space left for the audit trail"
            except OSError as error:
                self._complain(error)
                return "the audit trail cannot be written"
        return ""

    def _write_held(self) -> bool:
        if not self._held:
            return True
        try:
            self._key = self._key or audit_key(self._database)
            last = self._files.append(self._key, self._texts(), self._interrupted)
        except (OSError, sa.exc.SQLAlchemyError) as error:
            self._complain(error)
            while len(self._held) > MOST_HELD:
                self._held.popleft()
                self._lost += 1
            return False
        self._held.clear()
        self._lost, self._complained = 0, None
        try:
            note_head(self._database, last.sequence, last.code)
        except sa.exc.SQLAlchemyError as error:  # the next record notes a later head
            _log.warning("audit_head_not_noted", error=type(error).__name__)
        return True

    def _texts(self) -> list[str]:
        """Return what is to be written; after a gap between two notes of it."""
        texts = [text for text, _ in self._held]
        if self._complained is None:
            return texts
        since = self._held[0][1]
        stopped = self.report.recording(EventType.RECORDING_STOPPED, "the trail could not be written", since)
        number = f"{len(texts)} messages were held in memory and recorded afterwards, {self._lost} were lost"
        started = self.report.recording(EventType.RECORDING_STARTED, number)
        return [to_xml(stopped), *texts, to_xml(started)]

    def _interrupted(self, torn: Torn) -> str:
        left = f"{torn.size} bytes of it are left (sha256 {torn.sha256})"
        sentence = f"a process was ended while it wrote a record: {left}"
        return to_xml(self.report.recording(EventType.RECORDING_STOPPED, sentence, utc_now()))

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        if self._complained is None or now - self._complained > _COMPLAIN_S:
            self._complained = now
            reason = getattr(error, "strerror", None) or type(error).__name__
            _log.error("audit_not_written", reason=reason, held=len(self._held), lost=self._lost)
