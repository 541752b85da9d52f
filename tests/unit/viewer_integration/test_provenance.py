"""What is stamped into objects comes from the study's completeness, never from the clock."""

from datetime import datetime

from pydicom import Dataset
from pydicom.sequence import Sequence

from tests.support.hand_made_run import PROVENANCE
from viewer_integration.provenance import RESEARCH_USE_ONLY, stamp_creation


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
