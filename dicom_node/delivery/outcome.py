"""What a run comes to by its deliveries: who is not waited for any more, who lacks what, and what its state says."""

from collections.abc import Collection, Sequence

from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow
from dicom_node.peers.peer import Peer
from inference.errors import InferenceReason

__all__ = ["OPEN", "call_off", "is_unmade", "outcome_of"]

OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.REFUSED)
"""What a delivery is in that something is still to come of."""


def call_off(rows: Sequence[DeliveryRow], results: Sequence[ResultRow], peers: Sequence[Peer]) -> None:
    """Wait no longer for who is no destination any more, nor to send what is not wanted any more."""
    wanted = {
        (result.sop_instance_uid, peer.name)
        for peer in peers
        for result in results
        if result.profile == peer.profile.key and result.kind in peer.kinds
    }
    for row in rows:
        if row.state != DeliveryState.ACCEPTED and (row.sop_instance_uid, row.destination) not in wanted:
            is_there = any(peer.name == row.destination for peer in peers)
            row.state = DeliveryState.CALLED_OFF
            row.reason = "it wants other objects now" if is_there else "it is no enabled destination any more"


def is_unmade(peer: Peer, rows: Sequence[DeliveryRow], results: Sequence[ResultRow]) -> bool:
    """Tell whether a destination waits for another form than was made; who took what it wanted before does not."""
    if any(result.profile == peer.profile.key for result in results):
        return False
    kinds = {result.sop_instance_uid: result.kind for result in results}
    taken = {
        kinds.get(row.sop_instance_uid)
        for row in rows
        if row.destination == peer.name and row.state == DeliveryState.ACCEPTED
    }
    return not taken >= peer.kinds & set(kinds.values())


def outcome_of(
    rows: Sequence[DeliveryRow], in_lanes: Collection[str], told: Sequence[str], withheld: str
) -> tuple[RunState, str, str]:
    """Return the state of a run, its code, and a sentence on each destination that something is still to come of.

    Parameters
    ----------
    in_lanes
        Destinations whose part of the round is under way: the run is not over before it is.
    told
        Further sentences that keep it open.
    withheld
        Why its result is withheld; empty where it is not.
    """
    rows = [row for row in rows if row.state != DeliveryState.CALLED_OFF]
    open_ones = [row for row in rows if row.state != DeliveryState.ACCEPTED]
    said = {(row.destination, row.reason or "not sent yet") for row in open_ones}
    said |= {(name, "under way") for name in set(in_lanes) - {row.destination for row in open_ones}}
    reasons = [*(f"{name}: {reason}" for name, reason in sorted(said)), *told]
    if reasons:
        return RunState.UNDELIVERED, "undelivered", "; ".join([withheld, *reasons] if withheld else reasons)
    if withheld:
        return RunState.REJECTED, InferenceReason.WITHHELD, withheld
    if not rows:
        return RunState.STORED, "", "no destination is configured: the results are kept on the node"
    return RunState.DELIVERED, "", ""
