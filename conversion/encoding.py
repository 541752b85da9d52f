"""Determines how a DICOM file is really encoded, from everything that is in it, and reads it accordingly.

The file meta information of a file states how its data set is encoded. Exporters and archives state that wrongly, or
not at all, so the bytes take precedence over the statement. The first elements show explicit or implicit VR, the byte
order and whether the data set is deflated. The Pixel Data element shows whether pixels are native or encapsulated. The
header of a compressed frame shows its codec. What fits no encoding is refused with a reason.
"""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian

from conversion.codestream import codestream_of, same_codec
from conversion.data_set_form import EXPLICIT, IMPLICIT, UNDEFINED_LENGTH, Form, element_at, form_of
from conversion.errors import ConversionReason, UnsettledEncoding

__all__ = [
    "MAXIMUM_INFLATED_BYTES",
    "Encoding",
    "PixelElement",
    "SettledDataset",
    "SettledInstance",
    "read_instance",
    "settle",
]

MAXIMUM_INFLATED_BYTES = 2**30
"""A deflated data set can grow a thousandfold in memory; enhanced MR of a whole head needs less than 0.3 GiB."""

_HEADERS_BYTES = 2**24
"""How much of a deflated data set is kept for its headers: the functional groups of 10,000 frames and more."""

_PIECE_BYTES = 2**20
_HEAD_BYTES = 2**16
"""Of a compressed frame: comments and colour profiles, which precede the size of the image, seldom take more."""

_PREFIX_AT = 128
_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_ITEM = b"\xfe\xff\x00\xe0"
_FILE_META, _COMMAND = 2, 0


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a file is encoded.

    Attributes
    ----------
    transfer_syntax
        The true transfer syntax.
    stated
        The transfer syntax in the file meta information; empty if there is none.
    form
        Form of the data set. Compressed pixels in implicit VR, which no transfer syntax allows, are still read.
    contradiction
        In words, how the statement and the content differ; empty if they agree.
    """

    transfer_syntax: UID
    stated: str
    form: Form
    contradiction: str = ""


@dataclass(frozen=True, kw_only=True)
class PixelElement:
    """Where the pixel data of an instance are stored.

    Attributes
    ----------
    keyword
        ``PixelData``, ``FloatPixelData`` or ``DoubleFloatPixelData``.
    vr
        ``OB``, ``OW`` and the like; empty in implicit VR.
    value_at
        Offset of the value in the instance's stream.
    length
        In bytes; None if it is undefined.
    """

    keyword: str
    vr: str
    value_at: int
    length: int | None


class SettledDataset(FileDataset):
    """A data set that was read as it is really encoded; its `file_meta` contains the true transfer syntax."""

    encoding: Encoding
    native_bytes: int | None = None
    """Length of uncompressed pixel data; None if there are none, or if they are compressed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SettledInstance:
    """One instance, read as it is really encoded.

    Attributes
    ----------
    pixels
        None if the instance has none.
    stream
        What `pixels` points into: the file, or its inflated content. If only headers are read, only the beginning of
        the inflated content is kept.
    size
        Size of the complete stream, in bytes.
    """

    dataset: SettledDataset
    pixels: PixelElement | None
    stream: BinaryIO
    size: int


def read_instance(path: Path, *, pixels: bool = True, defer_bytes: int | None = None) -> SettledDataset:
    """Read a file as it is really encoded, whatever it states; its `file_meta` then contains the true transfer syntax.

    Parameters
    ----------
    pixels
        Whether to read the pixel data and what follows them.
    defer_bytes
        Values longer than this stay on disk until they are accessed.

    Raises
    ------
    InvalidDicomError
        When it is not a DICOM file.
    UnsettledEncoding
        When its content fits no encoding, or contradicts itself.
    """
    with path.open("rb") as file:
        return settle(file, pixels=pixels, defer_bytes=defer_bytes).dataset


