"""The verdict on a study: by counts, by headers, by the release of associations, and by silence as the last resort."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conversion.completeness import SeriesProgress
from conversion.sequences import Role
from conversion.study import SeriesUID
from dicom_node.studies.readiness import Patience, StudyTransfer, Verdict, judge
from dicom_node.studies.source_counts import SourceCounts

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
PATIENCE = Patience(quiet=timedelta(seconds=60))
WANTED = frozenset(Role)


def _series(role: str, number: int, held: int = 26, **facts: object) -> SeriesProgress:
    roles = frozenset(Role(one) for one in role.split("/"))
    uids = frozenset(f"1.{number}.{k}" for k in range(held))
    name = f"{role} (series {number})"
    fields: dict[str, object] = {"stated": 26, "sure": len(roles) == 1} | facts
    return SeriesProgress(series_uid=SeriesUID(f"1.{number}"), name=name, roles=roles, sop_instance_uids=uids, **fields)  # type: ignore[arg-type]


FOUR = tuple(_series(role, number) for number, role in enumerate(("T1", "T1CE", "T2", "FLAIR"), start=1))
SILENT = tuple(replace(one, stated=0) for one in FOUR)


def _judge(
    series: tuple[SeriesProgress, ...],
    after_s: float,
    source: SourceCounts | None = None,
    wanted: frozenset[Role] = WANTED,
    **transfer: object,
) -> Verdict:
    """Judge at a time after the last arrival, which was ten minutes after the first."""
    last = START + timedelta(minutes=10)
    came = StudyTransfer(**({"first_at": START, "last_at": last} | transfer))  # type: ignore[arg-type]
    return judge(series, wanted, came, source, PATIENCE, last + timedelta(seconds=after_s))


def _source(missing: int = 0, grew_s: float | None = None, number: int = 26) -> SourceCounts:
    """Return counts of a source; `grew_s` is when it grew, in seconds from the last arrival."""
    uids = [str(one.series_uid) for one in FOUR]
    grew_at = None if grew_s is None else START + timedelta(minutes=10, seconds=grew_s)
    counts, lacking = dict.fromkeys(uids, number), dict.fromkeys(uids, missing)
    return SourceCounts(peer="PACS", asked_at=START, counts=counts, missing=lacking, grew_at=grew_at)


def test_four_whole_sequences_start_at_once() -> None:
    verdict = _judge(FOUR, 0)
    assert verdict.ready
    assert verdict.reason == "every wanted sequence is complete: as many images were received as the headers state"


def test_a_site_that_wants_two_sequences_does_not_wait_for_four() -> None:
    two = tuple(one for one in FOUR if one.roles <= {Role.T1CE, Role.FLAIR})
    assert not _judge(two, 0).ready
    assert _judge(two, 0, wanted=frozenset({Role.T1CE, Role.FLAIR})).ready


def test_counts_of_the_source_are_enough_where_headers_are_silent() -> None:
    assert not _judge(SILENT, 0).ready
    verdict = _judge(SILENT, 0, _source())
    assert verdict.ready
    assert verdict.reason == "every wanted sequence is complete: all images that PACS holds were received"


def test_a_source_that_holds_more_is_waited_for_and_named() -> None:
    short = tuple(replace(one, sop_instance_uids=frozenset(list(one.sop_instance_uids)[:22])) for one in SILENT)
    verdict = _judge(short, 120, _source(missing=4))
    assert not verdict.ready
    assert "FLAIR (series 4): 22 of 26 slices that PACS holds" in verdict.awaited


def test_a_source_that_still_grows_settles_first() -> None:
    assert not _judge(SILENT, 39, _source(grew_s=0)).ready
    assert _judge(SILENT, 40, _source(grew_s=0)).ready


def test_a_source_that_counts_all_overrules_a_header_that_states_more() -> None:
    wrong = tuple(replace(one, stated=52) for one in FOUR)
    assert _judge(wrong, 0, _source()).ready
    assert not _judge(wrong, 300).ready


def test_what_is_awaited_is_said() -> None:
    short = replace(FOUR[3], sop_instance_uids=frozenset(list(FOUR[3].sop_instance_uids)[:22]))
    verdict = _judge((FOUR[0], replace(FOUR[2], stated=0), short), 1)
    assert verdict.awaited == (
        "T2 (series 3): 26 slices; it is not known yet whether these are all",
        "FLAIR (series 4): 22 of 26 slices",
        "T1CE: nothing received yet",
    )


def test_two_t1_that_headers_do_not_tell_apart_stand_for_both() -> None:
    two = (_series("T1/T1CE", 1), _series("T1/T1CE", 2), FOUR[2], FOUR[3])
    assert _judge(two, 0).ready
    assert not _judge(two[1:], 0).ready


@pytest.mark.parametrize(
    ("transfer", "seconds", "reason"),
    [
        ({}, 60, "nothing arrived for 60 s"),
        ({"released": True}, 40, "nothing arrived for 40 s after the association was released"),
        ({"released": True, "open_associations": 1}, 60, "nothing arrived for 60 s"),
        ({"released": False}, 180, "nothing arrived for 180 s"),
    ],
)
def test_without_counts_silence_decides_and_how_long_depends_on_the_association(
    transfer: dict[str, object], seconds: float, reason: str
) -> None:
    assert not _judge(SILENT, seconds - 0.1, **transfer).ready
    verdict = _judge(SILENT, seconds, **transfer)
    assert (verdict.ready, verdict.reason) == (True, reason)
    assert _judge(SILENT, 0, **transfer).look_at == START + timedelta(minutes=10, seconds=seconds)


def test_a_doubt_makes_a_released_association_no_evidence() -> None:
    doubtful = tuple(replace(one, doubt="10 of the image numbers 1 to 19") for one in SILENT)
    assert not _judge(doubtful, 59, released=True).ready
    assert _judge(doubtful, 60, released=True).ready


def test_what_is_known_to_be_incomplete_waits_to_a_bound_and_must_then_not_be_used() -> None:
    gapped = replace(SILENT[3], gap="17 of 20 slices between the first and the last")
    assert not _judge((*SILENT[:3], gapped), 899).ready
    verdict = _judge((*SILENT[:3], gapped), 900)
    assert verdict.ready
    sentence = "FLAIR (series 4): 17 of 20 slices between the first and the last"
    assert verdict.reason == f"nothing arrived for 900 s; no longer awaited: {sentence}"
    assert verdict.incomplete == {"1.4": sentence}


def test_an_examination_that_never_ends_is_bounded() -> None:
    gapped = replace(SILENT[3], gap="17 of 20 slices between the first and the last")
    long_ago = START - timedelta(hours=3)
    assert not _judge((*SILENT[:3], gapped), 59, first_at=long_ago).ready
    assert _judge((*SILENT[:3], gapped), 60, first_at=long_ago).ready


def test_two_patients_in_one_study_are_a_correction_that_still_arrives() -> None:
    verdict = _judge(FOUR, 100, patients=2)
    assert not verdict.ready
    assert verdict.awaited == ("the images name 2 patients: the rest of a correction is awaited",)
    assert _judge(FOUR, 900, patients=2).ready


def test_a_study_without_anything_of_interest_waits_for_silence_alone() -> None:
    assert not _judge((), 59).ready
    assert _judge((), 60).ready


def test_a_source_is_taken_for_whole_by_what_it_did_since_it_was_first_asked() -> None:
    held, now = {"1.4": frozenset({"a", "b"})}, START
    ahead = SourceCounts.after(None, "PACS", held, frozenset({("1.4", "a")}), now)
    assert (ahead.missing, ahead.grew_at) == ({"1.4": 1}, None)
    level = SourceCounts.after(None, "PACS", held, frozenset({("1.4", "a"), ("1.4", "b")}), now)
    assert level.grew_at == now  # it may be receiving just as fast as it sends
    later = now + timedelta(seconds=10)
    same = SourceCounts.after(ahead, "PACS", held, frozenset({("1.4", "a"), ("1.4", "b")}), later)
    assert (same.missing, same.grew_at) == ({"1.4": 0}, None)
    grown = SourceCounts.after(
        same, "PACS", {"1.4": frozenset({"a", "b", "c"})}, frozenset({("1.4", "a"), ("1.4", "b")}), later
    )
    assert (grown.missing, grown.grew_at) == ({"1.4": 1}, later)
    assert SourceCounts.from_json(grown.to_json()) == grown
    assert SourceCounts.from_json({}) is None


def test_a_uid_that_came_in_another_series_is_still_missing_in_this_one() -> None:
    """Unless the source does not know that other series: then the series was given another UID on its way."""
    now = datetime(2026, 1, 5, 8, tzinfo=UTC)
    held = {"1.4": frozenset({"a", "b"}), "1.5": frozenset({"a", "b"})}
    first = frozenset({("1.4", "a"), ("1.4", "b")})
    assert SourceCounts.after(None, "PACS", held, first, now).missing == {"1.4": 0, "1.5": 2}
    renamed = frozenset({("9.9", "a"), ("9.9", "b")})
    assert SourceCounts.after(None, "PACS", {"1.4": held["1.4"]}, renamed, now).missing == {"1.4": 0}
