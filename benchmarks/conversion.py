"""Compares `glionode convert` with dcm2niix 1.0.20260724 and with reference NIfTI files, voxel by voxel.

    python -m benchmarks.conversion            # writes benchmarks/conversion.md

Both programs convert the same folders. Their files are compared in patient space: each of our voxels must coincide with
one of theirs and have the same value. Data: the folder named by GLIONODE_TEST_DATA (default ../shared/data).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from dicom_node.workbench.convert_folder import convert_folder

__all__ = ["Comparison", "Row", "compare", "compare_all"]

POSITION_MM = 0.001
"""Largest distance of a voxel from that of the other program."""

VALUE_SHARE = 2.5e-7
"""Largest difference of a value, as a share of the largest value: two roundings to single precision (2 * 2**-23)."""

FOLDERS = (
    "philips-1.5T-tumour", "brainix", "vendors/compressed_j2k/001", "vendors/ge/001", "vendors/ge/001_implicit",
    "vendors/ge/001_single_slice", "vendors/generic/001", "vendors/generic/001_implicit",
    "vendors/generic/002_non_isotropic", "vendors/philips/001", "vendors/philips_enhanced/001",
    "vendors/philips_enhanced/001_implicit", "vendors/siemens_enhanced/001", "vendors/refuse/slicecount/001",
    "vendors/refuse/sliceorientation/001",
)  # fmt: skip
"""Every folder of the data with MR images. The other folders in refuse/ contain CT and make up the list of what is left
out."""

REFUSED = tuple(f"vendors/refuse/{name}" for name in ("gantrytilting/001", "notavolume/001", "sliceincrement/001"))

HEAD = f"""# Conversion against dcm2niix

Made by `python -m benchmarks.conversion`, which converts every MR series of the test data with `glionode convert` and
with dcm2niix 1.0.20260724 (`-p y -m n`) and compares the results in patient space.

- *Position*: the largest distance between a voxel of ours and the matching voxel of theirs, in mm
  (limit: {POSITION_MM}).
- *Value*: the largest difference as a share of the series' largest value
  (limit: {VALUE_SHARE:g}, two roundings to single precision).
- The last two columns compare our file with the reference that came with the data, if there is one.
"""

NOTES = """
A reference marked *display values* was made without Philips' private scale slope (2005,100E): its values are ours
divided by the factor given there. dcm2niix applies the scale slope as we do.

## Vendors

| vendor | classic | enhanced multi-frame |
|---|---|---|
| Philips | compared above | compared above, explicit and implicit VR |
| Siemens | by documented tags, not tested on real data; mosaics are refused with that reason | XA, compared above |
| GE | compared above | by the standard's functional groups, not tested on real data |
| Canon, United Imaging, Fujifilm, others | by the standard's attributes, not tested on real data | as for GE |
"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of one of our volumes with one of another program.

    Attributes
    ----------
    position_mm, value_share
        Largest difference in position and in value. Infinite if the grids do not match.
    factor
        Our values divided by theirs, if one factor makes them equal. Otherwise 1.
    """

    position_mm: float
    value_share: float
    factor: float

    @property
    def equal(self) -> bool:
        """Whether position and value agree within the limits."""
        return self.position_mm <= POSITION_MM and self.value_share <= VALUE_SHARE


@dataclass(frozen=True, kw_only=True)
class Row:
    """One converted volume.

    Attributes
    ----------
    transforms_mm
        Largest difference between sform and qform in our file.
    """

    folder: str
    volume: str
    transforms_mm: float
    peer: Comparison | None
    reference: Comparison | None


def compare(ours: Path, theirs: Path) -> Comparison:
    """Compare two NIfTI files in patient space, whatever the order of their axes."""
    mine, other = nib.load(ours), nib.load(theirs)
    values, reference = _values(mine), _values(other)
    index = np.indices(values.shape).reshape(3, -1)
    place = np.linalg.inv(other.affine) @ mine.affine
    found = np.rint(place[:3, :3] @ index + place[:3, 3:]).astype(int)
    inside = np.all((found >= 0) & (found < np.array(reference.shape)[:, None]))
    if not inside or sorted(values.shape) != sorted(reference.shape):
        return Comparison(position_mm=np.inf, value_share=np.inf, factor=1.0)
    ours_mm = mine.affine[:3, :3] @ index + mine.affine[:3, 3:]
    theirs_mm = other.affine[:3, :3] @ found + other.affine[:3, 3:]
    value, factor = _difference(values.ravel(), reference[tuple(found)])
    position = float(np.linalg.norm(ours_mm - theirs_mm, axis=0).max())
    return Comparison(position_mm=position, value_share=value, factor=factor)


def _values(image: nib.nifti1.Nifti1Image) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.asanyarray(image.dataobj).astype(np.float64)
    return values.reshape(values.shape[:3])  # a reference of one volume may have a fourth axis of length one


def _difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest difference as a share of the largest value, and the factor that makes it that small."""
    largest = float(np.abs(ours).max()) or 1.0
    plain = float(np.abs(ours - theirs).max()) / largest
    factor = float(ours @ theirs / max(theirs @ theirs, 1e-30))
    scaled = float(np.abs(ours - factor * theirs).max()) / largest
    return (plain, 1.0) if plain <= VALUE_SHARE or scaled > VALUE_SHARE else (scaled, factor)


