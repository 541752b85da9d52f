"""A DICOM file that comes in pieces (PS3.10 7): its header is read first, then its data set is taken as at the door."""

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
"""What is gathered before it is handed on; the first such piece has to hold the whole file meta information."""

_PREAMBLE_BYTES = 128 + 4
_META_GROUP = 2


@dataclass(frozen=True, kw_only=True)
class FileMeta:
    """What a file says of its data set.

    Attributes
    ----------
    header
        The file up to its data set, as it came.
    """

    transfer_syntax_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    header: bytes


class IncomingFile:
    """A file that is under way.

    Parameters
    ----------
    make_spool
        Makes the file for a data set that is too large to be gathered, behind a header.
    """

    def __init__(self, make_spool: Callable[[bytes], Spool]) -> None:
        self._make_spool = make_spool
        self._pending = bytearray()
        self._meta: FileMeta | None = None
        self._unreadable: InvalidDicomError | None = None
        self._data_set = Incoming()

    def take(self, piece: bytes) -> None:
        """Add what came.

        Raises
        ------
        OSError
            When it cannot be written; nothing of it is left then.
        """
        self._pending += piece
        if len(self._pending) >= PIECE_BYTES:
            self._hand_on()

    def whole(self) -> tuple[FileMeta, Incoming]:
        """Return what the file says of its data set, and the data set, when all has come.

        Raises
        ------
        InvalidDicomError
            When it is no DICOM file.
        OSError
            When it cannot be written.
        """
        self._hand_on()
        if self._unreadable is not None or self._meta is None:
            raise self._unreadable or InvalidDicomError("no DICOM file")
        return self._meta, self._data_set

    def discard(self) -> None:
        """Remove what has not been given its place; saying so twice does no harm."""
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
        _ = self._data_set.spool  # what cannot be written need not come any further


def _read_meta(content: memoryview) -> FileMeta:
    """Return a file's meta information, which ends where the data set begins (PS3.10 7.1).

    The group length would tell where, but not every writer writes it, or the right one: the group ends where another
    begins.
    """
    if bytes(content[_PREAMBLE_BYTES - 4 : _PREAMBLE_BYTES]) != b"DICM":
        raise InvalidDicomError("no DICOM file")
    file = io.BytesIO(content)
    file.seek(_PREAMBLE_BYTES)
    try:
        meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_is_behind_meta)
        syntax, uid = str(meta.TransferSyntaxUID), str(meta.MediaStorageSOPInstanceUID)
    except Exception as error:  # whatever a broken file makes pydicom raise: it is the file that is broken
        raise InvalidDicomError("the file meta information cannot be read") from error
    kind, header = identifier(meta, "MediaStorageSOPClassUID"), bytes(content[: file.tell()])
    return FileMeta(transfer_syntax_uid=syntax, sop_instance_uid=uid, sop_class_uid=kind, header=header)


def _is_behind_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag.group != _META_GROUP
