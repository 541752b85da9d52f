"""Stores what a source sends of a study in the inbox: only instances of that study, and only while there is room."""

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
"""Limit for one study: forty times a large one. A source that sends more is assumed never to stop."""

NAMED = 5
"""Number of problems that a sentence lists one by one."""

_WITHOUT_END = f"the source sent more than {MOST_INSTANCES} instances of one study"

_log = structlog.get_logger()


class NoRoom(Exception):  # noqa: N818 - named for what happened
    """No more instances are accepted; the text is a sentence with the reason."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched of one study.

    Attributes
    ----------
    by
        ``WADO-RS``, ``C-GET`` or ``C-MOVE``.
    instances
        Number of different instances received; one UID in two series counts as two.
    failed
        Instances that the source could not send, or that the node did not accept.
    problems
        What was wrong, in a few words each.
    complete
        False where the source broke off, so that it may hold more.
    """

    study_uid: str
    by: str
    instances: int
    failed: int = 0
    problems: tuple[str, ...] = ()
    complete: bool = True

    @property
    def sentence(self) -> str:
        """State what was received."""
        return f"{self.summary} ({'; '.join(self.problems)})" if self.problems else self.summary

    @property
    def summary(self) -> str:
        """State how many instances were received."""
        return f"{self.instances} instances by {self.by}, {self.failed} failed"


class Intake:
    """Receives one study from one source.

    Parameters
    ----------
    progress
        Called with the number of instances received so far.
    """

    def __init__(
        self, *, inbox: Inbox, disk: Disk, calling_ae: str, study_uid: str, progress: Callable[[int], None]
    ) -> None:
        self.study_uid = study_uid
        self._inbox, self._disk, self._calling_ae, self._progress = inbox, disk, calling_ae, progress
        self._received: set[tuple[str, str]] = set()
        self._refused: Counter[str] = Counter()
        self._offered = 0

    @property
    def refused(self) -> int:
        """Number of instances that were not accepted."""
        return self._refused.total()

    @property
    def received(self) -> int:
        """Number of different instances that were stored."""
        return len(self._received)

    def make_spool(self, header: bytes) -> Spool:
        """Create the file for a data set that is too large for memory."""
        return self._inbox.spool(header, self._disk.shortage)

    @contextmanager
    def writing(self, incoming: Incoming | IncomingFile) -> Iterator[None]:
        """Receive data in a block; at its end, remove everything that was not filed in the inbox.

        Raises
        ------
        NoRoom
            When the data cannot be written.
        """
        try:
            yield
        except OSError as error:
            raise NoRoom(f"received data could not be written: {error.strerror or type(error).__name__}") from error
        finally:
            incoming.discard()

    @contextmanager
    def file(self) -> Iterator[IncomingFile]:
        """Open a DICOM file that will arrive in pieces; otherwise as `writing`."""
        incoming = IncomingFile(self.make_spool)
        with self.writing(incoming):
            yield incoming

    def take(self, file: IncomingFile, place: str) -> None:
        """Store a DICOM file as if it had arrived by C-STORE; count and name one that cannot be read.

        Parameters
        ----------
        place
            What a message calls the file as long as it has no UID.

        Raises
        ------
        NoRoom
            When the disk is full, or the source sends more than the limit.
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
        self, incoming: Incoming, header: bytes, *, sop_instance_uid: str, sop_class_uid: str, transfer_syntax_uid: str
    ) -> bool:
        """Store an instance; return whether it was accepted. Otherwise as `take`.

        Parameters
        ----------
        header
            What precedes the data set in a file.
        sop_instance_uid, sop_class_uid
            As the source stated them; a data set that differs is refused. An empty class means that none was stated.
        transfer_syntax_uid
            As the source stated it; the data set is read as it is actually encoded.
        """
        self._check_room()
        try:
            arrival = self._identified(incoming, header, sop_instance_uid, transfer_syntax_uid)
            if arrival.study_uid != self.study_uid:
                self.refuse("of another study", "other_study")
                return False
            if not arrival.sop_class_uid or sop_class_uid not in ("", arrival.sop_class_uid):
                self.refuse("of another SOP class than the source stated", "sop_class_mismatch")
                return False
            self._inbox.keep(arrival, incoming.spool)
        except InboxRefusal as error:
            self.refuse(f"not accepted ({error.code})", error.code)
            return False
        self._received.add((arrival.series_uid, sop_instance_uid))
        self._progress(self.received)
        return True

    def _identified(
        self, incoming: Incoming, header: bytes, sop_instance_uid: str, transfer_syntax_uid: str
    ) -> ArrivedInstance:
        stated = {
            "sop_instance_uid": sop_instance_uid,
            "transfer_syntax_uid": transfer_syntax_uid,
            "association_id": "",
        }
        if (spool := incoming.spool) is not None:
            return self._inbox.identify_spooled(spool, self._calling_ae, **stated)
        content = incoming.behind(header)
        return self._inbox.identify(content, memoryview(content)[len(header) :], self._calling_ae, **stated)

    def refuse(self, problem: str, reason: str) -> None:
        """Count an instance that is not accepted."""
        self._refused[problem] += 1
        if self.refused > MOST_INSTANCES:
            raise NoRoom(_WITHOUT_END)
        _log.warning("fetched_refused", reason=reason)

    def result(self, by: str, failed: int = 0, broken_off: str = "") -> Fetched:
        """Return what was received.

        Parameters
        ----------
        failed
            Number of instances that the source could not send.
        broken_off
            Why the source may hold more; empty where it does not.
        """
        named = [f"{count} {problem}" for problem, count in self._refused.most_common(NAMED)]
        if len(self._refused) > NAMED:
            named.append("and more")
        return Fetched(
            study_uid=self.study_uid,
            by=by,
            instances=self.received,
            failed=failed + self.refused,
            problems=(*named, f"incomplete: {broken_off}") if broken_off else tuple(named),
            complete=not broken_off,
        )

    def _check_room(self) -> None:
        self._offered += 1
        if self._offered > MOST_INSTANCES:
            raise NoRoom(_WITHOUT_END)
        shortage = self._disk.shortage()
        if shortage:
            raise NoRoom(shortage)
