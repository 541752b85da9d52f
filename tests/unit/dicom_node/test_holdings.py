"""What the node holds, from its books and files."""

import copy
import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.storage.byte_cache import ByteCache
from dicom_node.studies.holdings import _IN_MEMORY, Holdings, _read_header, _read_whole
from tests.support.dicom_series import axis_aligned
from tests.support.enhanced_series import enhanced_instance
from tests.support.mislabelled import mislabel
from tests.support.viewer_study import ViewerStudy, hold, hold_results, instance_row, make_study


@pytest.fixture
def study(database: Database, tmp_path: Path) -> ViewerStudy:
    made = make_study()
    hold(database, tmp_path, made)
    return made


def _uids(holdings: Holdings, study: ViewerStudy) -> set[str]:
    return {held.sop_instance_uid for held in holdings.instances(study.study_uid)}


def test_a_study_is_its_received_instances_and_its_results(
    database: Database, study: ViewerStudy, tmp_path: Path
) -> None:
    holdings = Holdings(database, tmp_path)
    (held,) = holdings.studies()
    assert held.study_uid == study.study_uid
    assert {series.series_uid: series.count for series in held.series} == {
        study.mr[0].SeriesInstanceUID: len(study.mr),
        study.seg.SeriesInstanceUID: 1,
        study.sr.SeriesInstanceUID: 1,
    }
    assert all(series.sample.is_file() for series in held.series)
    assert _uids(holdings, study) == {ds.SOPInstanceUID for ds in (*study.mr, study.seg, study.sr)}


def test_a_picture_among_images_does_not_stand_for_their_series(
    database: Database, study: ViewerStudy, tmp_path: Path
) -> None:
    picture = copy.deepcopy(study.mr[0])
    picture.SOPClassUID, picture.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    with database.session() as session:
        session.add(instance_row(picture, "0-sorts-first.dcm"))
    (held,) = Holdings(database, tmp_path).studies()
    (series,) = [one for one in held.series if one.series_uid == picture.SeriesInstanceUID]
    assert series.count == len(study.mr) + 1
    assert series.sample.is_file()
    assert series.sop_class_uids == tuple(sorted((study.mr[0].SOPClassUID, SecondaryCaptureImageStorage)))


def test_studies_are_found_by_uid_and_over_many_pages(database: Database, study: ViewerStudy, tmp_path: Path) -> None:
    others = [make_study(f"other {number}") for number in range(2)]
    for other in others:
        hold(database, tmp_path, other)
    holdings = Holdings(database, tmp_path)
    assert [held.study_uid for held in holdings.studies([study.study_uid, "1.2.3"])] == [study.study_uid]
    assert {held.study_uid for held in holdings.studies()} == {study.study_uid, *(one.study_uid for one in others)}
    assert list(holdings.studies(["1.2.3"])) == []


def test_instances_are_chosen_by_series_and_by_name(database: Database, study: ViewerStudy, tmp_path: Path) -> None:
    holdings = Holdings(database, tmp_path)
    series_uid, name = study.mr[0].SeriesInstanceUID, study.mr[3].SOPInstanceUID
    assert len(holdings.instances(study.study_uid, series_uid)) == len(study.mr)
    (held,) = holdings.instances(study.study_uid, series_uid, name)
    assert (held.sop_instance_uid, held.series_uid) == (name, series_uid)
    assert held.path.is_relative_to(tmp_path)
    assert holdings.instances(study.study_uid, study.seg.SeriesInstanceUID, name) == []
    assert holdings.instances("1.2.3") == []


def test_only_the_newest_results_are_shown(database: Database, study: ViewerStudy, tmp_path: Path) -> None:
    newer = make_study("newer results")
    for result in (newer.seg, newer.sr):
        result.StudyInstanceUID = study.study_uid
    hold_results(database, tmp_path, (newer.seg, newer.sr), revision=2)
    found = _uids(Holdings(database, tmp_path), study)
    assert {newer.seg.SOPInstanceUID, newer.sr.SOPInstanceUID} <= found
    assert not {study.seg.SOPInstanceUID, study.sr.SOPInstanceUID} & found


def test_replaced_versions_and_results_that_came_back_are_not_shown(
    database: Database, study: ViewerStudy, tmp_path: Path
) -> None:
    with database.session() as session:
        row = session.query(InstanceRow).filter_by(sop_instance_uid=study.mr[0].SOPInstanceUID).one()
        row.current = False
        returned = study.seg.copy()
        returned.file_meta = study.seg.file_meta
        session.add(instance_row(returned, "received/returned.dcm"))
    holdings = Holdings(database, tmp_path)
    assert study.mr[0].SOPInstanceUID not in _uids(holdings, study)
    (seg,) = holdings.instances(study.study_uid, study.seg.SeriesInstanceUID)
    assert seg.path.parent.name == "results-1"


def test_headers_leave_the_pixels_on_disk_and_are_read_once(
    database: Database, study: ViewerStudy, tmp_path: Path
) -> None:
    holdings = Holdings(database, tmp_path)
    (held,) = holdings.instances(study.study_uid, study.seg.SeriesInstanceUID)
    header = holdings.header(held.path)
    assert header.get_item("PixelData", keep_deferred=True).value is None
    assert holdings.header(held.path) is header
    assert holdings.whole(held.path).PixelData == study.seg.PixelData
    later_ns = held.path.stat().st_mtime_ns + 1_000_000_000
    os.utime(held.path, ns=(later_ns, later_ns))
    assert holdings.header(held.path) is not header


