"""The inbox: received bytes on disk as they came, with a row in the database for each version of each instance."""

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
        True when the UID was known with other bytes; both versions are kept.
    """

    study_key: str
    sop_instance_uid: str
    sha256: str
    path: Path
    is_new: bool
    is_changed: bool


class Inbox:
    """Stores what arrives below ``<folder>/inbox`` and notes it in the database."""

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
        """Read what an instance is; nothing is stored yet.

        Parameters
        ----------
        content
            The complete DICOM file: preamble, file meta information and data set.
        data_set
            The data set's bytes alone, with which the file ends, exactly as received; their hash tells versions apart.
        sop_instance_uid
            The UID that the request named.
        association_id
            Of the row in the database for the association that it came over, if it came over one.
        transfer_syntax_uid
            Of the data set, where that is known without the file meta information.

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
        """Make the file for a data set that is too large to be gathered; otherwise as `Spool`."""
        return Spool(self._folder / "inbox", header, shortage)

    def identify_spooled(
        self, spool: Spool, calling_ae: str, sop_instance_uid: str, association_id: str, transfer_syntax_uid: str
    ) -> ArrivedInstance:
        """Read what an instance is whose data set is in a file; otherwise as `identify`. It is to be placed next."""
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
        """Give a data set that is in a file its place, durably.

        Raises
        ------
        OSError
            When it cannot be made durable; nothing of it is left then.
        """
        spool.place(self._folder / arrival.path)

    def _arrival(self, ds: Dataset, *, sop_instance_uid: str, **facts: Any) -> ArrivedInstance:  # noqa: ANN401 - ArrivedInstance's own
        study_uid, series_uid = check_identity(ds, sop_instance_uid)
        return ArrivedInstance(
            sop_instance_uid=sop_instance_uid,
            study_uid=study_uid,
            series_uid=series_uid,
            sop_class_uid=text(ds, "SOPClassUID"),
            patient_key=self._key(patient_id(ds)),
            received_at=self._clock(),
            **facts,
        )

    def receive(
        self, content: bytes, data_set: bytes, calling_ae: str, sop_instance_uid: str, association_id: str = ""
    ) -> ReceivedInstance:
        """Store one instance durably: when this returns, file and row survive a power cut; otherwise as `identify`."""
        return self.keep(self.identify(content, data_set, calling_ae, sop_instance_uid, association_id))

    def keep(self, arrival: ArrivedInstance, spool: Spool | None = None) -> ReceivedInstance:
        """Store what was identified, as `receive` does.

        Parameters
        ----------
        spool
            Where its data set is in a file; one that is held already is left there.
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
        """Store instances that a journal holds already: their files first, synced together, then their rows.

        A row therefore never stands for a file that a power cut could take. Nor does the row of an earlier try, whose
        files lie there all the same: what no row stands for yet is written anew and synced. What came too large to be
        gathered was synced before it came to the journal.
        """
        gathered = [arrival for arrival in arrivals if not arrival.is_in_place]
        safe = self._safe(gathered)
        if missing := [arrival for arrival in gathered if not safe or arrival.path not in safe]:
            with synced_together(self._folder / "inbox"):
                for arrival in missing:
                    self._write(arrival)
        self._database.transact(lambda session: note_arrivals(session, arrivals, self._key))

    def _safe(self, arrivals: Sequence[ArrivedInstance]) -> set[Path]:
        """Return where those lie that lie there as they should, and that a row stands for."""
        lying = {one.path: one.content for one in arrivals if os.access(self._folder_name + str(one.path), os.F_OK)}
        if not lying:
            return set()
        uids = {one.sop_instance_uid for one in arrivals}
        rows = sa.select(InstanceRow.path).where(InstanceRow.sop_instance_uid.in_(uids))
        noted = self._database.transact(lambda session: {Path(path) for path in session.scalars(rows)})
        return {path for path in noted & lying.keys() if (self._folder / path).read_bytes() == lying[path]}

    def _write(self, arrival: ArrivedInstance) -> None:
        path = self._folder_name + str(arrival.path)  # not as a Path: that took as long as the write
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
        """Tell whether these bytes are the current version; an older version that comes again becomes current again."""
        found = sa.select(InstanceRow.current).where(
            InstanceRow.sop_instance_uid == arrival.sop_instance_uid,
            InstanceRow.study_uid == arrival.study_uid,
            InstanceRow.series_uid == arrival.series_uid,
            InstanceRow.sha256 == arrival.sha256,
        )
        return bool(session.scalar(found))
