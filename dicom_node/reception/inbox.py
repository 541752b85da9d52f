"""The inbox: received bytes on disk, unchanged, with a row in the database for each version of each instance."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from conversion.patient_identity import patient_id
from conversion.values import text
from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.tables import InstanceRow, utc_now
from dicom_node.reception.arrived_instance import ArrivedInstance, note_arrivals
from dicom_node.reception.identity import check_identity, read_file_identity, read_identity
from dicom_node.reception.spool import Spool
from dicom_node.storage.durable import synced_together, write_durably, write_new

__all__ = ["Inbox", "ReceivedInstance"]


@dataclass(frozen=True, kw_only=True)
class ReceivedInstance:
    """One stored instance.

    Attributes
    ----------
    is_new
        False for a byte-identical repeat.
    is_changed
        True when an instance with this UID and other bytes was known; both versions are kept.
    """

    study_key: str
    sop_instance_uid: str
    sha256: str
    path: Path
    is_new: bool
    is_changed: bool


class Inbox:
    """Stores received instances below ``<folder>/inbox`` and records them in the database."""

    def __init__(self, database: Database, folder: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._folder = folder
        self._folder_name = f"{folder}/"
        self._clock = clock
        self._key = KeyedHash(database)

    def identify(
        self,
        content: bytes,
        data_set: bytes | memoryview,
        calling_ae: str,
        sop_instance_uid: str,
        association_id: str = "",
        transfer_syntax_uid: str = "",
    ) -> ArrivedInstance:
        """Read the identity of an instance; store nothing yet.

        Parameters
        ----------
        content
            The complete DICOM file: preamble, file meta information and data set.
        data_set
            The data set's bytes alone, the end of the file, exactly as received; their hash identifies a version.
        sop_instance_uid
            The UID that the request stated.
        association_id
            Key of the database row of the association that the instance arrived over, if any.
        transfer_syntax_uid
            Transfer syntax of the data set, where it is known without the file meta information.

        Raises
        ------
        InboxRefusal
            When the header cannot be read, lacks a UID, or contradicts the request.
        """
        if transfer_syntax_uid:
            stream = io.BytesIO(content)  # shares the bytes with it
            stream.seek(len(content) - len(data_set))
            ds = read_identity(stream, len(data_set), transfer_syntax_uid)
        else:
            ds = read_file_identity(content)
        return self._arrival(
            ds,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid or str(ds.file_meta.TransferSyntaxUID),
            sha256=hashlib.sha256(data_set).hexdigest(),
            calling_ae=calling_ae,
            association_id=association_id,
            content=content,
        )

    def spool(self, header: bytes, shortage: Callable[[], str | None]) -> Spool:
        """Create the file for a data set that is too large for memory; otherwise as `Spool`."""
        return Spool(self._folder / "inbox", header, shortage)

    def identify_spooled(
        self, spool: Spool, calling_ae: str, sop_instance_uid: str, association_id: str, transfer_syntax_uid: str
    ) -> ArrivedInstance:
        """Read the identity of an instance whose data set is in a file, before `place`; otherwise as `identify`."""
        with spool.open() as stream:
            ds = read_identity(stream, spool.size, transfer_syntax_uid)
        return self._arrival(
            ds,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            sha256=spool.sha256,
            calling_ae=calling_ae,
            association_id=association_id,
            content=b"",
        )

    def place(self, spool: Spool, arrival: ArrivedInstance) -> None:
        """Move the file of a data set to its place in the inbox, durably.

        Raises
        ------
        OSError
            When it cannot be made durable; the file is then removed.
        """
        spool.place(self._folder / arrival.path)

    def _arrival(self, ds: Dataset, *, sop_instance_uid: str, **facts: Any) -> ArrivedInstance:  # noqa: ANN401 - ArrivedInstance's own
        study_uid, series_uid = check_identity(ds, sop_instance_uid)
        patient = patient_id(ds)
        return ArrivedInstance(
            sop_instance_uid=sop_instance_uid,
            study_uid=study_uid,
            series_uid=series_uid,
            sop_class_uid=text(ds, "SOPClassUID"),
            patient_key=self._key(patient),
            patient_id=patient,
            received_at=self._clock(),
            **facts,
        )

    def receive(
        self, content: bytes, data_set: bytes, calling_ae: str, sop_instance_uid: str, association_id: str = ""
    ) -> ReceivedInstance:
        """Store one instance so that file and row survive a power cut once this returns; otherwise as `identify`."""
        return self.keep(self.identify(content, data_set, calling_ae, sop_instance_uid, association_id))

    def keep(self, arrival: ArrivedInstance, spool: Spool | None = None) -> ReceivedInstance:
        """Store an identified instance, as `receive` does.

        Parameters
        ----------
        spool
            The file of its data set, if it has one; left where it is if the instance is already stored.
        """
        held = self._database.transact(lambda session: self._is_held(session, arrival))
        changed = False
        if not held:
            if spool is None:
                write_durably(self._folder / arrival.path, arrival.content)
            else:
                self.place(spool, arrival)
            changed = bool(self._database.transact(lambda session: note_arrivals(session, [arrival], self._key)))
        return ReceivedInstance(
            study_key=self._key(arrival.study_uid),
            sop_instance_uid=arrival.sop_instance_uid,
            sha256=arrival.sha256,
            path=self._folder / arrival.path,
            is_new=not held,
            is_changed=changed,
        )

    def file(self, arrivals: Sequence[ArrivedInstance]) -> None:
        """Store instances that a journal already holds: first their files, synced together, then their rows.

        So no row refers to a file that a power cut could remove. An earlier try may have left files without rows; those
        are written again and synced. Data sets too large for memory were synced before they were added to the journal.
        """
        in_memory = [arrival for arrival in arrivals if not arrival.is_in_place]
        safe = self._safe(in_memory)
        if missing := [arrival for arrival in in_memory if not safe or arrival.path not in safe]:
            with synced_together(self._folder / "inbox"):
                for arrival in missing:
                    self._write(arrival)
        self._database.transact(lambda session: note_arrivals(session, arrivals, self._key))

    def _safe(self, arrivals: Sequence[ArrivedInstance]) -> set[Path]:
        """Return the paths of files that have a row and the right content."""
        existing = {one.path: one.content for one in arrivals if os.access(self._folder_name + str(one.path), os.F_OK)}
        if not existing:
            return set()
        uids = {one.sop_instance_uid for one in arrivals}
        rows = sa.select(InstanceRow.path).where(InstanceRow.sop_instance_uid.in_(uids))
        noted = self._database.transact(lambda session: {Path(path) for path in session.scalars(rows)})
        return {path for path in noted & existing.keys() if (self._folder / path).read_bytes() == existing[path]}

    def _write(self, arrival: ArrivedInstance) -> None:
        path = self._folder_name + str(arrival.path)  # a string: making a Path took as long as the write
        folder = path[: path.rindex("/")]
        temporary = f"{folder}/.{secrets.token_hex(8)}.part"
        try:
            try:
                write_new(temporary, arrival.content)
            except FileNotFoundError:
                Path(folder).mkdir(parents=True, exist_ok=True)  # synced with the file
                write_new(temporary, arrival.content)
            os.rename(temporary, path)  # noqa: PTH104 - as above
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _is_held(self, session: Session, arrival: ArrivedInstance) -> bool:
        """Return whether these bytes are the current version; an older version received again becomes current."""
        is_current = sa.select(InstanceRow.current).where(
            InstanceRow.sop_instance_uid == arrival.sop_instance_uid,
            InstanceRow.study_uid == arrival.study_uid,
            InstanceRow.series_uid == arrival.series_uid,
            InstanceRow.sha256 == arrival.sha256,
        )
        return bool(session.scalar(is_current))
