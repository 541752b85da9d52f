"""What a change of the site rules would do to stored studies, told before anything is saved."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.recognition.site_rules import SiteRule
from conversion.study import Series
from conversion.volume import ImageVolume
from dicom_node.database.engine import Database
from dicom_node.database.tables import utc_now
from dicom_node.rules.site_rules import import_rules, site_rules
from dicom_node.studies.rule_trial import KindChange, Trial, try_rules
from tests.support.held_study import hold_small_study

FLAIR_IS_T2 = SiteRule(name="A", kind="T2", description="flair*")
SYNTHETIC = {"SeriesDescription": "{role} nach Schema", "SequenceName": "se2d1"}


@pytest.fixture
def held(database: Database, tmp_path: Path) -> Database:
    """Return the books of a node with one study."""
    hold_small_study(database, tmp_path, "held", attributes=SYNTHETIC)
    return database


def _change(before: str, after: str, *, key: str = "held") -> KindChange:
    return KindChange(study_key=key, series="series 4", description="FLAIR nach Schema", before=before, after=after)


def test_a_series_that_would_change_is_named_with_both_kinds(held: Database, tmp_path: Path) -> None:
    assert try_rules(held, tmp_path, [FLAIR_IS_T2]) == Trial(
        changes=(_change("FLAIR", "T2"),), fitting=1, overruled=0, studies=1, not_tried=0, looked_at=1, unreadable=0
    )
    assert site_rules(held) == ()


def test_a_rule_that_says_what_is_known_changes_nothing(held: Database, tmp_path: Path) -> None:
    trial = try_rules(held, tmp_path, [SiteRule(name="A", kind="FLAIR", description="flair*")])
    assert (trial.changes, trial.fitting, trial.overruled) == ((), 1, 0)


def test_a_study_without_a_fitting_series_is_not_recognised_again(held: Database, tmp_path: Path) -> None:
    trial = try_rules(held, tmp_path, [SiteRule(name="A", kind="T2", description="flair", manufacturer="other")])
    assert (trial.changes, trial.fitting, trial.studies, trial.looked_at) == ((), 0, 0, 1)


def test_an_earlier_rule_decides(held: Database, tmp_path: Path) -> None:
    import_rules(held, [SiteRule(name="First", kind="PD", description="flair*")])
    behind = try_rules(held, tmp_path, [*site_rules(held), FLAIR_IS_T2])
    assert (behind.changes, behind.fitting, behind.overruled) == ((), 1, 1)
    in_front = try_rules(held, tmp_path, [FLAIR_IS_T2, *site_rules(held)])
    assert (in_front.changes, in_front.overruled) == ((_change("PD", "T2"),), 0)


def test_taking_a_rule_away_is_a_change_too(held: Database, tmp_path: Path) -> None:
    import_rules(held, [FLAIR_IS_T2])
    assert try_rules(held, tmp_path, []).changes == (_change("T2", "FLAIR"),)


def test_rules_in_another_order_are_a_change_too(held: Database, tmp_path: Path) -> None:
    other = SiteRule(name="B", kind="PD", technique="se2d?")
    import_rules(held, [FLAIR_IS_T2, other])
    assert try_rules(held, tmp_path, [other, FLAIR_IS_T2]).changes == (_change("T2", "PD"),)


@pytest.mark.parametrize(("technique", "fitting"), [("se2d*", 4), ("tse*", 0)])
def test_a_rule_on_the_name_of_the_sequence_alone(held: Database, tmp_path: Path, technique: str, fitting: int) -> None:
    trial = try_rules(held, tmp_path, [SiteRule(name="A", kind="other", technique=technique)])
    assert (trial.fitting, len(trial.changes)) == (fitting, fitting)


def test_only_the_newest_studies_are_tried(database: Database, tmp_path: Path) -> None:
    for number in range(3):
        at = utc_now() + timedelta(seconds=number)
        hold_small_study(database, tmp_path, f"k{number}", ["FLAIR"], received_at=at)
    few = try_rules(database, tmp_path, [FLAIR_IS_T2], recognised_again=2)
    assert [change.study_key for change in few.changes] == ["k2", "k1"]
    assert (few.studies, few.not_tried, few.looked_at) == (2, 1, 3)
    fewer = try_rules(database, tmp_path, [FLAIR_IS_T2], looked_at=1)
    assert ([change.study_key for change in fewer.changes], fewer.looked_at) == (["k2"], 1)


def test_a_study_that_is_not_readable_is_passed_over(held: Database, tmp_path: Path) -> None:
    for path in (tmp_path / "inbox" / "held").iterdir():
        path.write_bytes(b"damaged")
    trial = try_rules(held, tmp_path, [SiteRule(name="A", kind="other", technique="se2d*")])
    assert (trial.studies, trial.looked_at) == (0, 1)


def test_a_study_of_two_patients_is_passed_over_and_the_others_are_tried(held: Database, tmp_path: Path) -> None:
    hold_small_study(held, tmp_path, "mixed")
    for path in sorted((tmp_path / "inbox" / "mixed").iterdir())[::2]:
        ds = dcmread(path)
        ds.PatientID = "ANOTHER"
        ds.save_as(path)
    trial = try_rules(held, tmp_path, [FLAIR_IS_T2])
    assert ([change.study_key for change in trial.changes], trial.studies, trial.unreadable) == (["held"], 1, 1)


def test_pixels_are_read_when_asked_for(held: Database, tmp_path: Path) -> None:
    seen: set[str] = set()

    def read(series: Series) -> ImageVolume:
        seen.add(series.name)
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, "not here")

    try_rules(held, tmp_path, [FLAIR_IS_T2], read=read)
    assert "series 4" in seen
