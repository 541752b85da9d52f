"""What a source holds of a study: when it is worth another question, which one is asked, and which is left alone."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.studies.source_counts import ASK_AGAIN, ASK_GROWING, LEFT_ALONE, SourceCounts, SourceReader
from tests.support.archive import Archive, running_archive

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
STUDY = "1.2"


def _image(series_uid: str, uid: str) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID, ds.Modality = STUDY, series_uid, uid, "MR"
    return ds


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path, "GLIONODE", database)


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Run an archive that holds three images of two series."""
    with running_archive() as running:
        running.put(_image("1.2.1", "1.9.1"), _image("1.2.1", "1.9.2"), _image("1.2.2", "1.9.3"))
        yield running


def _source(database: Database, port: int, name: str = "Archive", **changed: object) -> None:
    facts: dict[str, object] = {"ae_title": name.upper(), "host": "127.0.0.1", "port": port, "is_source": True}
    put_peer(database, Peer(name=name, **(facts | changed)))  # type: ignore[arg-type]


def _counts(grew_at: datetime | None = None, **counts: int) -> SourceCounts:
    return SourceCounts(peer="PACS", asked_at=NOW, counts=counts, missing={}, grew_at=grew_at)


@pytest.mark.parametrize(
    ("source", "held", "pause"),
    [
        (_counts(), {"a": 1}, ASK_AGAIN),
        (_counts(a=3), {"a": 4}, timedelta()),
        (_counts(a=3), {"a": 3, "b": 1}, timedelta()),
        (_counts(a=3), {"a": 3}, timedelta()),
        (_counts(a=3), {}, timedelta()),
        (_counts(NOW, a=3), {"a": 3}, ASK_GROWING),
        (_counts(NOW, a=2), {"a": 3}, ASK_GROWING),
        (_counts(NOW, a=4), {"a": 3}, ASK_AGAIN),
        (_counts(a=4), {"a": 3}, ASK_AGAIN),
    ],
)
def test_a_source_is_asked_again_when_it_may_have_something_new(
    source: SourceCounts, held: Mapping[str, int], pause: timedelta
) -> None:
    assert source.ask_at(held) - NOW == pause


def test_counts_of_another_peer_say_nothing_of_the_growth_of_this_one() -> None:
    held = {"a": frozenset({"1", "2"})}
    before = SourceCounts(peer="Other", asked_at=NOW, counts={"a": 1}, missing={"a": 0}, grew_at=NOW)
    ahead = SourceCounts.after(before, "PACS", held, frozenset({("a", "1")}), LATER)
    assert (ahead.peer, ahead.asked_at, ahead.counts, ahead.missing) == ("PACS", LATER, {"a": 2}, {"a": 1})
    assert ahead.grew_at is None
    level = SourceCounts.after(before, "PACS", held, frozenset({("a", "1"), ("a", "2")}), LATER)
    assert level.grew_at == LATER


@pytest.mark.parametrize("grew_at", [None, LATER])
def test_counts_come_back_from_the_database_as_they_were(grew_at: datetime | None) -> None:
    known = SourceCounts(peer="PACS", asked_at=NOW, counts={"a": 2}, missing={"a": 1}, grew_at=grew_at)
    assert SourceCounts.from_json(known.to_json()) == known


def test_a_source_tells_what_it_holds_and_what_is_missing_here(
    database: Database, archive: Archive, trail: AuditTrail
) -> None:
    _source(database, archive.port)
    here = frozenset({("1.2.1", "1.9.1")})
    found = SourceReader(database, "GLIONODE", trail).ask(STUDY, ["SCANNER"], here, None, NOW)
    assert found == SourceCounts(
        peer="Archive", asked_at=NOW, counts={"1.2.1": 2, "1.2.2": 1}, missing={"1.2.1": 1, "1.2.2": 1}
    )
    archive.put(_image("1.2.2", "1.9.4"))
    grown = SourceReader(database, "GLIONODE", trail).ask(STUDY, [], here, found, LATER)
    assert grown is not None
    assert (grown.missing, grown.grew_at) == ({"1.2.1": 1, "1.2.2": 2}, LATER)


def test_a_source_without_the_study_has_no_counts_and_a_node_without_a_source_no_answer(
    database: Database, archive: Archive, trail: AuditTrail
) -> None:
    reader = SourceReader(database, "GLIONODE", trail)
    assert reader.ask(STUDY, [], frozenset(), None, NOW) is None
    _source(database, archive.port, enabled=False)
    assert reader.ask(STUDY, [], frozenset(), None, NOW) is None
    _source(database, archive.port)
    assert reader.ask("1.7", [], frozenset(), None, NOW) == SourceCounts(peer="", asked_at=NOW)


def test_the_sender_of_a_study_is_asked_before_the_others(
    database: Database, archive: Archive, trail: AuditTrail
) -> None:
    for name in ("First", "Second"):
        _source(database, archive.port, name)
    reader = SourceReader(database, "GLIONODE", trail)
    asked = [reader.ask(STUDY, senders, frozenset(), None, NOW) for senders in ([], ["SECOND", "FIRST"], ["OTHER"])]
    assert [found and found.peer for found in asked] == ["First", "Second", "First"]


def test_a_source_that_cannot_be_asked_is_left_alone_for_a_while_and_the_next_one_asked(
    database: Database, archive: Archive, trail: AuditTrail
) -> None:
    _source(database, archive.port)
    reader = SourceReader(database, "GLIONODE", trail)

    def asked(at: datetime) -> str | None:
        found = reader.ask(STUDY, ["BROKEN"], frozenset(), None, at)
        return None if found is None else found.peer

    with running_archive() as broken:
        broken.answer = 0xA700
        _source(database, broken.port, "Broken")
        assert [asked(NOW), asked(LATER)] == ["Archive"] * 2
        assert broken.asked == ["SERIES"]
    _source(database, archive.port, "Broken")  # it is back
    assert asked(NOW + LEFT_ALONE - timedelta(seconds=1)) == "Archive"
    assert asked(NOW + LEFT_ALONE) == "Broken"


def test_where_no_source_can_be_asked_nothing_is_known(database: Database, archive: Archive, trail: AuditTrail) -> None:
    _source(database, archive.port)
    archive.answer = 0xA700
    assert SourceReader(database, "GLIONODE", trail).ask(STUDY, [], frozenset(), None, NOW) is None
    assert archive.asked == ["SERIES"]
