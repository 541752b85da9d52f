"""What the node did over the last day, and whether results drift over the weeks, counted from the database."""

from datetime import timedelta

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow
from dicom_node.database.states import RunState, StudyState, Verdict
from dicom_node.database.tables import RunRow, ShadowRow, StudyRow, utc_now
from dicom_node.monitoring.activity import Span, read_activity
from dicom_node.monitoring.drift import MOST_RESULTS, WEEKS, read_drift

FLAGGED = {"flags": ["low_agreement"]}


def _hold(
    database: Database, number: int, state: RunState, *, ago: timedelta, took_s: float = 30, **summary: object
) -> None:
    """Keep a study whose run was ready and ended some time ago."""
    ended = utc_now() - ago
    uid, run_id = f"1.{number}", f"run{number}"
    facts = {"revision": 1, "manifest_sha256": "0", "ready_at": ended - timedelta(seconds=took_s)}
    with database.session() as session:
        session.add(StudyRow(study_uid=uid, key=str(number), state=StudyState(state), last_received_at=ended))
        session.flush()
        session.add(RunRow(run_id=run_id, study_uid=uid, state=state, finished_at=ended, summary=summary, **facts))


@pytest.mark.parametrize("span", list(Span))
def test_studies_and_runs_are_counted_in_the_bin_in_which_they_ended(books: Database, span: Span) -> None:
    first, last, before = span.width * (span.bins - 0.5), span.width * 0.5, span.width * (span.bins + 0.5)
    for number, took_s in enumerate([10, 20, 300]):
        _hold(books, number, RunState.DELIVERED, ago=last, took_s=took_s)
    _hold(books, 3, RunState.FAILED, ago=last, took_s=9000)
    _hold(books, 4, RunState.STORED, ago=first, took_s=60)
    _hold(books, 5, RunState.STORED, ago=before, took_s=60)
    bins = read_activity(books, span)
    assert len(bins) == span.bins
    assert [(one.received, one.results, one.failures) for one in bins if one.received] == [(1, 1, 0), (4, 3, 1)]
    assert [(round(one.median_s or 0), round(one.p95_s or 0)) for one in (bins[0], bins[-1])] == [(60, 60), (20, 300)]
    assert bins[1].median_s is None


def test_drift_is_counted_by_week(books: Database) -> None:
    now, week = timedelta(0), timedelta(weeks=1)
    _hold(books, 1, RunState.DELIVERED, ago=week, took_s=0, volumes_ml={"WT": 10.0}, flags=["low_agreement"])
    _hold(books, 2, RunState.STORED, ago=week, took_s=0, volumes_ml={"WT": 30.0}, flags=[])
    _hold(books, 3, RunState.DELIVERED, ago=week, took_s=0, volumes_ml={"WT": 0.0}, flags=[], no_tumour="none found")
    _hold(books, 4, RunState.FAILED, ago=week, took_s=0, volumes_ml={"WT": 900.0})
    _hold(books, 5, RunState.DELIVERED, ago=now, took_s=0, volumes_ml={"WT": 50.0})
    with books.session() as session:
        for verdict in (Verdict.AGREE, Verdict.AGREE, Verdict.DISAGREE, Verdict.EDITED):
            session.add(OpinionRow(study_uid="1.1", run_id="run1", verdict=verdict, who="a", at=utc_now() - week))
        facts = {"name": "other", "version": "1", "sha256": "0", "state": "done"}
        session.add(ShadowRow(run_id="run1", at=utc_now() - week, regions={"WT": {"dice": 0.8}}, **facts))
        session.add(ShadowRow(run_id="run2", at=utc_now() - week, regions={}, **facts))
    weeks = read_drift(books)
    assert len(weeks) == WEEKS
    assert [one.begins.weekday() for one in weeks] == [0] * WEEKS
    before, present = weeks[-2:]
    assert (before.results, before.median_ml, before.opinions) == (3, 10.0, 4)
    assert (before.flagged, before.no_tumour) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert (before.agreed, before.shadow_dice) == (0.5, 0.8)
    assert (present.results, present.median_ml, present.agreed, present.shadow_dice) == (1, 50.0, None, None)
    assert weeks[0].median_ml is None


def test_no_more_results_of_a_week_are_read_than_are_needed(database: Database) -> None:
    now = utc_now()
    facts = {"revision": 1, "manifest_sha256": "0", "ready_at": now, "state": RunState.STORED, "summary": FLAGGED}
    with database.session() as session:
        session.add(StudyRow(study_uid="1", key="k"))
        session.flush()
        session.add_all(RunRow(run_id=str(number), study_uid="1", **facts) for number in range(MOST_RESULTS + 5))
    assert read_drift(database, 1)[0].results == MOST_RESULTS
