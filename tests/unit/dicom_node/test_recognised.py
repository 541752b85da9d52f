"""What a run took its series for, as the books keep it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conversion.decision import Evidence
from conversion.recognition.recognise import Recognition
from conversion.study import Acquisition, Series, SeriesUID
from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs.recognised import recognised_as, recognised_in_newest_run, record_recognitions

TIMING = Evidence(source="timing", kind="T1", weight=6.0, says="TR 500 ms, TE 10 ms: short repetition, short echo")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return books with one study of two runs."""
    opened = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    with opened.session() as session:
        session.add(StudyRow(study_uid="1.1", key="key", current_run="new"))
        session.flush()
        for revision, run_id in enumerate(("old", "new"), start=1):
            row = RunRow(run_id=run_id, study_uid="1.1", revision=revision, manifest_sha256="0", ready_at=utc_now())
            session.add(row)
    yield opened
    opened.engine.dispose()


def _recognition(kind: str, part: str = "", needs: tuple[str, ...] = ()) -> Recognition:
    series = Series(
        series_uid=SeriesUID("1.2"),
        part=part,
        number=4,
        sop_class_uid="1.3",
        frame_of_reference_uid="1.4",
        acquisition=Acquisition(),
        images=(),
    )
    return Recognition(
        series=series,
        kind=kind,
        confidence=0.875,
        weighting="T1",
        weighting_confidence=0.875,
        after_contrast=0.25,
        evidence=(TIMING,),
        needs=needs,
    )


def test_what_is_kept_comes_back_in_its_order(database: Database) -> None:
    found = [_recognition("T1", "echo 10 ms"), _recognition("unknown", "echo 20 ms", ("a site rule",))]
    record_recognitions(database, "new", found)
    assert recognised_in_newest_run(database, "1.1") == tuple(map(recognised_as, found))
    assert recognised_in_newest_run(database, "1.1")[0].evidence == (TIMING,)


def test_a_repeated_step_keeps_its_last_word(database: Database) -> None:
    record_recognitions(database, "new", [_recognition("T1"), _recognition("T2")])
    record_recognitions(database, "new", [_recognition("T1CE")])
    assert [each.kind for each in recognised_in_newest_run(database, "1.1")] == ["T1CE"]


def test_an_older_run_and_another_study_do_not_count(database: Database) -> None:
    record_recognitions(database, "old", [_recognition("T1")])
    assert recognised_in_newest_run(database, "1.1") == ()
    assert recognised_in_newest_run(database, "1.9") == ()
