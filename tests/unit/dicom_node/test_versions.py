"""What is told about an instance that came in several versions."""

import io
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from conversion.decision import Decision
from dicom_node.database.engine import Database
from dicom_node.reception.inbox import Inbox
from dicom_node.studies.holdings import Holdings
from dicom_node.studies.instance_versions import version_decisions
from dicom_node.studies.stored_study import current_instances, stored_study
from tests.support.mislabelled import mislabel
from tests.support.small_study import make_small_study


@pytest.fixture
def images() -> list[Dataset]:
    return make_small_study("versions", roles=["FLAIR"])


def _receive(database: Database, folder: Path, ds: Dataset) -> None:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    Inbox(database, folder).receive(content, content, "SENDER", str(ds.SOPInstanceUID))


def _decisions(database: Database, folder: Path, *versions: Dataset) -> list[Decision]:
    for ds in versions:
        _receive(database, folder, ds)
    return version_decisions(database, folder, str(versions[0].StudyInstanceUID))


def test_single_versions_need_no_word(database: Database, tmp_path: Path, images: list[Dataset]) -> None:
    assert _decisions(database, tmp_path, *images) == []
    assert _decisions(database, tmp_path, *images) == []


@pytest.mark.parametrize("keyword", ["PatientName", "SeriesDescription", "WindowCenter"])
def test_equal_pixels_with_another_header_are_a_correction(
    database: Database, tmp_path: Path, images: list[Dataset], keyword: str
) -> None:
    corrected = deepcopy(images[0])
    setattr(corrected, keyword, "17")
    (decision,) = _decisions(database, tmp_path, images[0], corrected)
    assert (decision.code, decision.subject) == ("header_corrected", "study")
    assert "1 instance(s)" in decision.reason
    assert "17" not in decision.reason


def test_a_number_that_is_written_otherwise_is_a_correction_of_the_header(
    database: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    corrected = deepcopy(images[0])
    corrected.PixelSpacing = [f"{float(value):.6f}" for value in images[0].PixelSpacing]
    assert [d.code for d in _decisions(database, tmp_path, images[0], corrected)] == ["header_corrected"]


def test_the_same_pixels_in_another_encoding_are_a_correction(
    database: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    compressed = make_small_study("versions", roles=["FLAIR"])[0]
    compressed.compress(RLELossless, generate_instance_uid=False)
    assert [d.code for d in _decisions(database, tmp_path, images[0], compressed)] == ["header_corrected"]


def test_other_pixels_are_flagged(database: Database, tmp_path: Path, images: list[Dataset]) -> None:
    changed = deepcopy(images[0])
    pixels = np.frombuffer(images[0].PixelData, "<u2").copy()
    pixels[0] += 1
    changed.PixelData = pixels.tobytes()
    (decision,) = _decisions(database, tmp_path, images[0], changed)
    assert decision.code == "pixels_differ"
    assert "OTHER PIXELS" in decision.reason
    assert "all are kept" in decision.reason


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("ImagePositionPatient", [0.0, 0.0, 1.0]), ("PixelSpacing", [1.0, 1.0]), ("RescaleSlope", 2.0)],
)
def test_other_geometry_or_scaling_is_flagged(
    database: Database, tmp_path: Path, images: list[Dataset], keyword: str, value: object
) -> None:
    changed = deepcopy(images[0])
    setattr(changed, keyword, value)
    assert [d.code for d in _decisions(database, tmp_path, images[0], changed)] == ["pixels_differ"]


def test_pixels_that_cannot_be_decoded_are_equal_only_byte_for_byte(
    database: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    for ds in images[:2]:
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.file_meta.TransferSyntaxUID = JPEG2000  # which they are not
    corrected, changed = deepcopy(images[0]), deepcopy(images[1])
    corrected.SeriesDescription = "corrected"
    changed.PixelData = encapsulate([b"other bytes"])
    codes = [d.code for d in _decisions(database, tmp_path, images[0], corrected, images[1], changed)]
    assert codes == ["header_corrected", "pixels_differ"]


def test_the_newest_version_is_compared_with_the_one_before(
    database: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    second, third = deepcopy(images[0]), deepcopy(images[0])
    second.RescaleSlope = third.RescaleSlope = 2.0
    third.SeriesDescription = "corrected"
    assert [d.code for d in _decisions(database, tmp_path, images[0], second, third)] == ["header_corrected"]


@pytest.mark.filterwarnings(
    "ignore:Expected implicit VR"
)  # of this way into the inbox, which the listener does not take
def test_a_version_that_is_not_encoded_as_it_says_is_compared_as_it_is(
    database: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    mislabelled = make_small_study("versions", roles=["FLAIR"])[0]
    mislabelled.SeriesDescription = "once more"
    mislabelled.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    mislabelled.save_as(buffer, enforce_file_format=True)
    path = tmp_path / "mislabelled.dcm"
    path.write_bytes(buffer.getvalue())
    mislabel(path, ImplicitVRLittleEndian)
    content = path.read_bytes()
    _receive(database, tmp_path, images[0])
    Inbox(database, tmp_path).receive(content, content, "SENDER", str(images[0].SOPInstanceUID))
    found = version_decisions(database, tmp_path, str(images[0].StudyInstanceUID))
    assert [decision.code for decision in found] == ["header_corrected"]


def _two_series_of_one_uid() -> list[Dataset]:
    images = make_small_study("repeated", roles=["FLAIR", "T2"])
    half = len(images) // 2
    for flair, t2 in zip(images[:half], images[half:], strict=True):
        t2.SOPInstanceUID = flair.SOPInstanceUID
    return images


@pytest.mark.parametrize("at_once", ["", "at once"])
def test_one_uid_in_two_series_is_two_images(database: Database, tmp_path: Path, at_once: str) -> None:
    images = _two_series_of_one_uid()
    inbox, arrivals = Inbox(database, tmp_path), []
    for ds in images:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        arrivals.append(inbox.identify(content, content, "SENDER", str(ds.SOPInstanceUID)))
    for some in [arrivals] if at_once else [[arrival] for arrival in arrivals]:
        inbox.file(some)
    study_uid = str(images[0].StudyInstanceUID)
    with database.session() as session:
        held = current_instances(session, study_uid)
    assert len(held) == len(images)
    assert version_decisions(database, tmp_path, study_uid) == []
    assert len(Holdings(database, tmp_path).instances(study_uid)) == len(images)
    study = stored_study(database, tmp_path, study_uid)
    assert [len(series.images) for series in study.series] == [len(images) // 2] * 2
    (decision,) = [decision for decision in study.decisions if decision.code == "uid_in_several_series"]
    assert f"{len(images) // 2} SOP Instance UID(s) are used in series 1 and in series 2" in decision.reason


def test_a_series_that_shares_its_uids_is_still_corrected_by_its_own(database: Database, tmp_path: Path) -> None:
    images = _two_series_of_one_uid()
    corrected = deepcopy(images[0])
    corrected.SeriesDescription = "corrected"
    (decision,) = _decisions(database, tmp_path, *images, corrected, corrected)
    assert (decision.code, decision.reason[:13]) == ("header_corrected", "1 instance(s)")
