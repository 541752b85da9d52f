"""Reads DICOM files: headers into a `Study`, pixels into `ImageVolume`s. Nothing else here opens DICOM files."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from conversion.decision import Decision
from conversion.encoding import read_instance
from conversion.errors import ConversionError, ConversionReason, UnreadableSeries, UnsettledEncoding, UnusableStudy
from conversion.folders import dicom_files, folders_below
from conversion.headers import acquisition_header, image_headers, stated_instances, unreadable_values
from conversion.identities import frame_of_reference, one_image_series, repeated_uids
from conversion.likeness import at_one_place
from conversion.patient import patient_facts
from conversion.patient_identity import number_of_patients
from conversion.pixels import StoredImage, encoded_prints, stored_images
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.series_decisions import encoding_decisions, pixel_decisions, series_decision, series_number
from conversion.splitting import Part, split_images
from conversion.stack import stack_slices
from conversion.study import ImageHeader, Series, SeriesUID, Study, StudyUID
from conversion.usable_instances import MR_IMAGES, NOT_USED, of_one_kind, usable_instances
from conversion.values import identifier
from conversion.volume import ImageVolume

__all__ = [
    "SourceImages",
    "check_one_patient",
    "dicom_files",
    "folders_below",
    "read_header",
    "read_series",
    "read_source_datasets",
    "read_source_images",
    "read_studies",
    "read_study",
    "read_volumes",
]

MAXIMUM_VOXELS = 2**28
"""Limit for one volume, 1 GiB in memory: a whole head in voxels of 0.4 mm has 2.2 * 10^8."""

_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")

_Group = list[tuple[Path, pydicom.Dataset]]


@dataclass(frozen=True, kw_only=True)
class SourceImages:
    """The source images that objects derived from a series refer to.

    Attributes
    ----------
    instances
        Each instance once, without pixels.
    images
        One for each slice of the grid of the series, in its order: an instance, or one frame of an instance.
    frame_of_reference_uid
        Of the grid; empty means the one that each instance states.
    """

    instances: tuple[pydicom.Dataset, ...]
    images: tuple[ImageHeader, ...]
    frame_of_reference_uid: str = ""


def read_header(path: Path) -> pydicom.Dataset:
    """Read a file without its pixels, as it is really encoded; raises as `conversion.encoding.read_instance` does."""
    return read_instance(path, pixels=False)


def read_studies(
    paths: Iterable[Path],
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    read: Callable[[Path], pydicom.Dataset] = read_header,
) -> tuple[Study, ...]:
    """Read the headers of every study among files and split its series into volumes.

    Parameters
    ----------
    paths
        Files in any order. Files that are not DICOM, not MR or not readable become a `Decision` (in the first study if
        they belong to none). A study without MR has no series.
    progress
        Wraps the iteration over files, for a progress bar.
    read
        Reads a header: `read_header`, or a function that caches headers.

    Raises
    ------
    UnusableStudy
        When no file is a DICOM image.
    """
    unreadable: list[Decision] = []
    studies: dict[str, dict[str, _Group]] = {}
    for path in progress(sorted(paths)):
        ds = _usable_header(path, read, unreadable)
        if ds is not None:
            groups = studies.setdefault(identifier(ds, "StudyInstanceUID"), {})
            groups.setdefault(identifier(ds, "SeriesInstanceUID"), []).append((path, ds))
    if not studies:
        reasons = "; ".join(dict.fromkeys(decision.reason for decision in unreadable))
        sentence = f"no readable DICOM image among the files{f' ({reasons})' if reasons else ''}"
        raise UnusableStudy(ConversionReason.NO_IMAGES, sentence)
    first = next(iter(studies))
    return tuple(_study(uid, groups.values(), unreadable if uid == first else []) for uid, groups in studies.items())


def read_study(paths: Iterable[Path]) -> Study:
    """Read the headers of one study; otherwise as `read_studies`.

    Raises
    ------
    UnusableStudy
        When there is no MR series, or when the files belong to several studies or patients.
    """
    studies = read_studies(paths)
    if len(studies) > 1:
        shared = {one.series_uid for one in studies[0].series} & {one.series_uid for one in studies[1].series}
        why = "images of one series have different Study Instance UIDs" if shared else "provide one at a time"
        raise UnusableStudy(ConversionReason.NO_IMAGES, f"the files belong to {len(studies)} studies; {why}")
    check_one_patient(studies[0])
    if not studies[0].series:
        found = sorted({d.reason for d in studies[0].decisions if d.code in NOT_USED})
        sentence = f"no MR image series in the study; T1 after contrast or FLAIR is needed ({'; '.join(found)})"
        raise UnusableStudy(ConversionReason.NO_MR, sentence)
    return studies[0]


def check_one_patient(study: Study) -> None:
    """Refuse a study whose files name several patients: a result could not be filed under any of them.

    Raises
    ------
    UnusableStudy
        When the files name several patients.
    """
    if study.patients > 1:
        sentence = f"the images of one study name {study.patients} different patients; correct that at the source"
        raise UnusableStudy(ConversionReason.PATIENTS_MIXED, sentence)


def _study(study_uid: str, groups: Collection[_Group], unreadable: list[Decision]) -> Study:
    decisions = list(unreadable)
    volumes = [one for group in groups for one in _volumes(group, decisions)]
    series = tuple(sorted(volumes, key=lambda s: (s.number, s.series_uid)))
    singles = [group[0][1] for group in groups if len(group) == 1]
    apart = one_image_series(ds for ds in singles if identifier(ds, "SOPClassUID") in MR_IMAGES)
    decisions += [Decision(code="series_apart", subject="study", reason=reason) for reason in apart]
    decisions += repeated_uids(series)
    return Study(
        study_uid=StudyUID(study_uid),
        series=series,
        decisions=tuple(decisions),
        patient=patient_facts(ds for group in groups for _, ds in group),
        patients=number_of_patients(ds for group in groups for _, ds in group),
    )


def _usable_header(
    path: Path, read: Callable[[Path], pydicom.Dataset], decisions: list[Decision]
) -> pydicom.Dataset | None:
    try:
        ds = read(path)
        missing = [keyword for keyword in _IDENTITY if not identifier(ds, keyword)]
        if not missing:
            return ds
        reason = f"{missing[0]} is missing or not a valid UID"
    except InvalidDicomError:
        reason = "not a DICOM file"
    except UnsettledEncoding as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a broken file; each becomes a decision
        reason = f"cannot be read as DICOM ({type(error).__name__})"
    decisions.append(Decision(code="unreadable_file", subject=f"file {path.name}", reason=reason))
    return None


def _volumes(group: _Group, decisions: list[Decision]) -> list[Series]:
    """Return one `Series` for each volume of a DICOM series."""
    usable = usable_instances(group, decisions)
    if not usable:
        return []
    ds = usable[0][1]
    decisions += encoding_decisions(ds, usable)
    decisions += pixel_decisions(ds, usable)
    kinds = list(of_one_kind(usable))
    parts = [(part, kind) for kind in kinds for part in _parts(ds, kind, decisions)]
    if len(kinds) > 1:
        parts = [(replace(part, name=_joined(_kind_of(kind), part.name)), kind) for part, kind in parts]
    if len(parts) > 1:
        reason = f"contains {len(parts)} volumes, read separately: {'; '.join(part.name for part, _ in parts)}"
        decisions.append(series_decision(ds, "split_series", reason))
    volumes, faults = [], []
    for part, kind in parts:
        by_path = dict(kind)
        frame, wrong = frame_of_reference([by_path[image.path] for image in _in_order(part.images)])
        volumes.append(_volume(part, kind, frame))
        if wrong:
            faults.append(wrong)
    decisions += [series_decision(ds, "frame_of_reference", wrong) for wrong in faults[:1]]
    return volumes


def _in_order(images: Iterable[ImageHeader]) -> list[ImageHeader]:
    """Return images in an order that does not depend on that of their files."""
    return sorted(images, key=lambda image: (image.number, image.sop_instance_uid))


def _parts(ds: pydicom.Dataset, kind: _Group, decisions: list[Decision]) -> list[Part]:
    images = [image for path, each in kind for image in image_headers(path, each)]
    if unreadable := unreadable_values(images):
        decisions.append(series_decision(ds, "value_unreadable", unreadable))
    return split_images(tuple(_without_copies(images, ds, decisions)))


def _kind_of(kind: _Group) -> str:
    return UID(identifier(kind[0][1], "SOPClassUID")).name.removesuffix(" Image Storage").lower()


def _joined(first: str, second: str) -> str:
    return f"{first}, {second}" if second else first


def _volume(part: Part, kind: _Group, frame_of_reference_uid: str) -> Series:
    ds = dict(kind)[part.images[0].path]
    return Series(
        series_uid=SeriesUID(identifier(ds, "SeriesInstanceUID")),
        part=part.name,
        number=series_number(ds),
        stated_instances=stated_instances(each for _, each in kind),
        sop_class_uid=identifier(ds, "SOPClassUID"),
        frame_of_reference_uid=frame_of_reference_uid,
        acquisition=acquisition_header(ds, part.images),
        images=(*part.images, *part.duplicates),
    )


def _without_copies(images: list[ImageHeader], ds: pydicom.Dataset, decisions: list[Decision]) -> list[ImageHeader]:
    """Leave out images that repeat another one exactly: the same position, the same traits, the same pixels.

    If every position is imaged equally often and not all images there are equal, a volume was acquired repeatedly. Some
    of its slices (outside the body, or blank) may be equal, but none is left out: its volumes would have gaps.
    """
    places = at_one_place(images)
    alike = [place for place in places if len(place) > 1]
    prints, copies = _prints([image for place in alike for image in place]), set()
    differing = [len({prints[image.path, image.frame] for image in place}) for place in alike]
    if len(alike) == len(places) and len({len(place) for place in places}) == 1 and max(differing, default=1) > 1:
        return images
    for place in alike:
        known: set[bytes] = set()
        for image in place:
            print_ = prints[image.path, image.frame]
            if print_ in known:
                copies.add(id(image))
            known.add(print_)
    if copies:
        reason = f"{len(copies)} image(s) repeat another one pixel by pixel under another UID and are left out"
        decisions.append(series_decision(ds, "copied_image", reason))
    return [image for image in images if id(image) not in copies]


def _prints(images: Iterable[ImageHeader]) -> dict[tuple[Path, int | None], bytes]:
    """Return a hash of each image's pixels, by file and frame; opens each file once."""
    frames: dict[Path, list[int | None]] = {}
    for image in images:
        frames.setdefault(image.path, []).append(image.frame)
    return {
        (path, frame): print_
        for path, each in frames.items()
        for frame, print_ in zip(each, encoded_prints(path, [(frame or 1) - 1 for frame in each]), strict=True)
    }


