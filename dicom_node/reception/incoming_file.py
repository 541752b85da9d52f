"""A DICOM file that arrives in pieces (PS3.10 7): reads its header, then receives its data set as the listener does."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from conversion.values import identifier
from dicom_node.reception.incoming import Incoming
from dicom_node.reception.spool import Spool

__all__ = ["FileMeta", "IncomingFile"]

PIECE_BYTES = 2**20
"""Pieces are collected up to this size; the first must contain the complete file meta information."""

_PREAMBLE_BYTES = 128 + 4
_META_GROUP = 2


@dataclass(frozen=True, kw_only=True)
class FileMeta:
    """What the header of a file states about its data set.

    Attributes
    ----------
    header
        The file up to its data set, as received.
    """

    transfer_syntax_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    header: bytes


class IncomingFile:
    """A file that is being received.

    Parameters
    ----------
    make_spool
        Creates the file, with a header, for a data set that is too large for memory.
    """

    def __init__(self, make_spool: Callable[[bytes], Spool]) -> None:
        self._make_spool = make_spool
        self._pending = bytearray()
        self._meta: FileMeta | None = None
        self._unreadable: InvalidDicomError | None = None
        self._data_set = Incoming()

    def take(self, piece: bytes) -> None:
        """Append a piece.

        Raises
        ------
        OSError
            When it cannot be written; everything received is then removed.
        """
        self._pending += piece
        if len(self._pending) >= PIECE_BYTES:
            self._hand_on()

    def whole(self) -> tuple[FileMeta, Incoming]:
        """Return the header and the data set, once the file is complete.

        Raises
        ------
        InvalidDicomError
            When it is not a DICOM file.
        OSError
            When it cannot be written.
        """
        self._hand_on()
        if self._unreadable is not None or self._meta is None:
            raise self._unreadable or InvalidDicomError("not a DICOM file")
        return self._meta, self._data_set

    def discard(self) -> None:
        """Remove the file unless it was moved to its place; calling this twice is harmless."""
        self._pending.clear()
        self._data_set.discard()

    def _hand_on(self) -> None:
        piece, self._pending = memoryview(bytes(self._pending)), bytearray()
        if self._unreadable is not None:
            return
        if self._meta is None:
            try:
                meta = self._meta = _read_meta(piece)
            except InvalidDicomError as error:
                self._unreadable = error
                return
            self._data_set = Incoming(lambda: self._make_spool(meta.header))
            piece = piece[len(meta.header) :]
        self._data_set.take(piece)
        _ = self._data_set.spool  # raises at once if it could not be written


def _read_meta(content: memoryview) -> FileMeta:
    """Return a file's meta information, which ends where the data set begins (PS3.10 7.1).

    The group length would give that position, but some writers omit it or write a wrong one. So the group is read until
    another one begins.
    """
    if bytes(content[_PREAMBLE_BYTES - 4 : _PREAMBLE_BYTES]) != b"DICM":
        raise InvalidDicomError("not a DICOM file")
    file = io.BytesIO(content)
    file.seek(_PREAMBLE_BYTES)
    try:
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_behind_meta)
        syntax, uid = str(meta.TransferSyntaxUID), str(meta.MediaStorageSOPInstanceUID)
    except Exception as error:  # whatever pydicom raises for a damaged file
        raise InvalidDicomError("the file meta information cannot be read") from error
    sop_class_uid, header = identifier(meta, "MediaStorageSOPClassUID"), bytes(content[: file.tell()])
    return FileMeta(transfer_syntax_uid=syntax, sop_instance_uid=uid, sop_class_uid=sop_class_uid, header=header)


def _is_behind_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != _META_GROUP
