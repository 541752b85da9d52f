"""Records in the audit trail what arrives: one message for each association and study, not for each instance."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pynetdicom.association import Association

from dicom_node.audit.codes import EventType, Outcome, Role
from dicom_node.audit.events import StudyTouched, remote_node
from dicom_node.audit.trail import AuditTrail
from dicom_node.reception.arrived_instance import ArrivedInstance

__all__ = ["ReceptionRecord"]

REFUSED_IDENTITIES = frozenset({"calling_ae_title", "called_ae_title", "too_many_connections"})
"""Codes of refusals that concern security; the others, such as a full disk, are in `glionode status`."""


@dataclass
class _Arrived:
    patient_id: str
    sop_classes: Counter[str] = field(default_factory=Counter)


class ReceptionRecord:
    """Collects what each association brings, and records it when the association ends.

    Parameters
    ----------
    trail
        The audit trail.
    """

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._open: WeakKeyDictionary[Association, dict[str, _Arrived]] = WeakKeyDictionary()

    def arrived(self, assoc: Association, arrival: ArrivedInstance) -> None:
        """Count an instance that was stored."""
        studies = self._open.setdefault(assoc, {})
        study = studies.setdefault(arrival.study_uid, _Arrived(patient_id=arrival.patient_id))
        study.sop_classes[arrival.sop_class_uid] += 1

    def ended(self, assoc: Association, *, released: bool) -> None:
        """Record what an association brought."""
        studies = self._open.pop(assoc, None)
        if not studies:
            return
        sender = remote_node(
            assoc.requestor.ae_title.strip(), str(assoc.requestor.address), Role.SOURCE, is_requestor=True
        )
        how = "" if released else "the association was aborted"
        self._trail.record(
            *(
                self._trail.report.received(sender, _touched(study_uid, study), description=how)
                for study_uid, study in studies.items()
            )
        )

    def lost(self, brought: Mapping[str, Sequence[StudyTouched]]) -> None:
        """Record what associations brought whose listener was killed; by calling AE title."""
        how = "recorded later: the listener was ended while the association was open"
        self._trail.record(
            *(
                self._trail.report.received(
                    remote_node(calling_ae, "", Role.SOURCE, is_requestor=True), study, description=how
                )
                for calling_ae, studies in brought.items()
                for study in studies
            )
        )

    def refused(self, assoc: Association, code: str, peer: str) -> None:
        """Record that a caller was refused for what it is; one that repeats it, or scans, now and then.

        An unknown caller is named by its address alone: its AE title may be anything, even the name of a patient.
        """
        if code not in REFUSED_IDENTITIES:
            return
        address = str(assoc.requestor.address)[:64]
        caller = remote_node(peer, address, is_requestor=True)
        message = self._trail.report.alert(
            caller, EventType.NODE_AUTHENTICATION, address, f"association refused: {code}", Outcome.MINOR
        )
        self._trail.record_once(("refused", code, address, peer), message)


def _touched(study_uid: str, study: _Arrived) -> StudyTouched:
    return StudyTouched(study_uid=study_uid, patient_id=study.patient_id, sop_classes=dict(study.sop_classes))
