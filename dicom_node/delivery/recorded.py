"""Records in the audit trail what was sent to a destination: one message for a study, one more for what was refused."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit

from dicom_node.audit.codes import Outcome, Role
from dicom_node.audit.events import StudyTouched, remote_node
from dicom_node.audit.message import AuditMessage
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.tables import ResultRow
from dicom_node.peers.peer import Peer

__all__ = ["DeliveryRecord"]


class DeliveryRecord:
    """Records deliveries.

    Parameters
    ----------
    trail
        The audit trail.
    """

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail

    def sent(self, peer: Peer, answered: Sequence[tuple[ResultRow, bool]]) -> None:
        """Record objects of a study that were sent, each with whether the destination accepted it.

        A destination that is down is tried again and again; that it refuses the same objects is recorded now and then.
        """
        for accepted in (True, False):
            results = [result for result, taken in answered if taken is accepted]
            if not results:
                continue
            message = self._message(peer, results, accepted=accepted)
            if accepted:
                self._trail.record(message)
            else:
                uids = tuple(sorted(one.sop_instance_uid for one in results))
                self._trail.record_once(("not sent", peer.name, uids), message)

    def _message(self, peer: Peer, results: Sequence[ResultRow], *, accepted: bool) -> AuditMessage:
        known = self._trail.study(results[0].study_uid)
        study = StudyTouched(
            study_uid=known.study_uid,
            key=known.key,
            patient_id=known.patient_id,
            sop_classes=Counter(one.sop_class_uid for one in results),
        )
        address = (urlsplit(peer.dicomweb_url).hostname or "") if peer.send_by == "stow-rs" else peer.host
        receiver = remote_node(peer.ae_title, address, Role.DESTINATION, is_requestor=False)
        outcome = Outcome.SUCCESS if accepted else Outcome.MINOR
        return self._trail.report.sent(receiver, study, outcome, "" if accepted else "not accepted; sent again later")
