"""What a person drew or wrote in a viewer is taken if it belongs to a held study, and nothing else is."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import Dataset, dcmwrite
from pydicom.uid import MRImageStorage, generate_uid

from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, StudyRow
from dicom_node.reception.corrections import BY_WEB, Correction, Corrections, Failure
from dicom_node.reception.inbox import Inbox
from dicom_node.storage.disk_space import Disk
from tests.support.viewer_study import ViewerStudy, hold_images, make_study

Take = Callable[..., Correction]


@pytest.fixture
def study(database: Database, folder: Path) -> ViewerStudy:
    """Hold the images of a study, but neither its SEG nor its SR."""
    made = make_study()
    hold_images(database, folder, made)
    with database.session() as session:
        session.execute(sa.update(InstanceRow).values(patient_key=KeyedHash(database)("SYNTHETIC-1")))
    return made


@pytest.fixture
def take(database: Database, folder: Path, study: ViewerStudy) -> Take:
    """Return a function that offers an object, or bytes, as they would arrive."""
    del study

    def offer(ds: Dataset | bytes, study_uid: str = "", *, free_gib: float = 0.0) -> Correction:
        corrections = Corrections(database, Inbox(database, folder), Disk(folder, free_gib))
        file = corrections.file()
        content = ds if isinstance(ds, bytes) else _bytes(ds)
        for at in range(0, len(content), 70_000):
            file.take(content[at : at + 70_000])
        try:
            return corrections.take(file, study_uid)
        finally:
            file.discard()

    return offer


def _bytes(ds: Dataset) -> bytes:
    file = io.BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def _rows(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow).where(InstanceRow.calling_ae == BY_WEB)))


@pytest.mark.parametrize("kind", ["seg", "sr"])
def test_a_correction_of_a_held_study_is_kept_as_if_it_had_come_from_the_pacs(
    database: Database, folder: Path, study: ViewerStudy, take: Take, kind: str
) -> None:
    ds: Dataset = getattr(study, kind)
    done = take(ds)
    assert (done.failure, done.sentence) == (None, "")
    assert (done.study_uid, done.series_uid) == (study.study_uid, ds.SeriesInstanceUID)
    assert (done.sop_class_uid, done.sop_instance_uid) == (ds.SOPClassUID, ds.SOPInstanceUID)
    (row,) = _rows(database)
    assert (row.sop_instance_uid, row.sop_class_uid) == (ds.SOPInstanceUID, ds.SOPClassUID)
    assert (folder / row.path).read_bytes() == _bytes(ds)
    with database.session() as session:
        assert session.get_one(StudyRow, study.study_uid).state == StudyState.RECEIVING
    assert take(ds).failure is None, "sent again, it is known"
    assert len(_rows(database)) == 1


def test_a_large_one_goes_by_a_file(database: Database, folder: Path, study: ViewerStudy, take: Take) -> None:
    study.seg.add_new(0x00711001, "OB", b"\1" * (3 * 2**20))
    study.seg.add_new(0x00710010, "LO", "TEST")
    assert take(study.seg).failure is None
    (row,) = _rows(database)
    assert (folder / row.path).read_bytes() == _bytes(study.seg)
    assert list((folder / "inbox").rglob("*.part")) == []


def _with(study: ViewerStudy, **values: object) -> Dataset:
    for keyword, value in values.items():
        setattr(study.seg, keyword, value)
    return study.seg


def _without_references(study: ViewerStudy) -> Dataset:
    del study.seg.ReferencedSeriesSequence
    for groups in study.seg.PerFrameFunctionalGroupsSequence:
        del groups.DerivationImageSequence
    return study.seg


def _of_images_nobody_has(study: ViewerStudy) -> Dataset:
    for series in study.seg.ReferencedSeriesSequence:
        for item in series.ReferencedInstanceSequence:
            item.ReferencedSOPInstanceUID = generate_uid()
    for groups in study.seg.PerFrameFunctionalGroupsSequence:
        for derivation in groups.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                item.ReferencedSOPInstanceUID = generate_uid()
    return study.seg


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda study: study.mr[0], (Failure.CLASS_NOT_TAKEN, "only segmentations and structured reports")),
        (lambda study: _with(study, StudyInstanceUID="1.2.3"), (Failure.NOT_OF_THIS_STUDY, "holds no study")),
        (lambda study: _with(study, PatientID="SOMEBODY"), (Failure.NOT_OF_THIS_STUDY, "another patient")),
        (_without_references, (Failure.NOT_OF_THIS_STUDY, "refers to no image")),
        (_of_images_nobody_has, (Failure.NOT_OF_THIS_STUDY, "refers to no image")),
        (lambda _study: b"\0" * 128 + b"DICM", (Failure.UNREADABLE, "cannot be read")),
        (lambda _study: b"GIF89a", (Failure.UNREADABLE, "not a DICOM file")),
        (lambda study: _bytes(study.seg)[:900], (Failure.UNREADABLE, "")),
    ],
    ids=["image", "unknown study", "other patient", "no reference", "other images", "no meta", "no DICOM", "cut off"],
)
def test_everything_else_is_refused_and_leaves_nothing(
    database: Database,
    folder: Path,
    study: ViewerStudy,
    take: Take,
    change: Callable[[ViewerStudy], Dataset | bytes],
    refusal: tuple[Failure, str],
) -> None:
    before = sorted((folder / "inbox").rglob("*")) if (folder / "inbox").exists() else []
    done = take(change(study))
    assert done.failure == refusal[0]
    assert refusal[1] in done.sentence
    assert "SOMEBODY" not in done.sentence
    assert done.study_uid == ""
    assert _rows(database) == []
    assert (sorted((folder / "inbox").rglob("*")) if (folder / "inbox").exists() else []) == before


def test_the_data_set_has_to_be_of_the_class_that_its_file_states(study: ViewerStudy, take: Take) -> None:
    content = _bytes(study.seg)
    stated, other = study.seg.SOPClassUID.encode(), MRImageStorage.ljust(len(study.seg.SOPClassUID), "\0").encode()
    at = content.rindex(stated, 0, content.index(study.seg.SOPInstanceUID.encode(), 400))
    assert take(content[:at] + other + content[at + len(other) :]).failure == Failure.UNREADABLE


def test_an_object_of_another_study_than_the_address_names_is_refused(study: ViewerStudy, take: Take) -> None:
    assert take(study.seg, "1.2.3").failure == Failure.NOT_OF_THIS_STUDY
    assert take(study.seg, study.study_uid).failure is None


def test_a_full_disk_takes_nothing(database: Database, study: ViewerStudy, take: Take) -> None:
    done = take(study.seg, free_gib=1e9)
    assert done.failure == Failure.OUT_OF_RESOURCES
    assert "the disk is too full" in done.sentence
    assert _rows(database) == []
