"""NIfTI files that are whole are read; what is cut off or too large is refused, and never filled up with zeros."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from conversion import nifti
from conversion.errors import UnreadableSeries
from conversion.nifti import read_nifti, write_nifti
from conversion.volume import Grid, ImageVolume

GRID = Grid(shape=(6, 20, 30), affine=np.diag([5.0, 2.0, 2.0, 1.0]), frame_of_reference_uid="1.2")
VOXELS = np.arange(6 * 20 * 30, dtype=np.float32).reshape(GRID.shape) + 0.5


def _written(path: Path) -> Path:
    write_nifti(ImageVolume(grid=GRID, voxels=VOXELS), path)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    volume = read_nifti(_written(tmp_path / name))
    assert np.array_equal(volume.voxels, VOXELS)
    assert np.allclose(volume.grid.affine, GRID.affine)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("left", [0.999, 0.6, 0.2])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, name: str, left: float) -> None:
    path = _written(tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    with pytest.raises(
        UnreadableSeries, match=r"a\.nii(\.gz)?: (the file is truncated|cannot be read|not a readable NIfTI file)"
    ):
        read_nifti(path)


def test_a_packed_file_whose_content_was_cut_off_is_refused(tmp_path: Path) -> None:
    plain = _written(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(plain[:-1]))
    with pytest.raises(UnreadableSeries, match="the file is truncated"):
        read_nifti(tmp_path / "b.nii.gz")
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(plain))
    assert np.array_equal(read_nifti(tmp_path / "c.nii.gz").voxels, VOXELS)


def test_a_volume_that_is_no_head_by_its_size_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(tmp_path / "a.nii.gz")
    monkeypatch.setattr(nifti, "MAXIMUM_VOXELS", VOXELS.size - 1)
    with pytest.raises(UnreadableSeries, match="too large for a head"):
        read_nifti(path)
    monkeypatch.setattr(nifti, "MAXIMUM_VOXELS", VOXELS.size)
    assert read_nifti(path).voxels.size == VOXELS.size