def read_volumes(selection: SeriesSelection) -> dict[Role, ImageVolume]:
    """Read the pixels of every selected series, on each series' own grid.

    Raises
    ------
    UnreadableSeries
        When pixels are missing, truncated or in a form that no decoder reads.
    BrokenGeometry
        When the slices form no volume.
    """
    return {role: read_series(series) for role, series in selection.series.items()}


def read_series(series: Series) -> ImageVolume:
    """Read the pixels of one series onto its own grid; raises as `read_volumes` does.

    Rescales values (PS3.3 C.11.1), those of Philips to the scanner's floating point values; padding (C.7.5.1.1.2)
    becomes background.
    """
    stack = stack_slices(series)
    if np.prod(stack.grid.shape, dtype=np.int64) > MAXIMUM_VOXELS:
        size = " x ".join(map(str, stack.grid.shape))
        sentence = f"{series.name}: too large for a head ({size} voxels, limit {MAXIMUM_VOXELS})"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    voxels = np.empty(stack.grid.shape, np.float32)
    by_path: dict[Path, dict[int, int]] = {}
    for k, image in enumerate(stack.images):
        by_path.setdefault(image.path, {})[(image.frame or 1) - 1] = k
    turned_over = [_read_file(series, stack.images, path, places, voxels) for path, places in by_path.items()]
    if any(turned_over) and np.isfinite(voxels).any():
        # The file stored white as 0. After inversion the darkest value is air, which is 0 in MR.
        voxels -= np.nanmin(voxels)
    return ImageVolume(grid=stack.grid, voxels=_with_background(voxels))


