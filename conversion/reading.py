"""Reads DICOM files: headers into a `Study`, pixels into `ImageVolume`s. The only place here that opens files."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.uid import MRImageStorage

from conversion.decision import Decision
from conversion.errors import ConversionReason, UnreadableSeries, UnusableStudy
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.study import Acquisition, InstanceHeader, Series, SeriesUID, Study, StudyUID
from conversion.volume import ImageVolume

__all__ = ["dicom_files", "read_series", "read_source_datasets", "read_study", "read_volumes"]

_PHILIPS_TECHNIQUE = 0x20011020
_PHILIPS_B_FACTOR = 0x20011003
_NO_AGENT = ("", "no", "none", "n/a", "without")
"""What scanners write into ContrastBolusAgent when none was given."""

_ENHANCED_MR = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4")


def dicom_files(folder: Path) -> list[Path]:
    """Return every file below `folder`, sorted; DICOM files have no reliable suffix."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def read_study(paths: Iterable[Path]) -> Study:
    """Read the headers of one study.

    Parameters
    ----------
    paths
        Files in any order; what is no DICOM, no MR or not readable becomes a `Decision`.

    Raises
    ------
    UnusableStudy
        When there is no MR series, or when the files belong to more than one study.
    """
    decisions: list[Decision] = []
    datasets: dict[str, list[tuple[Path, pydicom.Dataset]]] = {}
    studies: set[str] = set()
    for path in sorted(paths):
        ds = _read_header(path, decisions)
        if ds is not None:
            studies.add(str(ds.StudyInstanceUID))
            datasets.setdefault(str(ds.SeriesInstanceUID), []).append((path, ds))
    if not studies:
        raise UnusableStudy(ConversionReason.NO_IMAGES, "no readable DICOM image among the files")
    if len(studies) > 1:
        raise UnusableStudy(
            ConversionReason.NO_IMAGES, f"the files belong to {len(studies)} studies; give one at a time"
        )
    series = [_series(group) for group in datasets.values() if _is_classic_mr(group, decisions)]
    if not series:
        kinds = sorted({_kind(group[0][1]) for group in datasets.values()})
        sentence = f"no MR image series in the study (found: {', '.join(kinds)}); T1 after contrast or FLAIR is needed"
        raise UnusableStudy(ConversionReason.NO_MR, sentence)
    return Study(
        study_uid=StudyUID(studies.pop()),
        series=tuple(sorted(series, key=lambda s: (s.number, s.series_uid))),
        decisions=tuple(decisions),
    )


