"""The inbox: received bytes on disk as they came, with a row in the books for each version of each instance."""

import hashlib
import io
import re
import secrets
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian
from sqlalchemy.orm import Session

from conversion.data_set_form import EXPLICIT, Form, form_of
from conversion.encoding import MAXIMUM_INFLATED_BYTES
from conversion.patient_identity import patient_id
from conversion.values import text
from dicom_node.arrivals import Arrival, note_arrivals
from dicom_node.database import Database
from dicom_node.durable import synced_together, write_durably
from dicom_node.keys import KeyedHash
from dicom_node.tables import InstanceRow, utc_now

__all__ = [
    "Inbox",
    "InboxRefusal",
    "ReceivedInstance",
]

_PIECE_BYTES = 2**20
_HEADERS_BYTES = 2**24
"""Of a deflated data set, within which its UIDs stand; before them are descriptions, and private elements at most."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
"""PS3.5 9.1, but for leading zeros, which old archives hold; nothing else ever becomes part of a path.

Numbers with single dots between them name no other folder. Texts are compared as they stand: 1.2.03 is not 1.2.3.
"""

_IDENTIFYING = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
]


_IDENTIFYING_TAGS = tuple(Tag(keyword) for keyword in _IDENTIFYING)
_LAST_OF_IDENTITY = max(_IDENTIFYING_TAGS)


class InboxRefusal(Exception):  # noqa: N818 - named for what happened
    """An instance that cannot be stored; the sender keeps it.

    Attributes
    ----------
    code
        Stable reason code.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


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
        self._clock = clock
        self._key = KeyedHash(database)

    def identify(
        self,
        content: bytes,
        data_set: bytes,
        calling_ae: str,
        sop_instance_uid: str,
        association_id: str = "",
        transfer_syntax_uid: str = "",
    ) -> Arrival:
        """Read what an instance is; nothing is stored yet.

        Parameters
        ----------
        content
            The complete DICOM file: preamble, file meta information and data set.
        data_set
            The data set's bytes alone, exactly as received; their hash tells versions apart.
        sop_instance_uid
            The UID that the request named.
        association_id
            Of the row in the books for the association that it came over, if it came over one.
        transfer_syntax_uid
            Of the data set, where that is known without the file meta information.

        Raises
        ------
        InboxRefusal
            When the header cannot be read, lacks a UID, or contradicts the request.
        """
        ds = _read_identity(content, data_set, transfer_syntax_uid)
        _check_identity(ds, sop_instance_uid)
        return Arrival(
            sop_instance_uid=sop_instance_uid,
            study_uid=text(ds, "StudyInstanceUID"),
            series_uid=text(ds, "SeriesInstanceUID"),
            sop_class_uid=text(ds, "SOPClassUID"),
            transfer_syntax_uid=transfer_syntax_uid or str(ds.file_meta.TransferSyntaxUID),
            patient_key=self._key(patient_id(ds)),
            sha256=hashlib.sha256(data_set).hexdigest(),
            calling_ae=calling_ae,
            association_id=association_id,
            received_at=self._clock(),
            content=content,
        )

    def receive(
        self, content: bytes, data_set: bytes, calling_ae: str, sop_instance_uid: str, association_id: str = ""
    ) -> ReceivedInstance:
        """Store one instance durably: when this returns, file and row survive a power cut; otherwise as `identify`."""
        return self.keep(self.identify(content, data_set, calling_ae, sop_instance_uid, association_id))

    def keep(self, arrival: Arrival) -> ReceivedInstance:
        """Store what was identified, as `receive` does."""
        held = self._database.transact(lambda session: self._is_held(session, arrival))
        changed = False
        if not held:
            write_durably(self._folder / arrival.path, arrival.content)
            changed = bool(self._database.transact(lambda session: note_arrivals(session, [arrival], self._key)))
        return ReceivedInstance(
            study_key=self._key(arrival.study_uid),
            sop_instance_uid=arrival.sop_instance_uid,
            sha256=arrival.sha256,
            path=self._folder / arrival.path,
            is_new=not held,
            is_changed=changed,
        )

    def file(self, arrivals: Sequence[Arrival]) -> None:
        """Store instances that a journal holds already: their files first, synced together, then their rows.

        A row therefore never stands for a file that a power cut could take. Nor does the row of an earlier try, whose
        files lie there all the same: what no row stands for yet is written anew and synced.
        """
        safe = self._safe(arrivals)
        if missing := [arrival for arrival in arrivals if arrival.path not in safe]:
            with synced_together(self._folder / "inbox"):
                for arrival in missing:
                    self._write(arrival)
        self._database.transact(lambda session: note_arrivals(session, arrivals, self._key))

    def _safe(self, arrivals: Sequence[Arrival]) -> set[Path]:
        """Return where those lie that lie there as they should, and that a row stands for."""
        lying = {one.path: one.content for one in arrivals if (self._folder / one.path).exists()}
        if not lying:
            return set()
        uids = {one.sop_instance_uid for one in arrivals}
        rows = sa.select(InstanceRow.path).where(InstanceRow.sop_instance_uid.in_(uids))
        noted = self._database.transact(lambda session: {Path(path) for path in session.scalars(rows)})
        return {path for path in noted & lying.keys() if (self._folder / path).read_bytes() == lying[path]}

    def _write(self, arrival: Arrival) -> None:
        path = self._folder / arrival.path
        path.parent.mkdir(parents=True, exist_ok=True)  # synced with the file
        temporary = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            temporary.write_bytes(arrival.content)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _is_held(self, session: Session, arrival: Arrival) -> bool:
        """Tell whether these bytes are the current version; an older version that comes again becomes current again."""
        found = sa.select(InstanceRow.current).where(
            InstanceRow.sop_instance_uid == arrival.sop_instance_uid,
            InstanceRow.study_uid == arrival.study_uid,
            InstanceRow.series_uid == arrival.series_uid,
            InstanceRow.sha256 == arrival.sha256,
        )
        return bool(session.scalar(found))