def settle(file: BinaryIO, *, pixels: bool = False, defer_bytes: int | None = None) -> SettledInstance:
    """Determine how an open file is encoded, and read it; otherwise as `read_instance`."""
    preamble, meta = _file_meta(file)
    stated = UID(str(meta.get("TransferSyntaxUID") or "").strip())
    kept = MAXIMUM_INFLATED_BYTES if pixels else _HEADERS_BYTES
    stream, size, form, deflated = _data_set(file, stated, kept, certain=bool(meta or preamble))
    body = read_dataset(
        stream,
        form.implicit_vr,
        form.little_endian,
        stop_when=lambda tag, _vr, _length: tag in _PIXELS,
        defer_size=defer_bytes,
        at_top_level=False,  # else pydicom would guess again whether it is implicit
    )
    element = _pixel_element(stream, form, stream.tell())
    syntax = _true_syntax(stream, element, form, stated, deflated=deflated)
    if pixels:
        body.update(
            read_dataset(stream, form.implicit_vr, form.little_endian, defer_size=defer_bytes, at_top_level=False)
        )
    meta.TransferSyntaxUID = syntax
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        if f"MediaStorage{keyword}" not in meta:
            setattr(meta, f"MediaStorage{keyword}", str(body.get(keyword, "")))
    ds = SettledDataset(stream, body, preamble or bytes(_PREFIX_AT), meta, form.implicit_vr, form.little_endian)
    ds.set_original_encoding(form.implicit_vr, form.little_endian, body._character_set)  # noqa: SLF001 - as dcmread does
    ds.encoding = Encoding(
        transfer_syntax=syntax, stated=str(stated), form=form, contradiction=_contradiction(stated, syntax, form)
    )
    if element is not None and not syntax.is_encapsulated:
        ds.native_bytes = element.length
    return SettledInstance(dataset=ds, pixels=element, stream=stream, size=size)


def _file_meta(file: BinaryIO) -> tuple[bytes | None, FileMetaDataset]:
    """Read preamble and file meta information if present; the file is then positioned at the data set (PS3.10 7.1)."""
    preamble = file.read(_PREFIX_AT)
    if file.read(4) != b"DICM":
        preamble = b""
        file.seek(0)
    meta = FileMetaDataset()
    for group in (_FILE_META, _COMMAND):  # some network archives leave a command set before the data set
        start = file.tell()
        for form in (EXPLICIT, IMPLICIT):  # old exporters write even the file meta information in implicit VR
            head = element_at(file, form, start)
            file.seek(start)
            if head is not None and head.tag >> 16 == group and head.length != UNDEFINED_LENGTH:
                found = read_dataset(
                    file,
                    form.implicit_vr,
                    is_little_endian=True,
                    stop_when=lambda tag, _vr, _length, group=group: BaseTag(tag).group != group,  # type: ignore[misc]
                    at_top_level=False,
                )
                meta.update(found if group == _FILE_META else {})
                break
    return preamble or None, meta


def _data_set(file: BinaryIO, stated: UID, kept: int, *, certain: bool) -> tuple[BinaryIO, int, Form, bool]:
    """Return a stream positioned at the data set, its size, the form of the data set, and whether it was deflated.

    Parameters
    ----------
    kept
        Maximum number of inflated bytes to keep.
    certain
        Whether the prefix or the file meta information prove that it is a DICOM file.
    """
    start = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(start)
    known = stated if stated in AllTransferSyntaxes else None
    form = form_of(file, size, _stated_form(known))
    if form is not None:
        return file, size, form, False
    if certain and (inflated := _inflated(file, start, kept)) is not None:
        stream, inflated_size = inflated
        form = form_of(stream, inflated_size, EXPLICIT)
        if form is not None:
            return stream, inflated_size, form, True
    if not certain:
        message = "neither file meta information nor a data set"
        raise InvalidDicomError(message)
    if size == start:
        return file, size, EXPLICIT, False  # pydicom reads a file without data set as an empty one
    contrary = f" (stated: {known.name})" if known else ""
    raise _unsettled(
        f"its data set fits neither implicit nor explicit VR (of either byte order), nor is it deflated{contrary}"
    )


