"""Studies fetched by C-GET into the node's own inbox, with the priors of the patient as the PACS has it now."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings, read_settings
from tests.support.archive import Archive, running_archive
from tests.support.small_study import make_small_study


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive() as running:
        yield running


def _source(archive: Archive) -> Peer:
    return Peer(name="Archive", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_source=True)


def _put(archive: Archive, name: str, date: str = "20240102", patient_id: str = "SMALL-1", modality: str = "MR") -> str:
    images = make_small_study(name, roles=["FLAIR"], patient_id=patient_id)
    for ds in images:
        ds.StudyDate, ds.Modality, ds.ModalitiesInStudy = date, modality, modality
    archive.put(*images)
    return str(images[0].StudyInstanceUID)


def _held(database: Database) -> dict[str, int]:
    query = sa.select(InstanceRow.study_uid, sa.func.count()).group_by(InstanceRow.study_uid)
    with database.session() as session:
        return {row[0]: row[1] for row in session.execute(query)}


def test_a_study_is_fetched_into_the_inbox(database: Database, settings: Settings, archive: Archive) -> None:
    study_uid, _ = _put(archive, "wanted"), _put(archive, "other")
    told: list[int] = []
    (done,) = Fetcher(settings, database, _source(archive), told.append).fetch(study_uid)
    assert (done.study_uid, done.by, done.instances, done.failed) == (study_uid, "C-GET", 10, 0)
    assert told == list(range(1, 11))
    assert _held(database) == {study_uid: 10}
    with database.session() as session:
        row = session.scalars(sa.select(InstanceRow)).first()
        assert row is not None
        assert (settings.node.folder / row.path).is_file()
        assert session.get_one(StudyRow, study_uid).state == "receiving"


def test_the_newest_earlier_mr_studies_of_the_patient_come_along(
    database: Database, settings: Settings, archive: Archive
) -> None:
    study_uid = _put(archive, "now", "20240601")
    _put(archive, "oldest", "20200101")
    newest = _put(archive, "newest", "20240501")
    _put(archive, "later", "20250101")
    _put(archive, "no mr", "20240515", modality="CT")
    _put(archive, "another's", "20240520", patient_id="SMALL-2")
    done = Fetcher(settings, database, _source(archive)).fetch(study_uid, priors=1)
    assert [one.study_uid for one in done] == [study_uid, newest]
    assert _held(database) == {study_uid: 10, newest: 10}


def test_priors_follow_a_merge_in_the_pacs(database: Database, settings: Settings, archive: Archive) -> None:
    """The images still name the old patient; the PACS knows better, and its answer counts."""
    study_uid, prior = _put(archive, "now", "20240601"), _put(archive, "before", "20230101", patient_id="MERGED")
    for ds in archive.holds.values():
        if ds.StudyInstanceUID == study_uid:
            ds.PatientID = "MERGED"
    done = Fetcher(settings, database, _source(archive)).fetch(study_uid, priors=3)
    assert [one.study_uid for one in done] == [study_uid, prior]


def test_a_study_that_the_source_does_not_hold_is_told(
    database: Database, settings: Settings, archive: Archive
) -> None:
    with pytest.raises(QueryFailed, match=r"Archive sent nothing of the study; check that it has the study"):
        Fetcher(settings, database, _source(archive)).fetch("1.2.3")
    with pytest.raises(QueryFailed, match="Archive lists no such study, or no Patient ID for it"):
        Fetcher(settings, database, _source(archive)).fetch("1.2.3", priors=1)