def _read_header(path: Path, decisions: list[Decision]) -> pydicom.Dataset | None:
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        if all(ds.get(keyword) for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
            return ds
        reason = "a study, series or instance UID is missing"
    except InvalidDicomError:
        reason = "not a DICOM file"
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a broken file; each becomes a decision
        reason = f"cannot be read as DICOM ({type(error).__name__})"
    decisions.append(Decision(code="unreadable_file", subject=f"file {path.name}", reason=reason))
    return None


def _kind(ds: pydicom.Dataset) -> str:
    enhanced = "enhanced " if str(ds.get("SOPClassUID", "")) in _ENHANCED_MR else ""
    return f"{enhanced}{ds.get('Modality', '?')}"


def _is_classic_mr(group: list[tuple[Path, pydicom.Dataset]], decisions: list[Decision]) -> bool:
    ds = group[0][1]
    sop_class = str(ds.get("SOPClassUID", ""))
    if sop_class == MRImageStorage:
        return True
    subject = f"series {int(_number(ds, 'SeriesNumber') or 0)}"
    if sop_class in _ENHANCED_MR:
        reason = (
            f"enhanced multi-frame MR ({len(group)} instance(s)) is not read by this version; route the classic series"
        )
        decisions.append(Decision(code="enhanced_mr", subject=subject, reason=reason))
    else:
        reason = (
            f"{len(group)} instance(s) of modality {ds.get('Modality', '?')} are kept and not used: only MR images are"
        )
        decisions.append(Decision(code="not_mr", subject=subject, reason=reason))
    return False


def _series(group: list[tuple[Path, pydicom.Dataset]]) -> Series:
    ds = group[0][1]
    return Series(
        series_uid=SeriesUID(str(ds.SeriesInstanceUID)),
        number=int(_number(ds, "SeriesNumber") or 0),
        sop_class_uid=str(ds.SOPClassUID),
        frame_of_reference_uid=str(ds.get("FrameOfReferenceUID", "")),
        acquisition=_acquisition([ds for _, ds in group]),
        instances=tuple(_instance(path, ds) for path, ds in group),
    )


def _instance(path: Path, ds: pydicom.Dataset) -> InstanceHeader:
    orientation, position = _numbers(ds, "ImageOrientationPatient"), _numbers(ds, "ImagePositionPatient")
    spacing = _numbers(ds, "PixelSpacing")
    known = len(orientation) == 6 and len(position) == 3
    return InstanceHeader(
        path=path,
        sop_instance_uid=str(ds.SOPInstanceUID),
        instance_number=int(_number(ds, "InstanceNumber") or 0),
        rows=int(ds.get("Rows") or 0),
        columns=int(ds.get("Columns") or 0),
        position_mm=(position[0], position[1], position[2]) if known else None,
        row_direction=(orientation[0], orientation[1], orientation[2]) if known else None,
        column_direction=(orientation[3], orientation[4], orientation[5]) if known else None,
        row_spacing_mm=spacing[0] if len(spacing) == 2 else 0.0,
        column_spacing_mm=spacing[1] if len(spacing) == 2 else 0.0,
    )


def _acquisition(datasets: list[pydicom.Dataset]) -> Acquisition:
    ds = datasets[0]
    private = [str(ds[_PHILIPS_TECHNIQUE].value)] if _PHILIPS_TECHNIQUE in ds else []
    b_value = _number(ds, "DiffusionBValue")
    if b_value is None and _PHILIPS_B_FACTOR in ds and isinstance(ds[_PHILIPS_B_FACTOR].value, float):
        b_value = ds[_PHILIPS_B_FACTOR].value
    times = [time for each in datasets if (time := _seconds(each)) is not None]
    return Acquisition(
        image_type=_values(ds, "ImageType"),
        scanning_sequence=_values(ds, "ScanningSequence"),
        sequence_variant=_values(ds, "SequenceVariant"),
        technique=" ".join([str(ds.get("SequenceName") or ""), *private]).strip().lower(),
        text=f"{ds.get('SeriesDescription') or ''} {ds.get('ProtocolName') or ''}".lower().replace("_", " "),
        repetition_time_ms=_number(ds, "RepetitionTime"),
        echo_time_ms=_number(ds, "EchoTime"),
        inversion_time_ms=_number(ds, "InversionTime"),
        diffusion_b_value=b_value,
        contrast_agent=str(ds.get("ContrastBolusAgent") or "").strip().lower() not in _NO_AGENT,
        acquired_at=min(times) if times else None,
    )


def _values(ds: pydicom.Dataset, keyword: str) -> tuple[str, ...]:
    value = ds.get(keyword) or []
    return (str(value),) if isinstance(value, str) else tuple(str(item) for item in value)


def _number(ds: pydicom.Dataset, keyword: str) -> float | None:
    numbers = _numbers(ds, keyword)
    return numbers[0] if len(numbers) == 1 else None


def _numbers(ds: pydicom.Dataset, keyword: str) -> list[float]:
    """Return the values of a numeric attribute; none when it is absent, empty or not a number."""
    try:
        value = ds.get(keyword)
        return [float(item) for item in (value if isinstance(value, MultiValue) else (value,))]
    except (TypeError, ValueError):
        return []


def _seconds(ds: pydicom.Dataset) -> float | None:
    text = str(ds.get("AcquisitionTime") or ds.get("SeriesTime") or "")
    try:
        return int(text[:2]) * 3600.0 + int(text[2:4]) * 60.0 + float(text[4:] or 0)
    except ValueError:
        return None


def read_volumes(selection: SeriesSelection) -> dict[Role, ImageVolume]:
    """Read the pixels of every selected series, on each series' own grid.

    Raises
    ------
    UnreadableSeries
        When pixels are missing, truncated or of a form that no decoder reads.
    BrokenGeometry
        When the slices make no volume.
    """
    return {role: read_series(series) for role, series in selection.series.items()}


def read_series(series: Series) -> ImageVolume:
    """Read the pixels of one series onto its own grid; raises as `read_volumes` does."""
    stack = stack_slices(series)
    voxels = np.empty(stack.grid.shape, np.float32)
    for k, instance in enumerate(stack.instances):
        voxels[k] = _read_pixels(series, instance)
    return ImageVolume(grid=stack.grid, voxels=voxels)


def _read_pixels(series: Series, instance: InstanceHeader) -> NDArray[np.float32]:
    """Return one slice in the units of the Modality LUT (PS3.3 C.11.1), shape (row, column)."""
    try:
        ds = pydicom.dcmread(instance.path)
        pixels = ds.pixel_array.astype(np.float32)
        slope, intercept = float(ds.get("RescaleSlope", 1) or 1), float(ds.get("RescaleIntercept", 0) or 0)
    except Exception as error:
        what = f"{series.name}, image {instance.instance_number}: the pixels cannot be read ({type(error).__name__})"
        sentence = f"{what}; the file is truncated, damaged or of an unknown encoding: send it again"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    if pixels.shape != (instance.rows, instance.columns):
        what = f"{series.name}, image {instance.instance_number}"
        sentence = f"{what}: {pixels.ndim}-dimensional or coloured pixels are no MR slice"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    return np.asarray(pixels * slope + intercept, np.float32)


def read_source_datasets(series: Series) -> list[pydicom.Dataset]:
    """Return the instances of a series without pixels, in the order of its stack, as sources of derived objects."""
    return [pydicom.dcmread(instance.path, stop_before_pixels=True) for instance in stack_slices(series).instances]
