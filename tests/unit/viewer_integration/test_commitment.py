"""Storage commitment over a real association: what is asked, what is answered, and what the answer means in words."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, SegmentationStorage
from pynetdicom import AE, evt

from tests.support.pacs import OpenSockets
from tests.support.raw_values import put_raw
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.commitment import CommitmentAnswer, read_answer, request_commitment

MODEL, INSTANCE, VERIFICATION = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1", "1.2.840.10008.1.1"
OBJECTS = ((str(MRImageStorage), "1.2.3.1"), (str(SegmentationStorage), "1.2.3.2"))
TIMEOUT_S = 30.0


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _report(committed: Sequence[str] = (), failed: Sequence[tuple[str, int | None]] = ()) -> Dataset:
    report = Dataset()
    report.TransactionUID = "2.25.7"
    report.ReferencedSOPSequence = [_item(uid) for uid in committed]
    report.FailedSOPSequence = [_item(uid, reason) for uid, reason in failed]
    return report


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (0x0110, "it reported a processing failure"),
        (0x0112, "it does not have the object"),
        (0x0213, "it reported a resource limitation"),
        (0x0122, "it does not support the SOP class"),
        (0x0119, "it reported a class and instance conflict"),
        (0x0131, "it reported a duplicate transaction UID"),
        (0x0000, "it reported failure 0x0000"),
        (0xC00A, "it reported failure 0xC00A"),
        (None, "it gave no reason"),
    ],
)
def test_each_failure_reason_of_the_standard_is_a_sentence(reason: int | None, sentence: str) -> None:
    """PS3.3 C.14.1.1."""
    answer = read_answer(_report(failed=[("1.2.3.1", reason)]))
    assert (answer.committed, dict(answer.failed)) == ((), {"1.2.3.1": sentence})


def test_committed_and_failed_objects_are_told_apart_in_their_order() -> None:
    answer = read_answer(_report(["1.2.9", "1.2.1", "1.2.5"], [("1.2.2", 0x0112), ("1.2.3", None)]))
    assert answer.transaction_uid == "2.25.7"
    assert answer.committed == ("1.2.9", "1.2.1", "1.2.5")
    assert list(answer.failed) == ["1.2.2", "1.2.3"]


def test_an_empty_report_commits_to_nothing() -> None:
    assert read_answer(Dataset()) == CommitmentAnswer(transaction_uid="", committed=(), failed={})


@pytest.mark.parametrize("value", [b"", b"no uid", b"1.2\\1.3", b"1" * 65])
def test_what_is_no_uid_names_neither_an_object_nor_a_transaction(value: bytes) -> None:
    report = _report(["1.2.1"], [("1.2.2", 0x0112)])
    for ds, keyword in (
        (report, "TransactionUID"),
        (report.ReferencedSOPSequence[0], "ReferencedSOPInstanceUID"),
        (report.FailedSOPSequence[0], "ReferencedSOPInstanceUID"),
    ):
        put_raw(ds, keyword, "UI", value)
    assert read_answer(report) == CommitmentAnswer(transaction_uid="", committed=(), failed={})


@contextmanager
def _committer(on_action: Callable[[evt.Event], tuple[int, None]], *classes: str) -> Iterator[RemoteEntity]:
    entity = AE(ae_title="COMMITTER")
    for uid in classes or (MODEL,):
        entity.add_supported_context(uid)
    sockets = OpenSockets()
    handlers: list[Any] = [(evt.EVT_N_ACTION, on_action), sockets.handler]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield RemoteEntity(name="Archive", ae_title="COMMITTER", host="127.0.0.1", port=server.server_address[1])
    finally:
        entity.shutdown()
        sockets.close()


def _ignored(_answer: CommitmentAnswer) -> None:
    pytest.fail("nothing was answered")


def test_the_request_names_every_object_under_the_transaction() -> None:
    asked: list[tuple[Any, ...]] = []

    def on_action(event: evt.Event) -> tuple[int, None]:
        request: Any = event.request
        asked.append((event.action_type, str(request.RequestedSOPClassUID), str(request.RequestedSOPInstanceUID)))
        information = event.action_information
        pairs = [
            (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in information.ReferencedSOPSequence
        ]
        asked.append((information.TransactionUID, *pairs))
        return 0x0000, None

    with _committer(on_action) as remote:
        assert request_commitment(remote, "GLIONODE", OBJECTS, "2.25.7", _ignored) == ""
    assert asked == [(1, MODEL, INSTANCE), ("2.25.7", *OBJECTS)]


@pytest.mark.parametrize("status", [0x0110, 0x0123, 0xC000])
def test_a_request_that_is_turned_down_is_told_with_its_status(status: int) -> None:
    with _committer(lambda _event: (status, None)) as remote:
        sentence = request_commitment(remote, "GLIONODE", OBJECTS, "2.25.7", _ignored)
    where = f"COMMITTER at 127.0.0.1:{remote.port}"
    assert sentence == f"{where} answered 0x{status:04X} to the storage commitment request"


def test_a_destination_that_hangs_up_gave_no_answer() -> None:
    def on_action(event: evt.Event) -> tuple[int, None]:
        event.assoc.abort()
        return 0x0000, None

    with _committer(on_action) as remote:
        sentence = request_commitment(remote, "GLIONODE", OBJECTS, "2.25.7", _ignored)
    assert sentence.endswith(" gave no answer to the storage commitment request")


def test_a_destination_without_commitment_offers_nothing_to_ask_for() -> None:
    with _committer(lambda _event: (0x0000, None), VERIFICATION) as remote:
        sentence = request_commitment(remote, "GLIONODE", OBJECTS, "2.25.7", _ignored)
    where = f"COMMITTER at 127.0.0.1:{remote.port}"
    assert sentence == f"{where} accepts none of the offered kinds of object (SOP classes) and transfer syntaxes"


def test_an_answer_over_the_same_association_is_handed_on() -> None:
    answers: list[CommitmentAnswer] = []
    statuses: list[object] = []
    told = threading.Event()

    def report(assoc: Any) -> None:  # noqa: ANN401 - pynetdicom's own
        status, _ = assoc.send_n_event_report(_report(["1.2.3.1"], [("1.2.3.2", 0x0112)]), 2, MODEL, INSTANCE)
        statuses.append(status.get("Status"))
        told.set()

    def on_action(event: evt.Event) -> tuple[int, None]:
        threading.Thread(target=report, args=(event.assoc,)).start()
        assert told.wait(TIMEOUT_S)
        return 0x0000, None

    with _committer(on_action) as remote:
        assert request_commitment(remote, "GLIONODE", OBJECTS, "2.25.7", answers.append) == ""
    assert [(one.transaction_uid, one.committed, dict(one.failed)) for one in answers] == [
        ("2.25.7", ("1.2.3.1",), {"1.2.3.2": "it does not have the object"})
    ]
    assert statuses == [0x0000]
