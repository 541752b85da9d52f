"""What is stamped into objects comes from the study's completeness, never from the clock."""

from collections.abc import Sequence as Many
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from tests.support.hand_made_run import PROVENANCE
from tests.support.raw_values import put_raw
from viewer_integration.profile import ResultProfile, SegForm
from viewer_integration.provenance import RESEARCH_USE_ONLY, at_the_images_hour, offset_of, stamp_creation


def _images(*offsets: str | None) -> list[Dataset]:
    images = [Dataset() for _ in offsets]
    for ds, offset in zip(images, offsets, strict=True):
        if offset is not None:
            put_raw(ds, "TimezoneOffsetFromUTC", "SH", offset.encode())
    return images


def test_creation_is_the_time_the_study_was_ready() -> None:
    ds = Dataset()
    ds.InstanceCreationDate, ds.InstanceCreationTime = "20991231", "235959.999999"
    stamp_creation(ds, PROVENANCE)
    assert (ds.InstanceCreationDate, ds.InstanceCreationTime) == ("20240305", "142536")
    assert "ContributingEquipmentSequence" not in ds


def test_every_contributing_equipment_is_stamped() -> None:
    ds = Dataset()
    ds.ContributingEquipmentSequence = Sequence([Dataset(), Dataset()])
    for item in ds.ContributingEquipmentSequence:
        item.ContributionDateTime = "20991231235959"
    stamp_creation(ds, PROVENANCE)
    assert [item.ContributionDateTime for item in ds.ContributingEquipmentSequence] == ["20240305142536"] * 2


def test_local_time_is_written_as_it_is() -> None:
    ds = Dataset()
    local = datetime.fromisoformat("2024-03-05T23:59:01+09:00")
    stamp_creation(ds, type(PROVENANCE)(**{**vars(PROVENANCE), "ready_at": local}))
    assert (ds.InstanceCreationDate, ds.InstanceCreationTime) == ("20240305", "235901")


def test_the_text_that_every_result_carries() -> None:
    assert RESEARCH_USE_ONLY == "Research use only. Not a medical device."


@pytest.mark.parametrize("offset", ["+0000", "+0100", "-0330", "+0545", "+1400", "-1200"])
def test_the_offset_is_the_one_that_all_images_state(offset: str) -> None:
    assert offset_of(_images(offset, f"{offset} ", f" {offset}\0")) == offset


@pytest.mark.parametrize(
    "offsets",
    [
        [],
        [None],
        ["+0100", "+0200"],
        ["+0100", None],
        ["+0100", ""],
        ["+0100\\+0200"],
        ["0100"],
        ["+01:00"],
        ["+100"],
        ["CET"],
        ["+0160"],
        ["+1401"],
        ["-1201"],
        ["+9900"],
    ],
)
def test_images_that_disagree_or_state_no_offset_of_the_standard_have_none(offsets: Many[str | None]) -> None:
    """PS3.3 C.12.1.1.8: from -1200 to +1400."""
    assert offset_of(_images(*offsets)) == ""


def test_digits_of_other_scripts_are_no_offset() -> None:
    ds = Dataset()
    for offset in ("+1100", "+\u0661\u06610\u0660"):
        ds.TimezoneOffsetFromUTC = offset
        assert offset_of([ds]) == ("+1100" if offset.isascii() else "")


@pytest.mark.parametrize(
    ("offset", "date", "time"),
    [
        ("+0000", "20240305", "142536"),
        ("+0100", "20240305", "152536"),
        ("+1345", "20240306", "041036"),
        ("-0330", "20240305", "105536"),
        ("-1200", "20240305", "022536"),
        ("", "20240305", "142536"),
        ("+9900", "20240305", "142536"),
    ],
)
def test_objects_tell_the_time_of_the_images_zone(offset: str, date: str, time: str) -> None:
    there = at_the_images_hour(PROVENANCE, _images(offset, offset))
    stamp_creation(ds := Dataset(), there)
    assert (ds.InstanceCreationDate, ds.InstanceCreationTime) == (date, time)
    assert there.ready_at == PROVENANCE.ready_at, "the moment is the same"


def test_the_zone_of_the_processing_machine_does_not_show() -> None:
    elsewhere = replace(PROVENANCE, ready_at=datetime.fromisoformat("2024-03-05T23:25:36+09:00"))
    there = at_the_images_hour(elsewhere, _images(None))
    assert there == PROVENANCE
    assert there.ready_at.utcoffset() == timedelta(0)
    assert there.ready_at.tzinfo is UTC


@pytest.mark.parametrize(
    ("profile", "patient", "variant"),
    [
        (ResultProfile(), "", ()),
        (ResultProfile(), "ab12", ("ab12",)),
        (ResultProfile(seg_form=SegForm.LABELMAP), "", ("labelmap-7701-7702",)),
        (ResultProfile(sr_series=9), "ab12", ("binary-7701-9", "ab12")),
    ],
)
def test_a_variant_names_what_is_not_as_usual(profile: ResultProfile, patient: str, variant: tuple[str, ...]) -> None:
    assert replace(PROVENANCE, profile=profile, patient_sha256=patient).variant == variant
