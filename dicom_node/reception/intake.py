"""What a source sends of a study, taken into the inbox one by one: only of that study, only while there is room."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from pydicom.errors import InvalidDicomError

from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.identity import InboxRefusal
from dicom_node.reception.inbox import Inbox
from dicom_node.reception.incoming import Incoming
from dicom_node.reception.incoming_file import IncomingFile
from dicom_node.reception.spool import Spool
from dicom_node.storage.disk_space import Disk

__all__ = ["Fetched", "Intake", "NoRoom"]

MOST_INSTANCES = 100_000
"""Of one study: forty times a large one. A source that sends more does not come to an end."""

NAMED = 5
"""Problems that a sentence names one by one."""

_WITHOUT_END = f"the source sends more than {MOST_INSTANCES} instances of one study"

_log = structlog.get_logger()


class NoRoom(Exception):  # noqa: N818 - named for what happened
    """Nothing more is taken; the text is a sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came of one study.

    Attributes
    ----------
    by
        ``WADO-RS``, ``C-GET`` or ``C-MOVE``.
    instances
        Different ones that have come; one UID in two series is two.
    failed
        Instances that the source could not send, or that were not taken.
    problems
        What was wrong, a few words each.
    complete
        False where the source broke off, so that more may be there.
    """

    study_uid: str
    by: str
    instances: int
    failed: int = 0
    problems: tuple[str, ...] = ()
    complete: bool = True

    @property
    def sentence(self) -> str:
        """Say what came."""
        told = f"{self.instances} instances by {self.by}, {self.failed} failed"
        return f"{told} ({'; '.join(self.problems)})" if self.problems else told


class Intake:
    """Takes one study from one source.

    Parameters
    ----------
    progress
        Told how many instances have come.
    """

    def __init__(
        self, *, inbox: Inbox, disk: Disk, calling_ae: str, study_uid: str, progress: Callable[[int], None]
    ) -> None:
        self.study_uid = study_uid
        self._inbox, self._disk, self._calling_ae, self._progress = inbox, disk, calling_ae, progress
        self._came: set[tuple[str, str]] = set()
        self._refused: Counter[str] = Counter()
        self._seen = 0

    @property
    def refused(self) -> int:
        """How many were not taken."""
        return self._refused.total()

    @property
    def came(self) -> int:
        """How many different ones have come."""
        return len(self._came)

    def make_spool(self, header: bytes) -> Spool:
        """Make the file for a data set that is too large to be gathered."""
        return self._inbox.spool(header, self._disk.shortage)

    @contextmanager
    def writing(self, what: Incoming | IncomingFile) -> Iterator[None]:
        """Take what comes; nothing of it is left behind the block but what has its place.

        Raises
        ------
        NoRoom
            When it cannot be written.
        """
        try:
            yield
        except OSError as error:
            raise NoRoom(f"what came could not be written: {error.strerror or type(error).__name__}") from error
        finally:
            what.discard()

    @contextmanager
    def file(self) -> Iterator[IncomingFile]:
        """Open a DICOM file that is to come in pieces; otherwise as `writing`."""
        coming = IncomingFile(self.make_spool)
        with self.writing(coming):
            yield coming

    def take(self, file: IncomingFile, place: str) -> None:
        """Take a DICOM file as if it had come by C-STORE; one that cannot be read is counted and named.

        Parameters
        ----------
        place
            What a sentence calls it as long as it has no UID.

        Raises
        ------
        NoRoom
            When the disk is full, or the source sends without end.
        """
        try:
            meta, data_set = file.whole()
        except InvalidDicomError as error:
            self.refuse(f"unreadable ({place})", type(error).__name__)
            return
        self.data_set(
            data_set,
            meta.header,
            sop_instance_uid=meta.sop_instance_uid,
            sop_class_uid=meta.sop_class_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
        )

    def data_set(
        self, came: Incoming, header: bytes, *, sop_instance_uid: str, sop_class_uid: str, transfer_syntax_uid: str
    ) -> bool:
        """Take an instance; tell whether it was taken. Otherwise as `take`.

        Parameters
        ----------
        header
            What stands before the data set in a file.
        sop_instance_uid, sop_class_uid
            What the source says it is; what it is not is refused. An empty class: it does not say.
        transfer_syntax_uid
            What the source says of its encoding; it is read as it is encoded.
        """
        self._check_room()
        try:
            arrival = self._identified(came, header, sop_instance_uid, transfer_syntax_uid)
            if arrival.study_uid != self.study_uid:
                self.refuse("of another study", "other_study")
                return False
            if not arrival.sop_class_uid or sop_class_uid not in ("", arrival.sop_class_uid):
                self.refuse("of another kind (SOP class) than the source says", "sop_class_mismatch")
                return False
            self._inbox.keep(arrival, came.spool)
        except InboxRefusal as error:
            self.refuse(f"not taken ({error.code})", error.code)
            return False
        self._came.add((arrival.series_uid, sop_instance_uid))
        self._progress(self.came)
        return True

    def _identified(
        self, came: Incoming, header: bytes, sop_instance_uid: str, transfer_syntax_uid: str
    ) -> ArrivedInstance:
        said = {"sop_instance_uid": sop_instance_uid, "transfer_syntax_uid": transfer_syntax_uid, "association_id": ""}
        if (spool := came.spool) is not None:
            return self._inbox.identify_spooled(spool, self._calling_ae, **said)
        content = came.behind(header)
        return self._inbox.identify(content, memoryview(content)[len(header) :], self._calling_ae, **said)

    def refuse(self, problem: str, reason: str) -> None:
        """Count one that is not taken."""
        self._refused[problem] += 1
        if self.refused > MOST_INSTANCES:
            raise NoRoom(_WITHOUT_END)
        _log.warning("fetched_refused", reason=reason)

    def result(self, by: str, failed: int = 0, broken_off: str = "") -> Fetched:
        """Return what has come.

        Parameters
        ----------
        failed
            Those that the source could not send.
        broken_off
            Why more may be there, if so.
        """
        named = [f"{count} {problem}" for problem, count in self._refused.most_common(NAMED)]
        if len(self._refused) > NAMED:
            named.append("and more")
        return Fetched(
            study_uid=self.study_uid,
            by=by,
            instances=self.came,
            failed=failed + self.refused,
            problems=(*named, f"incomplete: {broken_off}") if broken_off else tuple(named),
            complete=not broken_off,
        )

    def _check_room(self) -> None:
        self._seen += 1
        if self._seen > MOST_INSTANCES:
            raise NoRoom(_WITHOUT_END)
        shortage = self._disk.shortage()
        if shortage:
            raise NoRoom(shortage)
