"""Derives the state of a run from its deliveries: which are called off, and which are still open and why."""

from collections.abc import Collection, Sequence

from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow
from dicom_node.peers.peer import Peer
from inference.errors import InferenceReason

__all__ = ["DISABLED", "OPEN", "call_off", "hold", "is_unmade", "outcome_of"]

OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.REFUSED)
"""States of a delivery that is not finished."""

DISABLED = "it is disabled; sent once it is enabled again"
"""Reason of a delivery that waits for a disabled destination."""


def call_off(rows: Sequence[DeliveryRow], results: Sequence[ResultRow], peers: Sequence[Peer]) -> None:
    """Call off deliveries whose peer is no longer a destination, or no longer configured for the object.

    Parameters
    ----------
    peers
        Every destination, including disabled ones, for which deliveries wait.
    """
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
            row.reason = "it now receives other objects" if is_there else "it is no longer a destination"


def hold(rows: Sequence[DeliveryRow], disabled: Collection[str]) -> None:
    """Let open deliveries to disabled destinations wait, and state why.

    Parameters
    ----------
    disabled
        Names of the disabled destinations.
    """
    for row in rows:
        if row.state in OPEN and row.destination in disabled:
            row.state, row.reason = DeliveryState.WAITING, DISABLED


def is_unmade(peer: Peer, rows: Sequence[DeliveryRow], results: Sequence[ResultRow]) -> bool:
    """Return whether a destination needs a form that was not made, and has not accepted all kinds in another."""
    if any(result.profile == peer.profile.key for result in results):
        return False
    kinds = {result.sop_instance_uid: result.kind for result in results}
    accepted = {
        kinds.get(row.sop_instance_uid)
        for row in rows
        if row.destination == peer.name and row.state == DeliveryState.ACCEPTED
    }
    return not accepted >= peer.kinds & set(kinds.values())


def outcome_of(
    rows: Sequence[DeliveryRow], in_lanes: Collection[str], problems: Sequence[str], withheld: str
) -> tuple[RunState, str, str]:
    """Return the state of a run, its code, and a reason for each destination that is not finished.

    Parameters
    ----------
    in_lanes
        Destinations whose part of the round is in progress: the run is open until it ends.
    problems
        Further reasons that keep the run open.
    withheld
        Why its result is withheld; empty where it is not.
    """
    rows = [row for row in rows if row.state != DeliveryState.CALLED_OFF]
    open_ones = [row for row in rows if row.state != DeliveryState.ACCEPTED]
    unfinished = {(row.destination, row.reason or "not sent yet") for row in open_ones}
    unfinished |= {(name, "in progress") for name in set(in_lanes) - {row.destination for row in open_ones}}
    reasons = [*(f"{name}: {reason}" for name, reason in sorted(unfinished)), *problems]
    if reasons:
        return RunState.UNDELIVERED, "undelivered", "; ".join([withheld, *reasons] if withheld else reasons)
    if withheld:
        return RunState.REJECTED, InferenceReason.WITHHELD, withheld
    if not rows:
        return RunState.STORED, "", "no destination is configured: the results are kept on the node"
    return RunState.DELIVERED, "", ""
