"""Answers that break every rule end in a sentence and in nothing known, never in an exception or a wrong count."""

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress

import pydicom.config
import pytest

from dicom_node.peers import query
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed, demographics_of, instances_of_study, studies_of_patient
from tests.support.strange_scp import StrangeScp, identifier, running_strange_scp
from tests.support.web_source import WebSource, serving_web


@pytest.fixture(autouse=True)
def _values_as_in_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.fixture
def scp() -> Iterator[StrangeScp]:
    with running_strange_scp() as running:
        yield running


@pytest.fixture
def web() -> Iterator[WebSource]:
    with serving_web() as running:
        yield running


def _peer(scp: StrangeScp) -> Peer:
    return Peer(name="Strange", ae_title="STRANGE", host="127.0.0.1", port=scp.port, is_source=True)


def _answers(scp: StrangeScp, **levels: list[dict[str, bytes]]) -> None:
    scp.finds = lambda level: [identifier(one) for one in levels.get(level, [])]


def test_padded_uids_and_other_studies_are_counted_right(scp: StrangeScp) -> None:
    other = {"StudyInstanceUID": b"9.9", "SeriesInstanceUID": b"9.9.1"}
    images = [b"1.2.1\0", b"1.2.2 ", b"1.2.2\0\0"]
    series = [{"StudyInstanceUID": b"1.2", "SeriesInstanceUID": b"1.2.9 \0", "Modality": b"MR "}, other]
    _answers(scp, SERIES=series, IMAGE=[{"SOPInstanceUID": uid} for uid in images])
    assert instances_of_study(_peer(scp), "NODE", "1.2") == {"1.2.9": frozenset({"1.2.1", "1.2.2"})}


@pytest.mark.parametrize("uid", [b"", b"1.2\\3.4", b"no uid", b"1" * 70, b"\xff\xfe"])
def test_without_valid_uids_nothing_is_known(scp: StrangeScp, uid: bytes) -> None:
    _answers(scp, SERIES=[{"SeriesInstanceUID": uid}])
    with pytest.raises(QueryFailed, match="a series without a valid UID"):
        instances_of_study(_peer(scp), "NODE", "1.2")
    _answers(scp, SERIES=[{"SeriesInstanceUID": b"1.2.9"}], IMAGE=[{"SOPInstanceUID": uid}])
    with pytest.raises(QueryFailed, match="an instance without a valid UID"):
        instances_of_study(_peer(scp), "NODE", "1.2")


def test_one_instance_in_two_series_is_not_counted_twice(scp: StrangeScp) -> None:
    series = [{"SeriesInstanceUID": b"1.2.8"}, {"SeriesInstanceUID": b"1.2.9"}]
    _answers(scp, SERIES=series, IMAGE=[{"SOPInstanceUID": b"1.2.1"}])
    with pytest.raises(QueryFailed, match="one instance in two series"):
        instances_of_study(_peer(scp), "NODE", "1.2")


def test_answers_without_end_are_left(scp: StrangeScp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MOST_ANSWERS", 20)
    scp.finds = lambda _level: (identifier({"SeriesInstanceUID": b"1.2.9"}) for _ in itertools.count())
    with pytest.raises(QueryFailed, match="did not finish its answers to a C-FIND at level SERIES"):
        instances_of_study(_peer(scp), "NODE", "1.2")


def test_a_peer_that_closes_early_is_told(scp: StrangeScp) -> None:
    scp.closes = True
    with pytest.raises(QueryFailed, match="gave no answer to a C-FIND at level STUDY"):
        demographics_of(_peer(scp), "NODE", "1.2")


def test_only_what_can_be_a_patient_is_taken(scp: StrangeScp) -> None:
    strange = {"PatientName": b"x" * 5000, "PatientBirthDate": b"yesterday", "PatientSex": b"?", "PatientID": b"P1"}
    _answers(scp, STUDY=[{"StudyInstanceUID": b"1.2", **strange}, {"StudyInstanceUID": b"9.9", "PatientID": b"P2"}])
    assert demographics_of(_peer(scp), "NODE", "1.2") == {"PatientID": "P1"}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"{}",
        b"[1]",
        b"\xff",
        b"null",
        b"[{}]",
        b'[{"0020000E": 7}]',
        b'[{"0020000E": {"Value": [{"a": []}]}}]',
        b'[{"0020000E": {"Value": {"0": "1.2"}}}]',
        b'[{"0020000E": {"Value": ["../x"]}}]',
    ],
)
def test_json_that_is_none_of_the_standard_is_refused(web: WebSource, body: bytes) -> None:
    web.answers("/series", [body], "application/dicom+json")
    web.answers("/studies", [body], "application/dicom+json")
    peer = Peer(name="Web", ae_title="WEB", dicomweb_url=web.root, is_source=True)
    with pytest.raises(QueryFailed, match=r"Web (answered QIDO-RS with|lists a series without)"):
        instances_of_study(peer, "NODE", "1.2")
    with suppress(QueryFailed):  # nothing else may come out of it
        assert studies_of_patient(peer, "NODE", "P/1?x") == []
    with suppress(QueryFailed):
        assert demographics_of(peer, "NODE", "1.2") == {}


def test_a_part_of_what_a_peer_holds_is_no_count(web: WebSource) -> None:
    series = json.dumps([{"0020000E": {"vr": "UI", "Value": ["1.2.9"]}}]).encode()
    web.answers("/series", [series], "application/dicom+json")
    web.answers("/instances", [b"[]"], "application/dicom+json", Warning='299 web "There are additional results"')
    peer = Peer(name="Web", ae_title="WEB", dicomweb_url=web.root, is_source=True)
    with pytest.raises(QueryFailed, match="returned only part of its results"):
        instances_of_study(peer, "NODE", "1.2")
