"""Reads the identity of an instance from its header, and no more of it; decodes nothing.

A data set is read as it is encoded, which is not always in the negotiated transfer syntax.
"""

import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian

from conversion.data_set_form import EXPLICIT, Form, form_of
from conversion.encoding import MAXIMUM_INFLATED_BYTES
from conversion.values import text
from dicom_node.reception.plain_header import read_plainly

__all__ = ["InboxRefusal", "check_identity", "read_file_identity", "read_identity"]

_PIECE_BYTES = 2**20
_HEADERS_BYTES = 2**24
"""Number of bytes read of a large or inflated data set: descriptions and private elements may precede its UIDs."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
"""PS3.5 9.1, but leading zeros are allowed, as old archives contain them; nothing else ever becomes part of a path.

Numbers with single dots between them cannot name another folder. UIDs are compared as text: 1.2.03 is not 1.2.3.
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
        Reason code, which never changes.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def _check_inflated_size(stream: BinaryIO) -> None:
    """Refuse a deflated data set that would fill the memory, before anything inflates it completely.

    Raises
    ------
    InboxRefusal
        When it is larger than `MAXIMUM_INFLATED_BYTES`, or incomplete.
    """
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    # A pad byte may follow the end (PS3.5 A.5); it is never consumed.
    while not inflater.eof and size <= MAXIMUM_INFLATED_BYTES:
        rest = inflater.unconsumed_tail or stream.read(_PIECE_BYTES)
        if not rest:
            break
        size += len(inflater.decompress(rest, _PIECE_BYTES))
    if size > MAXIMUM_INFLATED_BYTES:
        sentence = (
            f"the deflated data set is assumed to be damaged: it is larger than {MAXIMUM_INFLATED_BYTES // 2**20} MiB"
        )
        raise InboxRefusal("unreadable_data_set", sentence)
    if not inflater.eof:
        raise InboxRefusal("unreadable_data_set", "the deflated data set is incomplete")


def _is_behind_identity(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    """Return whether a tag is behind the last one of interest, the Series Instance UID; nothing behind it is read."""
    return bool(tag > _LAST_OF_IDENTITY)


def read_file_identity(content: bytes) -> Dataset:
    """Read the identity of a DICOM file (PS3.10 7), with its file meta information.

    Raises
    ------
    InboxRefusal
        When it cannot be read.
    """
    wanted: list[BaseTag | int] = list(_IDENTIFYING_TAGS)
    with _damage_is_named():
        return read_partial(io.BytesIO(content), stop_when=_is_behind_identity, specific_tags=wanted)


def read_identity(stream: BinaryIO, size: int, transfer_syntax_uid: str) -> Dataset:
    """Read the identity of the data set at a stream's position; of a large one read no more than its headers.

    Raises
    ------
    InboxRefusal
        When it cannot be read.
    """
    with _damage_is_named():
        negotiated = UID(transfer_syntax_uid)
        if (ds := read_plainly(stream, _plain(negotiated), _IDENTIFYING_TAGS)) is not None:
            return ds
        source, form = _as_encoded(stream, size, negotiated)
        return read_dataset(
            source if size <= _HEADERS_BYTES else io.BytesIO(source.read(_HEADERS_BYTES)),
            is_implicit_VR=form.implicit_vr,
            is_little_endian=form.little_endian,
            stop_when=_is_behind_identity,
            specific_tags=list(_IDENTIFYING_TAGS),
            at_top_level=False,
        )


@contextmanager
def _damage_is_named() -> Iterator[None]:
    try:
        yield
    except (InboxRefusal, OSError):
        raise
    except Exception as error:
        sentence = f"the data set is damaged or incomplete: it cannot be read as DICOM ({type(error).__name__})"
        raise InboxRefusal("unreadable_data_set", sentence) from error


def _as_encoded(stream: BinaryIO, size: int, negotiated: UID) -> tuple[BinaryIO, Form]:
    """Return where to read a data set, and its form: senders do not always use the negotiated one, deflated or not.

    A deflated data set is inflated only as far as its identity needs.
    """
    begin, plain = stream.tell(), _plain(negotiated)
    form = form_of(stream, begin + size, plain)
    if form is not None:
        return stream, form
    try:
        inflated = io.BytesIO(
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream.read(_HEADERS_BYTES), _HEADERS_BYTES)
        )
    except zlib.error:
        if plain is None:
            raise
        stream.seek(begin)
        return stream, plain
    inflated_form = form_of(inflated, MAXIMUM_INFLATED_BYTES, EXPLICIT)
    stream.seek(begin)
    if plain is not None and inflated_form is None:
        return stream, plain  # it could be inflated only by chance: the result is no data set
    _check_inflated_size(stream)
    return inflated, inflated_form or EXPLICIT


@lru_cache(maxsize=64)
def _plain(syntax: UID) -> Form | None:
    """Return the form of data sets in a transfer syntax; None for the deflated and for unknown ones."""
    if syntax in AllTransferSyntaxes and syntax != DeflatedExplicitVRLittleEndian:
        return Form(implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return None


def check_identity(ds: Dataset, sop_instance_uid: str) -> tuple[str, str]:
    """Return the UIDs of study and series.

    Raises
    ------
    InboxRefusal
        When the data set lacks a valid UID, or is not the instance that the request stated.
    """
    keywords = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    study_uid, series_uid, stated_uid = (text(ds, keyword) for keyword in keywords)
    for keyword, value in zip(keywords, (study_uid, series_uid, stated_uid), strict=True):
        if len(value) > 64 or not _UID.fullmatch(value):
            sentence = f"the data set has no valid {keyword}: it is damaged, incomplete or not conformant"
            raise InboxRefusal("invalid_uid", sentence)
    if stated_uid != sop_instance_uid:
        raise InboxRefusal("uid_mismatch", "the data set's SOP Instance UID differs from that of the request")
    return study_uid, series_uid
