"""`glionode convert` against dcm2niix and against reference files, on every MR series of the shared data."""

import json
from pathlib import Path

import pytest

from benchmarks.conversion import FOLDERS, REFUSED, Row, compare_all
from dicom_node.workbench.convert_folder import convert_folder

pytestmark = [
    pytest.mark.data,
    pytest.mark.filterwarnings("ignore:Invalid value for VR"),
    pytest.mark.filterwarnings("ignore:The value length"),
]


@pytest.fixture(scope="module")
def rows(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Convert every folder by both programs once."""
    return list(compare_all(shared_data, tmp_path_factory.mktemp("conversion")))


def test_every_volume_equals_that_of_dcm2niix(rows: list[Row]) -> None:
    unequal = [row for row in rows if row.peer is None or not row.peer.equal or row.peer.factor != 1.0]
    assert unequal == []


def test_no_series_is_left_out(rows: list[Row]) -> None:
    volumes = {folder: sum(row.folder == folder for row in rows) for folder in FOLDERS}
    assert volumes.pop("philips-1.5T-tumour") == 12  # ten series, one of them a localizer of three planes
    assert volumes.pop("brainix") == 3
    assert volumes.pop("vendors/refuse/sliceorientation/001") == 2
    assert set(volumes.values()) == {1}


def test_every_volume_equals_its_reference(rows: list[Row]) -> None:
    held = [row for row in rows if row.reference is not None]
    assert len(held) == 12
    assert [row for row in held if row.reference is None or not row.reference.equal] == []
    display_values = {row.folder for row in held if row.reference is not None and row.reference.factor != 1.0}
    assert display_values == {"vendors/philips_enhanced/001", "vendors/philips_enhanced/001_implicit"}


def test_sform_and_qform_are_equal(rows: list[Row]) -> None:
    # A quaternion of three single-precision numbers holds a rotation to about 1e-5 mm over a head.
    assert max(row.transforms_mm for row in rows) < 2e-5


@pytest.mark.parametrize("folder", REFUSED)
def test_what_is_no_mr_is_left_out_with_its_reason(shared_data: Path, tmp_path: Path, folder: str) -> None:
    assert convert_folder(shared_data / "dicom" / folder, tmp_path).files == ()
    (item,) = json.loads((tmp_path / "left_out.json").read_text())
    assert item["code"] == "not_mr"
    assert "CT Image Storage" in item["reason"]


def test_philips_roles_stand_in_the_json(shared_data: Path, tmp_path: Path) -> None:
    convert_folder(shared_data / "dicom/philips-1.5T-tumour", tmp_path)
    told = {path.name[:4]: json.loads(path.read_text()) for path in tmp_path.glob("[0-9]*.json")}
    roles = {number: description["role"] for number, description in told.items()}
    assert roles == {
        "0101": "other",
        "0303": "other",
        "0304": "other",
        "0401": "T2",
        "0502": "other",
        "0701": "FLAIR",
        "0901": "T1",
        "1103": "other",
        "1201": "T1CE",
        "1301": "FLAIR",
    }
    assert {description["evidence"]["kind"] for description in told.values() if description["role"] == "other"} == {
        "localizer",
        "ADC",
        "DWI",
        "reformat",
    }
    assert all(
        set(description) == {"series_uid", "role", "evidence", "geometry", "decisions"} for description in told.values()
    )