def _check_inflated_size(data_set: bytes) -> None:
    """Refuse a deflated data set that would fill the memory, before anything inflates it as a whole.

    Raises
    ------
    InboxRefusal
        When it is larger than `MAXIMUM_INFLATED_BYTES`, or cut short.
    """
    inflater, rest, size = zlib.decompressobj(-zlib.MAX_WBITS), data_set, 0
    # Behind the end there may be a pad byte (PS3.5 A.5), which is left over for ever.
    while rest and not inflater.eof and size <= MAXIMUM_INFLATED_BYTES:
        size += len(inflater.decompress(rest, _PIECE_BYTES))
        rest = inflater.unconsumed_tail
    if size > MAXIMUM_INFLATED_BYTES:
        sentence = (
            f"the deflated data set is larger than {MAXIMUM_INFLATED_BYTES // 2**20} MiB; it is taken for damaged"
        )
        raise InboxRefusal("unreadable_data_set", sentence)
    if not inflater.eof:
        raise InboxRefusal("unreadable_data_set", "the deflated data set was cut short")


def _is_behind_identity(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    """Tell that nothing of interest follows: what is behind the Series Instance UID is not even looked at."""
    return bool(tag > _LAST_OF_IDENTITY)


def _read_identity(content: bytes, data_set: bytes, transfer_syntax_uid: str) -> Dataset:
    wanted: list[BaseTag | int] = list(_IDENTIFYING_TAGS)
    try:
        if not transfer_syntax_uid:
            return read_partial(io.BytesIO(content), stop_when=_is_behind_identity, specific_tags=wanted)
        stream, form = _as_encoded(data_set, UID(transfer_syntax_uid))
        return read_dataset(
            stream,
            is_implicit_VR=form.implicit_vr,
            is_little_endian=form.little_endian,
            stop_when=_is_behind_identity,
            specific_tags=wanted,
            at_top_level=False,
        )
    except InboxRefusal:
        raise
    except Exception as error:
        sentence = f"the data set cannot be read as DICOM ({type(error).__name__}); it is damaged or cut short"
        raise InboxRefusal("unreadable_data_set", sentence) from error


def _as_encoded(data_set: bytes, agreed: UID) -> tuple[BinaryIO, Form]:
    """Return where to read a data set, and its form: senders do not always keep to what was agreed, deflated or not.

    Of a deflated one no more is inflated than its identity needs.
    """
    stream, plain = io.BytesIO(data_set), None
    if agreed in AllTransferSyntaxes and agreed != DeflatedExplicitVRLittleEndian:
        plain = Form(implicit_vr=agreed.is_implicit_VR, little_endian=agreed.is_little_endian)
    form = form_of(stream, len(data_set), plain)
    if form is not None:
        return stream, form
    try:
        inflated = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data_set, _HEADERS_BYTES))
    except zlib.error:
        if plain is None:
            raise
        return stream, plain
    found = form_of(inflated, MAXIMUM_INFLATED_BYTES, EXPLICIT)
    if plain is not None and found is None:
        return stream, plain  # it can be inflated by chance, to nothing that makes sense
    _check_inflated_size(data_set)
    return inflated, found or EXPLICIT


def _check_identity(ds: Dataset, sop_instance_uid: str) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        value = text(ds, keyword)
        if len(value) > 64 or not _UID.fullmatch(value):
            sentence = f"the data set has no valid {keyword}; it is damaged, cut short or not conformant"
            raise InboxRefusal("invalid_uid", sentence)
    if text(ds, "SOPInstanceUID") != sop_instance_uid:
        raise InboxRefusal("uid_mismatch", "the data set's SOP Instance UID is not the one the request named")