def compare_all(data: Path, work: Path) -> Iterator[Row]:
    """Convert every folder with both programs into `work`, and compare each of our volumes."""
    for name in FOLDERS:
        folder, ours, theirs = data / "dicom" / name, work / "ours" / name, work / "dcm2niix" / name
        theirs.mkdir(parents=True)
        _run_dcm2niix(folder, theirs)
        references = sorted(folder.parent.glob(f"{folder.name}_ground_truth.nii.gz"))
        for path in convert_folder(folder, ours).files:
            image = nib.load(path)
            yield Row(
                folder=name,
                volume=path.name.removesuffix(".nii.gz"),
                transforms_mm=float(np.abs(image.get_qform() - image.get_sform()).max()),
                peer=_best(path, sorted(theirs.glob("*.nii"))),
                reference=_best(path, references),
            )


def _run_dcm2niix(folder: Path, out: Path) -> None:
    """Convert with dcm2niix: precise Philips values, and no merging of different series."""
    program = Path(sys.executable).with_name("dcm2niix")
    options = ["-p", "y", "-m", "n", "-z", "n", "-b", "n", "-f", "%s_%t", "-o", str(out)]
    subprocess.run([str(program), *options, str(folder)], check=True, capture_output=True)  # noqa: S603


def _best(ours: Path, candidates: list[Path]) -> Comparison | None:
    """Compare with the best-matching file: a series may give several, and the other program uses its own names."""
    compared = [compare(ours, path) for path in candidates]
    return min(compared, key=lambda c: (not c.equal, c.position_mm > POSITION_MM, c.value_share), default=None)


def _line(row: Row) -> str:
    return f"| {row.folder} | {row.volume} | {_cells(row.peer)} | {_cells(row.reference)} |"


def _cells(comparison: Comparison | None) -> str:
    if comparison is None:
        return " | "
    note = f" (display values, factor {comparison.factor:.6g})" if comparison.factor != 1.0 else ""
    return f"{comparison.position_mm:.6f} | {comparison.value_share:.1e}{note}"


def _left_out(data: Path, work: Path) -> Iterator[str]:
    """Yield every series and file that was not converted, also in the folders without MR."""
    for name in REFUSED:
        convert_folder(data / "dicom" / name, work / "ours" / name)
    for path in sorted((work / "ours").rglob("left_out.json")):
        for item in json.loads(path.read_text()):
            yield f"- {path.parent.relative_to(work / 'ours')}, {item['subject']}: {item['reason']} (`{item['code']}`)"


def main() -> None:
    """Convert, compare and write the table."""
    data = Path(os.environ.get("GLIONODE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    with tempfile.TemporaryDirectory() as work:
        rows = list(compare_all(data, Path(work)))
        left_out = list(_left_out(data, Path(work)))
    table = ["| folder | volume | position | value | reference: position | value |", "|---|---|---|---|---|---|"]
    table += [_line(row) for row in rows]
    equal = sum(row.peer is not None and row.peer.equal for row in rows)
    summary = f"\n{equal} of {len(rows)} volumes equal those of dcm2niix.\n"
    text = "\n".join([HEAD, *table, summary, "## Left out", "", *left_out]) + "\n" + NOTES
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
