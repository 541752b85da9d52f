"""Takes what a person drew or wrote about a study in a viewer: SEG and SR that refer to images the node holds.

Everything else is refused with its reason: this is no second way to send studies to the node.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import sqlalchemy as sa
import structlog
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from conversion.correction_classes import CORRECTIONS
from conversion.encoding import settle
from conversion.errors import ConversionError
from conversion.references import referenced_instances
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, ResultRow
from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.identity import InboxRefusal
from dicom_node.reception.inbox import Inbox
from dicom_node.reception.incoming_file import FileMeta, IncomingFile
from dicom_node.reception.spool import Spool
from dicom_node.storage.disk_space import Disk

__all__ = ["BY_WEB", "LARGEST_BYTES", "MOST_OBJECTS", "Correction", "Corrections", "Failure"]

BY_WEB = "(STOW-RS)"
"""Stands where an instance received by C-STORE has its calling AE title; no peer would have this title."""

LARGEST_BYTES = 2**29
"""Limit for one object: four segments of 512 x 512 x 400 voxels, a byte each, are 400 MiB."""

MOST_OBJECTS = 64
"""Limit for one request: a viewer stores one segmentation or report, or a few."""

_log = structlog.get_logger()


class Failure(IntEnum):
    """Reasons why an object is not stored, as Failure Reason (0008,1197) gives them (PS3.18 10.5.3, PS3.4 B.2.3)."""

    OUT_OF_RESOURCES = 0xA700
    NOT_OF_THIS_STUDY = 0xA900
    UNREADABLE = 0xC000
    CLASS_NOT_TAKEN = 0x0122


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What became of one object.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid
        Empty where the object cannot be read.
    study_uid, series_uid
        Empty where it was not stored.
    failure
        None for an object that is stored durably.
    sentence
        Why it was not stored.
    """

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    failure: Failure | None = None
    sentence: str = ""


class _Refused(Exception):  # noqa: N818 - named for what happened
    def __init__(self, failure: Failure, sentence: str) -> None:
        super().__init__(sentence)
        self.failure = failure


class Corrections:
    """The way in for segmentations and reports that were made in a viewer.

    Parameters
    ----------
    inbox
        Where they are kept, as if they had come by C-STORE.
    """

    def __init__(self, database: Database, inbox: Inbox, disk: Disk) -> None:
        self._database, self._inbox, self._disk = database, inbox, disk

    def file(self) -> IncomingFile:
        """Return a file to be received in pieces; call its `discard` in the end."""
        return IncomingFile(lambda header: self._inbox.spool(header, self._disk.shortage))

    def take(self, file: IncomingFile, study_uid: str = "") -> Correction:
        """Store an object durably, or say why not.

        Parameters
        ----------
        study_uid
            The study that the sender named in the address; empty if none.
        """
        meta: FileMeta | None = None
        try:
            self._expect_room()
            meta, incoming = file.whole()
            _expect_correction(meta)
            arrival = self._identified(meta, incoming.spool, incoming.behind)
            with _opened(incoming.spool, meta.header, incoming.behind) as stream:
                ds = settle(stream).dataset
            self._check(arrival, ds, meta, study_uid)
            self._inbox.keep(arrival, incoming.spool)
        except _Refused as refusal:
            return _not_stored(meta, refusal.failure, str(refusal))
        except OSError as error:
            return _not_stored(meta, Failure.OUT_OF_RESOURCES, f"it could not be written ({type(error).__name__})")
        except (InboxRefusal, InvalidDicomError, ConversionError) as error:
            return _not_stored(meta, Failure.UNREADABLE, str(error))
        _log.info("correction_stored", sop_class=UID(meta.sop_class_uid).name)
        return Correction(
            sop_class_uid=arrival.sop_class_uid,
            sop_instance_uid=arrival.sop_instance_uid,
            study_uid=arrival.study_uid,
            series_uid=arrival.series_uid,
        )

    def _expect_room(self) -> None:
        if (shortage := self._disk.shortage()) is not None:
            raise _Refused(Failure.OUT_OF_RESOURCES, shortage)

    def _identified(self, meta: FileMeta, spool: Spool | None, behind: Callable[[bytes], bytes]) -> ArrivedInstance:
        if spool is not None:
            return self._inbox.identify_spooled(
                spool, BY_WEB, meta.sop_instance_uid, association_id="", transfer_syntax_uid=meta.transfer_syntax_uid
            )
        content = behind(meta.header)
        return self._inbox.identify(
            content,
            memoryview(content)[len(meta.header) :],
            BY_WEB,
            meta.sop_instance_uid,
            transfer_syntax_uid=meta.transfer_syntax_uid,
        )

    def _check(self, arrival: ArrivedInstance, ds: Dataset, meta: FileMeta, study_uid: str) -> None:
        """Refuse what does not belong to a held study, by its patient and by what it refers to."""
        if arrival.sop_class_uid != meta.sop_class_uid:
            raise _Refused(Failure.UNREADABLE, "the data set is of another SOP class than its file states")
        if study_uid not in ("", arrival.study_uid):
            raise _Refused(Failure.NOT_OF_THIS_STUDY, "the object belongs to another study than the address names")
        with self._database.session() as session:
            held = sa.select(InstanceRow.sop_instance_uid, InstanceRow.patient_key).where(
                InstanceRow.study_uid == arrival.study_uid, InstanceRow.current
            )
            rows = session.execute(held).all()
            made = sa.select(ResultRow.sop_instance_uid).where(ResultRow.study_uid == arrival.study_uid)
            known = {row.sop_instance_uid for row in rows} | set(session.scalars(made))
        if not rows:
            raise _Refused(Failure.NOT_OF_THIS_STUDY, "the node holds no study that the object belongs to")
        if arrival.patient_key not in {row.patient_key for row in rows}:
            raise _Refused(Failure.NOT_OF_THIS_STUDY, "the object names another patient than the images of its study")
        known.discard(arrival.sop_instance_uid)
        if known.isdisjoint(referenced_instances(ds)):
            raise _Refused(Failure.NOT_OF_THIS_STUDY, "the object refers to no image or result of its study")


def _expect_correction(meta: FileMeta) -> None:
    if UID(meta.sop_class_uid) not in CORRECTIONS:
        raise _Refused(Failure.CLASS_NOT_TAKEN, "only segmentations and structured reports are taken here")


def _not_stored(meta: FileMeta | None, failure: Failure, sentence: str) -> Correction:
    _log.warning("correction_refused", failure=failure.name.lower())
    return Correction(
        sop_class_uid=meta.sop_class_uid if meta else "",
        sop_instance_uid=meta.sop_instance_uid if meta else "",
        failure=failure,
        sentence=sentence,
    )


def _opened(spool: Spool | None, header: bytes, behind: Callable[[bytes], bytes]) -> BinaryIO:
    """Open the complete file."""
    if spool is None:
        return io.BytesIO(behind(header))
    stream = spool.open()
    stream.seek(0)
    return stream