def test_a_missing_file_is_an_error(database: Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Holdings(database, tmp_path).header(tmp_path / "gone.dcm")


def test_what_is_kept_is_counted_in_bytes() -> None:
    cache: ByteCache[str] = ByteCache(100)
    read: list[str] = []

    def ask(name: str, size: int) -> str:
        return cache.get(name, lambda: (read.append(name) or name, size))

    for name, size in (("a", 60), ("a", 60), ("b", 60), ("a", 60), ("huge", 10_000), ("huge", 10_000), ("b", 60)):
        assert ask(name, size) == name
    assert read == ["a", "b", "a", "huge", "b"]
    assert cache.held_bytes == 60


def _grouped(path: Path, syntax: UID, form: str) -> Path:
    """Write an enhanced header of 200 frames, each with five functional groups of its own."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = EnhancedMRImageStorage, "1.2.3"
    frames = []
    for number in range(200):
        frame = Dataset()
        for keyword, facts in _GROUPS.items():
            group = Dataset()
            for fact, value in facts.items():
                setattr(group, fact, value)
            setattr(frame, keyword, [group])
        frame.FrameContentSequence[0].InStackPositionNumber = number
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = form == "SQ of undefined length"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    return path


_GROUPS: dict[str, dict[str, Any]] = {
    "FrameContentSequence": {"StackID": "1", "DimensionIndexValues": [1, 2], "FrameAcquisitionNumber": 1},
    "PlanePositionSequence": {"ImagePositionPatient": [1.5, 2.5, 3.5]},
    "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
    "PixelMeasuresSequence": {"PixelSpacing": [0.9, 0.9], "SliceThickness": 1},
    "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"},
}


def _look_at_all(ds: Dataset) -> None:
    for element in ds:
        for item in element.value if element.VR == "SQ" else ():
            _look_at_all(item)


@pytest.mark.parametrize("form", ["SQ", "SQ of undefined length"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_header_of_functional_groups_weighs_what_it_takes_once_it_was_looked_at(
    tmp_path: Path, syntax: UID, form: str
) -> None:
    path = _grouped(tmp_path / "groups.dcm", syntax, form)
    _look_at_all(_read_header(path)[0])  # what is loaded once for all is none of it
    gc.collect()
    tracemalloc.start()
    try:
        ds, weight = _read_header(path)
        _look_at_all(ds)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 3 < weight < taken * 3, f"{taken / path.stat().st_size:.0f} times its size"


def test_a_header_weighs_what_its_elements_do_and_pixels_weigh_in_whole(tmp_path: Path) -> None:
    small, large = _file(tmp_path, "small", 0), _file(tmp_path, "large", 10_000)
    assert _read_header(large)[1] > _read_header(small)[1] + 10_000 * _IN_MEMORY // 2
    assert _read_header(small)[1] < 128 * 1024
    assert _read_whole(small)[1] > 2**20


def _file(folder: Path, name: str, elements: int) -> Path:
    ds = make_study(name).mr[0].copy()
    ds.PixelData = bytes(2**20)
    for number in range(elements):
        ds.add_new((0x0021, 0x1000 + number), "SH", "x")
    ds.add_new((0x0021, 0x0010), "LO", "TESTS")
    path = folder / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


READ_ALL = """
import sys
from pathlib import Path
from dicom_node.studies import holdings
from dicom_node.database.engine import open_database
way, folder, share = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
def peak_kib():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1])
for cache in (holdings._headers, holdings._wholes):
    cache._most_bytes //= share
held = holdings.Holdings(open_database(f"sqlite:///{folder / 'node.sqlite'}"), folder)
before = peak_kib()
for path in sorted(folder.glob("*.dcm")):
    for element in getattr(held, way)(path).iterall():
        element.value
print((peak_kib() - before) / 1024)
"""
"""A process of its own, whose highest water mark the kernel keeps; every value is looked at, as for an answer."""

KEPT_MIB = 256.0


@pytest.mark.parametrize(("way", "files", "share"), [("header", 20, 8), ("whole", 12, 1)])
def test_what_is_kept_stays_within_its_memory(tmp_path: Path, way: str, files: int, share: int) -> None:
    """No more than 256 MiB of images, or that share of it, and what is at hand; all of them would be twice that."""
    first = tmp_path / "00.dcm"
    one_mib = _many_frames(first) if way == "header" else _large_pixels(first)
    most_mib = KEPT_MIB / share + 2 * one_mib + 32
    assert files * one_mib > 1.4 * most_mib
    for number in range(1, files):
        os.link(first, tmp_path / f"{number:02d}.dcm")
    command = [sys.executable, "-c", READ_ALL, way, str(tmp_path), str(share)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(ran.stdout.split()[-1]) < most_mib


def _many_frames(path: Path) -> float:
    """Write an enhanced instance of 800 frames; return what its header takes when it was looked at, as measured."""
    ds = enhanced_instance(np.zeros((800, 1, 1), np.uint16), axis_aligned("axial"))
    ds.save_as(path, enforce_file_format=True)
    return 8.0


def _large_pixels(path: Path) -> float:
    ds = make_study().mr[0]
    ds.PixelData = bytes(48 * 2**20)
    ds.save_as(path, enforce_file_format=True)
    return 48.0


def _nested(path: Path) -> None:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.3", "1.2.4"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    sequence, item = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff", b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    path.write_bytes(path.read_bytes() + (sequence + item) * 10_000)


def _unsettled(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM" + b"\x07" * 4000)


def _of_odd_length(path: Path) -> None:
    _nested(path)
    mislabel(path, "")
    path.write_bytes(path.read_bytes().replace(b"\x02\0\x12\0UI", b"\x02\0\x10\0US"))


@pytest.mark.parametrize("spoil", [_nested, _unsettled, _of_odd_length])
def test_whatever_is_wrong_with_a_file_it_is_called_no_dicom(
    database: Database, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "broken.dcm"
    spoil(path)
    with pytest.raises(InvalidDicomError):
        Holdings(database, tmp_path).header(path)
