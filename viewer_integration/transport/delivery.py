"""Delivery by C-STORE, with a receipt for every object."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.association import Association

from conversion.encoding import read_instance
from conversion.errors import UnsettledEncoding
from viewer_integration.big_endian import little_endian_file, turn_little_endian, was_big_endian
from viewer_integration.transport.association import ContextRequest, RemoteEntity, open_association

__all__ = ["DeliveryReceipt", "send_files"]

_PLAIN = {
    str(syntax)
    for syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    )
}
"""Transfer syntaxes without encapsulated pixels: each can be converted to any other."""


@dataclass(frozen=True, kw_only=True)
class DeliveryReceipt:
    """The answer of a destination to one file.

    Attributes
    ----------
    status
        C-STORE status, or None when there was no answer.
    reason
        A sentence for a person; empty when it is a plain success.
    """

    path: Path
    sop_instance_uid: str
    accepted: bool
    status: int | None
    reason: str


def send_files(
    paths: Sequence[Path], destination: RemoteEntity, calling_ae: str, transfer_syntax: UID | None = None
) -> Iterator[DeliveryReceipt]:
    """Send DICOM files over one association, and yield a receipt for each, in order.

    A warning status (0xB000 to 0xBFFF) counts as accepted and is kept. Never raises because of the destination or the
    network.

    Parameters
    ----------
    transfer_syntax
        An uncompressed transfer syntax to convert uncompressed files to; None sends each as it is stored.
    """
    metas = [(path, _read_meta(path)) for path in paths]
    contexts = _contexts([meta for _, meta in metas if not isinstance(meta, str)], transfer_syntax)
    assoc, refusal = open_association(destination, calling_ae, contexts) if contexts else (None, "")
    try:
        for path, meta in metas:
            if isinstance(meta, str):
                yield _failed(path, "", None, f"{meta}; not sent")
            elif refusal or assoc is None:
                yield _failed(path, str(meta.MediaStorageSOPInstanceUID), None, refusal)
            else:
                yield _send(assoc, path, str(meta.MediaStorageSOPInstanceUID), destination, transfer_syntax)
    finally:
        if assoc is not None and assoc.is_established:
            assoc.release()


def _contexts(metas: Sequence[pydicom.dataset.FileMetaDataset], transfer_syntax: UID | None) -> list[ContextRequest]:
    """Return the contexts to propose: each kind of object as stored, and uncompressed ones in the default syntax too.

    Every peer accepts Implicit VR Little Endian (PS3.5 10.1), and some accept nothing else. It is proposed last, so
    that a peer that accepts both receives what is stored.
    """
    stored = {(str(m.MediaStorageSOPClassUID), str(transfer_syntax or m.TransferSyntaxUID)) for m in metas}
    plain = {(kind, str(ImplicitVRLittleEndian)) for kind, syntax in stored if syntax in _PLAIN}
    return [*sorted(stored), *sorted(plain - stored)]


def _read_meta(path: Path) -> pydicom.dataset.FileMetaDataset | str:
    """Return the file meta information, taken from the data set where it is missing or wrong; otherwise a reason."""
    try:
        meta = read_instance(path, pixels=False).file_meta
    except UnsettledEncoding as error:
        return str(error)
    except InvalidDicomError:
        return "not a DICOM file"
    except OSError as error:
        return f"the file cannot be read ({type(error).__name__})"
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a damaged file; the others are still sent
        return f"the file is damaged ({type(error).__name__})"
    needed = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")
    absent = [keyword.removeprefix("MediaStorage") for keyword in needed if not meta.get(keyword)]
    return f"the file has no {absent[0]}" if absent else meta


def _send(
    assoc: Association, path: Path, sop_instance_uid: str, destination: RemoteEntity, transfer_syntax: UID | None
) -> DeliveryReceipt:
    if not assoc.is_established:
        return _failed(path, sop_instance_uid, None, f"{destination.ae_title} closed the association; not sent")
    try:
        ds: pydicom.FileDataset = read_instance(path)
        if transfer_syntax is not None and transfer_syntax != ds.file_meta.TransferSyntaxUID:
            ds = _re_encoded(ds, transfer_syntax)
        if not (accepted_syntaxes := _accepted_syntaxes(assoc, ds)):
            form = f"{ds.file_meta.MediaStorageSOPClassUID.name}, {ds.file_meta.TransferSyntaxUID.name}"
            sentence = f"{destination.ae_title} does not accept this kind of object ({form})"
            return _failed(path, sop_instance_uid, None, sentence)
        if was_big_endian(ds) and ds.file_meta.TransferSyntaxUID not in accepted_syntaxes:
            turn_little_endian(ds)
            ds = pydicom.dcmread(io.BytesIO(little_endian_file(ds)))
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a damaged file; the others are still sent
        return _failed(path, sop_instance_uid, None, f"the file is damaged ({type(error).__name__}); not sent")
    try:
        answer = assoc.send_c_store(ds)
    except Exception as error:  # noqa: BLE001 - the association never raises, so the file cannot be encoded
        return _failed(path, sop_instance_uid, None, f"the file cannot be encoded ({type(error).__name__}); not sent")
    status = answer.get("Status")
    if status is None:
        assoc.abort()  # otherwise the next file would wait for an answer on a lost connection
        return _failed(path, sop_instance_uid, None, f"{destination.ae_title} gave no answer")
    accepted = status == 0 or 0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116)
    reason = "" if status == 0 else f"{destination.ae_title} answered 0x{status:04X}"
    comment = str(answer.get("ErrorComment", "") or "")
    return DeliveryReceipt(
        path=path,
        sop_instance_uid=sop_instance_uid,
        accepted=accepted,
        status=int(status),
        reason=f"{reason}: {comment}" if reason and comment else reason,
    )


def _accepted_syntaxes(assoc: Association, ds: pydicom.FileDataset) -> set[str]:
    """Return the accepted transfer syntaxes that a file can be sent in: its own, or if it is plain, any plain one."""
    own, kind = str(ds.file_meta.TransferSyntaxUID), ds.file_meta.MediaStorageSOPClassUID
    accepted = {str(c.transfer_syntax[0]) for c in assoc.accepted_contexts if c.abstract_syntax == kind}
    return accepted & (_PLAIN | {own} if own in _PLAIN else {own})


def _re_encoded(ds: pydicom.FileDataset, transfer_syntax: UID) -> pydicom.FileDataset:
    buffer = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    pydicom.dcmwrite(buffer, ds, implicit_vr=transfer_syntax.is_implicit_VR, little_endian=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def _failed(path: Path, sop_instance_uid: str, status: int | None, reason: str) -> DeliveryReceipt:
    return DeliveryReceipt(path=path, sop_instance_uid=sop_instance_uid, accepted=False, status=status, reason=reason)