def _stated_form(syntax: UID | None) -> Form | None:
    if syntax is None or syntax == DeflatedExplicitVRLittleEndian:
        return None
    return Form(implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)


def _inflated(file: BinaryIO, start: int, kept: int) -> tuple[BinaryIO, int] | None:
    """Return a deflated data set (PS3.5 A.5) and its size, or None if it is none; also with a zlib header."""
    for bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        file.seek(start)
        inflater, inflated, size = zlib.decompressobj(bits), io.BytesIO(), 0
        try:
            while not inflater.eof and (piece := inflater.unconsumed_tail or file.read(_PIECE_BYTES)):
                out = inflater.decompress(piece, _PIECE_BYTES)
                inflated.write(out[: kept - inflated.tell()])
                size += len(out)
                if size > MAXIMUM_INFLATED_BYTES:
                    raise _unsettled(f"its deflated data set is larger than {MAXIMUM_INFLATED_BYTES // 2**20} MiB")
        except zlib.error:
            continue
        if inflater.eof:
            inflated.seek(0)
            inflated.name = getattr(file, "name", None)
            return inflated, size
        if size:
            raise _unsettled("its deflated data set is truncated")
    return None


def _pixel_element(stream: BinaryIO, form: Form, at: int) -> PixelElement | None:
    head = element_at(stream, form, at)
    stream.seek(at)
    if head is None or head.tag not in _PIXELS:
        return None
    return PixelElement(
        keyword=_PIXELS[head.tag],
        vr=head.vr.decode(),
        value_at=head.value_at,
        length=None if head.length == UNDEFINED_LENGTH else head.length,
    )


def _true_syntax(stream: BinaryIO, element: PixelElement | None, form: Form, stated: UID, *, deflated: bool) -> UID:
    plain = DeflatedExplicitVRLittleEndian if deflated else form.transfer_syntax
    encapsulated = stated in AllTransferSyntaxes and stated.is_encapsulated and not deflated
    if element is None:
        return stated if encapsulated else plain  # there are no pixels that could contradict it
    at = stream.tell()
    stream.seek(element.value_at)
    head = stream.read(_HEAD_BYTES)
    stream.seek(at)
    if element.length is not None and not (encapsulated and head.startswith(_ITEM)):
        if stated and stated not in AllTransferSyntaxes:
            raise _unsettled(f"its stated transfer syntax {stated} is not a DICOM transfer syntax")
        return plain
    if not head.startswith(_ITEM) or element.keyword != "PixelData":
        raise _unsettled("its pixel data have no length and are not encapsulated, so their end is unknown")
    found = codestream_of(_first_frame(head))
    if encapsulated and (found is None or same_codec(found.transfer_syntax, stated)):
        return stated
    if found is None:
        statement = f"stated: {stated.name}" if stated else "no transfer syntax stated"
        raise _unsettled(f"its pixel data are compressed with an unknown codec ({statement})")
    return found.transfer_syntax


def _first_frame(head: bytes) -> bytes:
    """Return the beginning of the first fragment, which follows the offset table item (PS3.5 A.4)."""
    table = int.from_bytes(head[4:8], "little")
    return head[8 + table + 8 :]


def _contradiction(stated: UID, syntax: UID, form: Form) -> str:
    compressed_implicit = syntax.is_encapsulated and form.implicit_vr
    if stated == syntax and not compressed_implicit:
        return ""
    statement = stated.name or stated if stated else "no transfer syntax"
    actual = f"{syntax.name} within implicit VR" if compressed_implicit else syntax.name
    return f"read as {actual}, although the file meta information states {statement}"


def _unsettled(sentence: str) -> UnsettledEncoding:
    return UnsettledEncoding(ConversionReason.CONTRADICTORY_ENCODING, sentence)
