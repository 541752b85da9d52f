"""The state of a run follows from its deliveries: called off, not made in the wanted form, or open and why."""

from collections.abc import Sequence
from typing import Any

import pytest

from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow
from dicom_node.delivery.outcome import call_off, is_unmade, outcome_of
from dicom_node.peers.peer import Peer

UIDS = {"SEG": "9.1", "SR": "9.2"}
AS_LABEL_MAP = {"seg_form": "labelmap"}
WITHHELD = "the images show no brain"


def _peer(name: str = "PACS", **changed: Any) -> Peer:  # noqa: ANN401 - any field of a peer
    facts: dict[str, Any] = {"ae_title": "PACS", "host": "127.0.0.1", "port": 104, "is_destination": True}
    return Peer(name=name, **(facts | changed))


def _results(*kinds: str, profile: str = "") -> list[ResultRow]:
    return [ResultRow(sop_instance_uid=UIDS[kind], kind=kind, profile=profile) for kind in kinds]


def _row(
    kind: str, state: DeliveryState = DeliveryState.WAITING, destination: str = "PACS", reason: str = ""
) -> DeliveryRow:
    return DeliveryRow(sop_instance_uid=UIDS[kind], destination=destination, state=state, reason=reason)


def _states(rows: Sequence[DeliveryRow]) -> list[tuple[str, str]]:
    return [(row.state, row.reason) for row in rows]


@pytest.mark.parametrize("state", [DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.REFUSED])
def test_what_a_destination_still_wants_is_not_called_off(state: DeliveryState) -> None:
    rows = [_row("SEG", state, reason="busy"), _row("SR", state, reason="busy")]
    call_off(rows, _results("SEG", "SR"), [_peer("Other"), _peer()])
    assert _states(rows) == [(state, "busy")] * 2


def test_a_peer_that_is_gone_is_sent_nothing_more_and_what_it_took_stays_taken() -> None:
    rows = [_row("SEG", DeliveryState.ACCEPTED), _row("SR", DeliveryState.REFUSED, reason="busy")]
    call_off(rows, _results("SEG", "SR"), [_peer("Other")])
    assert _states(rows) == [
        (DeliveryState.ACCEPTED, ""),
        (DeliveryState.CALLED_OFF, "it is no longer a destination"),
    ]


def test_a_kind_that_a_peer_no_longer_receives_is_called_off_alone() -> None:
    rows = [_row("SEG"), _row("SR")]
    call_off(rows, _results("SEG", "SR"), [_peer(objects="sr")])
    assert _states(rows) == [
        (DeliveryState.CALLED_OFF, "it now receives other objects"),
        (DeliveryState.WAITING, ""),
    ]


def test_an_object_in_a_form_that_a_peer_no_longer_wants_is_called_off() -> None:
    rows = [_row("SEG")]
    call_off(rows, _results("SEG", profile="labelmap-7701-7702"), [_peer(**AS_LABEL_MAP)])
    assert _states(rows) == [(DeliveryState.WAITING, "")]
    call_off(rows, _results("SEG"), [_peer(**AS_LABEL_MAP)])
    assert _states(rows) == [(DeliveryState.CALLED_OFF, "it now receives other objects")]


@pytest.mark.parametrize(
    ("peer", "made", "accepted", "is_lacking"),
    [
        (_peer(), [("SEG", ""), ("SR", "")], [], False),
        (_peer(**AS_LABEL_MAP), [("SEG", ""), ("SR", "")], [], True),
        (_peer(**AS_LABEL_MAP), [("SEG", ""), ("SR", "labelmap-7701-7702")], [], False),
        (_peer(**AS_LABEL_MAP), [("SEG", ""), ("SR", "")], ["SEG"], True),
        (_peer(**AS_LABEL_MAP), [("SEG", ""), ("SR", "")], ["SEG", "SR"], False),
        (_peer(**AS_LABEL_MAP, objects="SR"), [("SEG", ""), ("SR", "")], ["SR"], False),
        (_peer(**AS_LABEL_MAP), [("SR", "")], ["SR"], False),
        (_peer(seg_series=7801), [("SEG", ""), ("SR", "")], [], True),
        (_peer(**AS_LABEL_MAP), [], [], False),
    ],
)
def test_a_form_is_lacking_until_it_is_made_or_all_was_accepted_in_another(
    peer: Peer, made: list[tuple[str, str]], accepted: list[str], *, is_lacking: bool
) -> None:
    results = [result for kind, profile in made for result in _results(kind, profile=profile)]
    rows = [_row(kind, DeliveryState.ACCEPTED if kind in accepted else DeliveryState.REFUSED) for kind, _ in made]
    assert is_unmade(peer, rows, results) is is_lacking


def test_what_another_destination_accepted_is_nothing_to_this_one() -> None:
    rows = [_row(kind, DeliveryState.ACCEPTED, "Other") for kind in UIDS]
    assert is_unmade(_peer(**AS_LABEL_MAP), rows, _results("SEG", "SR"))


def test_a_run_is_delivered_when_every_destination_has_accepted_everything() -> None:
    rows = [_row("SEG", DeliveryState.ACCEPTED), _row("SR", DeliveryState.ACCEPTED)]
    assert outcome_of(rows, (), (), "") == (RunState.DELIVERED, "", "")
    assert outcome_of([*rows, _row("SR", DeliveryState.CALLED_OFF, "Gone")], (), (), "") == (RunState.DELIVERED, "", "")


@pytest.mark.parametrize("rows", [[], [_row("SR", DeliveryState.CALLED_OFF)]])
def test_a_run_without_a_destination_keeps_its_results_on_the_node(rows: list[DeliveryRow]) -> None:
    reason = "no destination is configured: the results are kept on the node"
    assert outcome_of(rows, (), (), "") == (RunState.STORED, "", reason)


def test_each_reason_of_an_open_run_is_told_once_and_by_destination() -> None:
    rows = [
        _row("SEG", DeliveryState.REFUSED, "PACS", "it is full"),
        _row("SR", DeliveryState.REFUSED, "PACS", "it is full"),
        _row("SR", DeliveryState.WAITING, "Archive"),
        _row("SEG", DeliveryState.ACCEPTED, "Archive"),
    ]
    told = outcome_of(rows, (), ["the label map is still to be made"], "")
    reason = "Archive: not sent yet; PACS: it is full; the label map is still to be made"
    assert told == (RunState.UNDELIVERED, "undelivered", reason)


def test_a_lane_at_work_keeps_a_run_open_and_is_named_unless_its_delivery_is() -> None:
    accepted, refused = _row("SEG", DeliveryState.ACCEPTED), _row("SEG", DeliveryState.REFUSED, reason="busy")
    assert outcome_of([accepted], ["PACS"], (), "") == (RunState.UNDELIVERED, "undelivered", "PACS: in progress")
    assert outcome_of([refused], ["PACS"], (), "") == (RunState.UNDELIVERED, "undelivered", "PACS: busy")


def test_a_withheld_result_is_rejected_once_its_report_is_delivered() -> None:
    assert outcome_of([_row("SR", DeliveryState.ACCEPTED)], (), (), WITHHELD) == (
        RunState.REJECTED,
        "withheld",
        WITHHELD,
    )
    assert outcome_of([_row("SR")], (), (), WITHHELD) == (
        RunState.UNDELIVERED,
        "undelivered",
        f"{WITHHELD}; PACS: not sent yet",
    )