def _with_background(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give padding, which is NaN here, the value of air: 0, or the smallest value if that is lower."""
    padding = np.isnan(voxels)
    if padding.any():
        voxels[padding] = min(0.0, float(np.min(voxels, where=~padding, initial=0.0)))
    return voxels


def _read_file(
    series: Series, images: Sequence[ImageHeader], path: Path, places: dict[int, int], voxels: NDArray[np.float32]
) -> bool:
    """Put the rescaled images of one file into their places among the voxels; padding becomes NaN.

    Returns whether the values were inverted (MONOCHROME1).

    Parameters
    ----------
    places
        By frame index: the place of its image in `images` and `voxels`.
    """
    where, turned_over = f"{series.name}, image {images[min(places.values())].number}", False
    try:
        for index, stored in stored_images(path, list(places)):
            voxels[places[index]] = _rescaled(stored, images[places[index]])
            turned_over |= stored.turned_over
    except ConversionError as error:
        raise UnreadableSeries(error.reason, f"{where}: {error}") from error
    except Exception as error:
        cause = f"truncated, damaged or of an unknown encoding; {type(error).__name__}"
        sentence = f"{where}: the pixels of the file cannot be read ({cause}); send it again"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    return turned_over


def _rescaled(stored: StoredImage, image: ImageHeader) -> NDArray[np.float32]:
    if stored.values.shape != (image.rows, image.columns):
        sentence = f"its pixels do not match the {image.rows} x {image.columns} image in its header"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    if not np.isfinite((image.rescale.slope, image.rescale.intercept)).all():
        invalid = [each for each in image.unreadable if each.startswith("Rescale")]
        sentence = f"{' and '.join(invalid) or 'its rescaling'} is not a number, so its values have no meaning"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    # In double precision, so that a Philips slope times a stored value does not lose the last bits of single precision.
    rescaled = np.asarray(stored.values * np.float64(image.rescale.slope) + image.rescale.intercept, np.float32)
    if stored.padding is not None:
        rescaled[stored.padding] = np.nan
    return rescaled


def read_source_datasets(series: Series) -> list[pydicom.Dataset]:
    """Return the instances of a series without pixels, in the order of its stack, as sources of derived objects.

    An enhanced instance is returned once, not once per frame.
    """
    paths = dict.fromkeys(image.path for image in stack_slices(series).images)
    return [read_header(path) for path in paths]


def read_source_images(series: Series) -> SourceImages:
    """Return the source images for objects derived from a series; raises `BrokenGeometry` if it forms no volume."""
    return SourceImages(
        instances=tuple(read_source_datasets(series)),
        images=stack_slices(series).images,
        frame_of_reference_uid=series.frame_of_reference_uid,
    )
