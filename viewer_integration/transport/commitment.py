"""Storage commitment as SCU: asks a destination to take responsibility for objects (PS3.4 J)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from conversion.attributes import Attributes
from conversion.values import identifier, items
from viewer_integration.transport.association import RemoteEntity, open_association

__all__ = ["CommitmentAnswer", "read_answer", "request_commitment"]

REQUEST = 1
"""Action type of a request (PS3.4 J.3.2)."""

_REASONS = {
    0x0110: "it reported a processing failure",
    0x0112: "it does not have the object",
    0x0213: "it reported a resource limitation",
    0x0122: "it does not support the SOP class",
    0x0119: "it reported a class and instance conflict",
    0x0131: "it reported a duplicate transaction UID",
}
"""Failure reasons (PS3.3 C.14.1.1)."""


@dataclass(frozen=True, kw_only=True)
class CommitmentAnswer:
    """The content of an N-EVENT-REPORT.

    Attributes
    ----------
    failed
        By SOP Instance UID: why the destination does not take responsibility for it.
    """

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, str]


def read_answer(report: Dataset) -> CommitmentAnswer:
    """Read the event information of an N-EVENT-REPORT (PS3.4 table J.3-2).

    Items that name no instance are ignored.
    """
    committed = (identifier(item, "ReferencedSOPInstanceUID") for item in items(report, "ReferencedSOPSequence"))
    failed = {
        identifier(item, "ReferencedSOPInstanceUID"): _reason(Attributes(item).number("FailureReason"))
        for item in items(report, "FailedSOPSequence")
    }
    return CommitmentAnswer(
        transaction_uid=identifier(report, "TransactionUID"),
        committed=tuple(uid for uid in committed if uid),
        failed={uid: why for uid, why in failed.items() if uid},
    )


def _reason(code: float | None) -> str:
    return "it gave no reason" if code is None else _REASONS.get(int(code), f"it reported failure 0x{int(code):04X}")


def request_commitment(
    remote: RemoteEntity,
    calling_ae: str,
    objects: Sequence[tuple[str, str]],
    transaction_uid: str,
    answered: Callable[[CommitmentAnswer], None],
) -> str:
    """Request commitment; the answer arrives over this association, or later over one that the destination opens.

    Parameters
    ----------
    objects
        SOP Class UID and SOP Instance UID of each.
    answered
        Called with an answer that arrives over this association.

    Returns
    -------
    str
        Empty when the request was accepted, otherwise a sentence that explains why not.
    """

    def on_report(event: evt.Event) -> tuple[int, None]:
        answered(read_answer(event.event_information))
        return 0x0000, None

    contexts = [(StorageCommitmentPushModel, syntax) for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian)]
    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, on_report)]
    assoc, refusal = open_association(remote, calling_ae, contexts, evt_handlers=handlers)
    if refusal:
        return refusal
    try:
        if not assoc.accepted_contexts:
            return f"{remote.where} does not support storage commitment"
        ds = Dataset()
        ds.TransactionUID = transaction_uid
        ds.ReferencedSOPSequence = [_reference(*one) for one in objects]
        status, _ = assoc.send_n_action(ds, REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        code = status.get("Status")
        if code == 0x0000:
            return ""
        answer = "gave no answer" if code is None else f"answered 0x{code:04X}"
        return f"{remote.where} {answer} to the storage commitment request"
    finally:
        if assoc.is_established:
            assoc.release()


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item
