"""What people made about a study is told apart from what the node made, in the order in which it came."""

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow, StudyRow
from dicom_node.reception.corrections import BY_WEB
from dicom_node.studies.received_corrections import corrections_of
from tests.support.panel_client import logged_in
from tests.support.viewer_study import ViewerStudy, hold, instance_row, make_study, write


def _receive(books: Database, folder: Path, study: ViewerStudy, sender: str, day: int, kind: str = "seg") -> None:
    """File an object of another maker, as C-STORE and STOW-RS do."""
    other = make_study("other")
    ds = getattr(other, kind)
    ds.StudyInstanceUID, ds.SOPInstanceUID = study.study_uid, f"1.2.{day}"
    row = instance_row(ds, write(folder, f"day{day}", ds))
    row.calling_ae, row.received_at = sender, datetime(2026, 1, day, 12, tzinfo=UTC)
    with books.session() as session:
        session.add(row)


def test_the_newest_comes_first_and_the_nodes_own_objects_are_none(books: Database, folder: Path) -> None:
    study = make_study()
    hold(books, folder, study)
    assert corrections_of(books, study.study_uid) == []
    _receive(books, folder, study, "PACS", 2)
    _receive(books, folder, study, BY_WEB, 4)
    _receive(books, folder, study, "PACS", 3, "sr")
    with books.session() as session:  # the archive sends the node's own result back
        session.add(instance_row(study.seg, "sent-back"))
    found = corrections_of(books, study.study_uid)
    assert [(one.kind, one.number, one.sender) for one in found] == [
        ("SEG", 2, BY_WEB),
        ("SR", 1, "PACS"),
        ("SEG", 1, "PACS"),
    ]


def test_an_object_that_was_replaced_counts_no_more(books: Database, folder: Path) -> None:
    study = make_study()
    hold(books, folder, study)
    _receive(books, folder, study, "PACS", 2)
    with books.session() as session:
        session.execute(sa.update(InstanceRow).where(InstanceRow.sop_instance_uid == "1.2.2").values(current=False))
    assert corrections_of(books, study.study_uid) == []


def test_the_page_of_the_study_shows_them(database: Database, folder: Path) -> None:
    study = make_study()
    hold(database, folder, study)
    with database.session() as session:
        key = session.get_one(StudyRow, study.study_uid).key
    with logged_in(database, folder) as client:
        assert "Revised by people" not in client.get(f"/studies/{key}").text
        _receive(database, folder, study, BY_WEB, 2)
        page = client.get(f"/studies/{key}").text
    assert "Revised by people" in page
    assert "Segmentation, revision 1" in page
    assert "2026-01-02 12:00 UTC" in page
