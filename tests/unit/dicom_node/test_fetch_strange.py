"""C-GET and C-MOVE from sources that send what was not asked for, without end, or count what never came."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pydicom.config
import pytest
import sqlalchemy as sa
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import QueryFailed
from dicom_node.reception import intake
from dicom_node.reception.inbox import Inbox
from dicom_node.retrieval import fetch
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.settings import Settings, read_settings
from tests.support.small_study import SLICES, make_small_study
from tests.support.strange_scp import StrangeScp, identifier, running_strange_scp
from tests.support.web_source import file_of

_IMAGES = make_small_study("wanted", roles=["FLAIR"])
_STUDY = str(_IMAGES[0].StudyInstanceUID)


@pytest.fixture(autouse=True)
def _values_as_in_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def scp() -> Iterator[StrangeScp]:
    with running_strange_scp() as running:
        yield running


@pytest.fixture
def moving() -> Iterator[StrangeScp]:
    with running_strange_scp(moves=True) as running:
        yield running


def _fetcher(settings: Settings, database: Database, scp: StrangeScp) -> Fetcher:
    peer = Peer(name="Strange", ae_title="STRANGE", host="127.0.0.1", port=scp.port, is_source=True)
    return Fetcher(settings, database, peer)


def _held(database: Database) -> set[str]:
    with database.session() as session:
        return set(session.scalars(sa.select(InstanceRow.study_uid)))


def test_images_of_another_study_are_refused(database: Database, settings: Settings, scp: StrangeScp) -> None:
    scp.sends = lambda: [*make_small_study("other", roles=["FLAIR"])[:3], *_IMAGES]
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.by, done.instances, done.failed) == ("C-GET", SLICES, 3)
    assert done.problems == ("3 of another study",)
    assert _held(database) == {_STUDY}


def test_a_source_that_sends_on_and_on_is_cut_off(
    database: Database, settings: Settings, scp: StrangeScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_INSTANCES", 15)
    scp.sends = lambda: itertools.cycle(_IMAGES)
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.instances, done.complete) == (SLICES, False)
    assert done.problems[0].startswith("incomplete: the source sent more than")


def test_a_source_that_is_not_through_in_time_is_cut_off(
    database: Database, settings: Settings, scp: StrangeScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "GET_S", -1.0)
    scp.sends = lambda: itertools.cycle(_IMAGES)
    with pytest.raises(QueryFailed, match="the transfer was not complete after"):
        _fetcher(settings, database, scp).fetch(_STUDY)


def test_nothing_comes_onto_a_full_disk(database: Database, tmp_path: Path, scp: StrangeScp) -> None:
    scp.sends = lambda: _IMAGES
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_LIMITS_FREE_DISK_GIB": "1e9"}
    with pytest.raises(QueryFailed, match=r"GiB are free and limits\.free_disk_gib is"):
        _fetcher(read_settings(environment=environment), database, scp).fetch(_STUDY)
    assert _held(database) == set()


def test_a_data_set_larger_than_the_limit_ends_the_association(
    database: Database, tmp_path: Path, scp: StrangeScp
) -> None:
    large = make_small_study("wanted", roles=["FLAIR"])[-1]
    large.PixelData = bytes(4 * 2**20)
    scp.sends = lambda: [*_IMAGES[:3], large]
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_LIMITS_DATA_SET_GIB": str(1 / 1024)}
    settings = read_settings(environment=environment)
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.instances, done.complete) == (3, False)
    assert "larger than 0.000976562 GiB (limits.data_set_gib)" in done.problems[0]
    scp.sends = lambda: [large]
    with pytest.raises(QueryFailed, match=r"limits\.data_set_gib"):
        _fetcher(settings, database, scp).fetch(_STUDY)


class _Announced(pydicom.Dataset):
    """A data set that its sender calls an MR image, whatever stands in it."""

    SOPClassUID = MRImageStorage


def _called_mr(number: int, sop_class_uid: str) -> pydicom.Dataset:
    image = make_small_study("wanted", roles=["FLAIR"])[number]
    ds = _Announced(image)
    ds.file_meta = image.file_meta
    ds[0x00080016] = pydicom.DataElement(0x00080016, "UI", sop_class_uid)
    return ds


def test_an_object_that_is_not_what_the_source_says_is_refused(
    database: Database, settings: Settings, scp: StrangeScp
) -> None:
    scp.sends = lambda: [*_IMAGES[:3], _called_mr(3, SecondaryCaptureImageStorage), _called_mr(4, "")]
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.instances, done.failed) == (3, 2)
    assert done.problems == ("2 of another SOP class than the source stated",)


def test_one_uid_in_two_series_is_two_instances(database: Database, settings: Settings, scp: StrangeScp) -> None:
    repeated = make_small_study("wanted", roles=["FLAIR"])[:2]
    for ds in repeated:
        ds.SeriesInstanceUID = "1.2.826.0.1.3680043.9.1"
    scp.sends, scp.says = (lambda: [*_IMAGES, *repeated]), (SLICES + 2, 0)
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.instances, done.failed, done.complete) == (SLICES + 2, 0, True)
    with running_strange_scp(moves=True) as moving:
        moving.says = (SLICES + 2, 0)
        (done,) = _fetcher(settings, database, moving).fetch(_STUDY)
    assert (done.by, done.instances, done.failed, done.complete) == ("C-MOVE", SLICES + 2, 0, True)


@pytest.mark.parametrize(
    ("says", "expected"),
    [((99, 0), (89, False)), ((3, 0), (0, True)), ((10, 65535), (65535, True)), ((None, None), (0, True))],
)
def test_what_came_counts_not_what_a_source_says(
    database: Database,
    settings: Settings,
    scp: StrangeScp,
    says: tuple[int | None, int | None],
    expected: tuple[int, bool],
) -> None:
    scp.sends, scp.says = (lambda: _IMAGES), says
    (done,) = _fetcher(settings, database, scp).fetch(_STUDY)
    assert (done.instances, (done.failed, done.complete)) == (SLICES, expected)


def test_what_a_c_move_brought_elsewhere_did_not_come(
    database: Database, settings: Settings, moving: StrangeScp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "FILED_S", 0.3)
    moving.says = (SLICES, 0)
    fetcher = _fetcher(settings, database, moving)
    with pytest.raises(QueryFailed, match="the source reports 10 more as sent than were received"):
        fetcher.fetch(_STUDY)
    inbox = Inbox(database, settings.node.folder)
    for ds in _IMAGES[:4]:
        content = file_of(ds)
        inbox.receive(content, content[144 + int.from_bytes(content[140:144], "little") :], "X", ds.SOPInstanceUID)
    (done,) = fetcher.fetch(_STUDY)
    assert (done.by, done.instances, done.failed, done.complete) == ("C-MOVE", 4, 6, False)
    moving.says = (None, None)  # a source may give no number
    assert fetcher.fetch(_STUDY)[0].instances == 4


def _day(uid: str, date: bytes, patient: bytes = b"P*") -> dict[str, bytes]:
    return {"StudyInstanceUID": uid.encode(), "StudyDate": date, "PatientID": patient, "ModalitiesInStudy": b"MR"}


@pytest.mark.parametrize(
    ("of_study", "of_others", "expected"),
    [
        (b"20240601", {"1.2.1": b"20240601", "1.2.2": b"20240531", "1.2.3": b"20240602"}, ["1.2.2"]),
        (b"20240601", {"1.2.1": b"", "1.2.2": b"yesterday", "1.2.3": b"2024.05.31", "1.2.4": b"20240230"}, ["1.2.3"]),
        (b"20240601", {"../../x": b"20200101", "1.2.2": b"20200101\\20210101"}, []),
    ],
)
def test_priors_are_of_an_earlier_day(
    database: Database,
    settings: Settings,
    scp: StrangeScp,
    of_study: bytes,
    of_others: dict[str, bytes],
    expected: list[str],
) -> None:
    def finds(_level: str) -> list[pydicom.Dataset]:
        answers = [_day(_STUDY, of_study), *(_day(uid, date) for uid, date in of_others.items())]
        return [identifier(one) for one in (*answers, *answers)]  # each of them twice

    scp.finds = finds
    fetcher = _fetcher(settings, database, scp)
    with pytest.raises(QueryFailed, match="lists no such study, or no Patient ID for it"):
        fetcher._priors(_STUDY)  # two answers to one UID: nobody knows whose it is
    scp.finds = lambda _level: finds(_level)[: len(of_others) + 1]
    assert [study.study_uid for study in fetcher._priors(_STUDY)] == expected


def test_without_a_date_nobody_knows_what_is_earlier(database: Database, settings: Settings, scp: StrangeScp) -> None:
    scp.finds = lambda _level: [identifier(_day(_STUDY, b"")), identifier(_day("1.2.3", b"20200101"))]
    with pytest.raises(QueryFailed, match="fetch it without priors"):
        _fetcher(settings, database, scp).fetch(_STUDY, priors=1)


def test_studies_of_other_patients_are_no_priors(database: Database, settings: Settings, scp: StrangeScp) -> None:
    """A query takes the asterisk of a Patient ID for a wildcard."""
    others = [_day("1.2.1", b"20200101", b"P2"), _day("1.2.2", b"20200101", b"P* ")]
    scp.finds = lambda _level: [identifier(one) for one in (_day(_STUDY, b"20240601"), *others)]
    found = _fetcher(settings, database, scp)._priors(_STUDY)
    assert [study.study_uid for study in found] == ["1.2.2"]


def test_a_prior_that_cannot_be_fetched_does_not_take_the_study_along(
    database: Database, settings: Settings, scp: StrangeScp
) -> None:
    scp.finds = lambda _level: [identifier(_day(_STUDY, b"20240601")), identifier(_day("1.2.3", b"20200101"))]
    scp.sends = lambda: _IMAGES
    study, prior = _fetcher(settings, database, scp).fetch(_STUDY, priors=1)
    assert (study.instances, study.complete) == (SLICES, True)
    assert (prior.study_uid, prior.instances, prior.complete) == ("1.2.3", 0, False)
    assert "Strange sent nothing of the study; 10 of another study" in prior.problems[0]
