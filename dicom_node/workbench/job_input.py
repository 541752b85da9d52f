"""Finds out what a person sent: a DICOM study, NIfTI volumes or image slices, and a ground truth; unpacks archives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import SimpleITK as sitk

from conversion.sequences import Role
from dicom_node.workbench.archive import UnpackLimits, is_archive, unpack, unpack_gzip
from dicom_node.workbench.file_kind import GZIP, file_kind, suffix_of
from dicom_node.workbench.ground_truth import TruthFile
from dicom_node.workbench.jobs import UploadedFile
from dicom_node.workbench.role_names import GROUND_TRUTH, guess_role_by_path, is_ground_truth
from dicom_node.workbench.unusable_upload import UnusableUpload

__all__ = ["DicomInput", "GivenFiles", "SliceInput", "VolumeInput", "read_input"]

_MOST_NAME = 50
"""Letters of a name, which have up to four bytes each, where a file system allows 255 with what is added."""

_WOULD_WORK = (
    "Send a DICOM study (its files, or a ZIP archive of them), NIfTI volumes (.nii or .nii.gz), or an axial slice as "
    "PNG, JPEG or TIFF."
)


@dataclass(frozen=True, kw_only=True)
class DicomInput:
    """A folder with the files of a DICOM study."""

    folder: Path


@dataclass(frozen=True, kw_only=True)
class VolumeInput:
    """NIfTI volumes by their sequence."""

    paths: Mapping[Role, Path]


@dataclass(frozen=True, kw_only=True)
class SliceInput:
    """Images of one slice by their sequence; a colour image contains several sequences."""

    paths: Mapping[Role, Path]


@dataclass(frozen=True, kw_only=True)
class GivenFiles:
    """What an upload is.

    Attributes
    ----------
    truth
        Regions that a person outlined, to compare the result with.
    """

    images: DicomInput | VolumeInput | SliceInput
    truth: TruthFile | None


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    name: str
    folder: str
    role: str
    kind: str


def read_input(folder: Path, files: Sequence[UploadedFile], work: Path, limits: UnpackLimits) -> GivenFiles:
    """Return what the files of an upload are, by their content.

    Parameters
    ----------
    folder
        Folder of the files as they were sent.
    work
        Folder to unpack archives to.

    Raises
    ------
    UnusableUpload
        When they are nothing that can be segmented, or several things at once.
    """
    found = _unpacked(folder, files, work, limits)
    work.mkdir(parents=True, exist_ok=True)
    truth = _ground_truth(found)
    images = _images([file for file in found if file is not truth], work, limits)
    return GivenFiles(images=images, truth=_truth_file(truth, work, limits) if truth else None)


def _ground_truth(files: Sequence[_File]) -> _File | None:
    """Return the file that its sender gave as ground truth, or the one whose name tells that it is one."""
    stated = [file for file in files if file.role == GROUND_TRUTH]
    if len(stated) > 1:
        raise UnusableUpload.because("Two files are given as ground truth; send one of them.")
    named = [file for file in files if file.kind in ("NIfTI", "image") and not file.role and is_ground_truth(file.name)]
    return stated[0] if stated else named[0] if len(named) == 1 and len(files) > 1 else None


def _truth_file(file: _File, work: Path, limits: UnpackLimits) -> TruthFile:
    if not file.kind:
        raise UnusableUpload.because(
            f"{file.name}: not a ground truth. Send a NIfTI label map, a DICOM SEG or an image."
        )
    suffix = "dcm" if file.kind == "DICOM" else suffix_of(file.path)
    path = work / f"ground truth.{suffix}"
    _place(file, path, limits.total_bytes)
    _refuse_long_edges(path, file.name, limits.edge)
    return TruthFile(path=path, name=file.name)


def _images(found: Sequence[_File], work: Path, limits: UnpackLimits) -> DicomInput | VolumeInput | SliceInput:
    kinds = {file.kind for file in found} - {""}
    if not kinds:
        named = ", ".join(file.name for file in found[:3]) or "The upload"
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UnusableUpload.because(f"{named}{more}: neither DICOM, NIfTI nor an image. {_WOULD_WORK}")
    if len(kinds) > 1:
        raise UnusableUpload.because(
            f"The files are of several kinds ({', '.join(sorted(kinds))}); send one kind at a time."
        )
    kind = kinds.pop()
    used = [file for file in found if file.kind == kind]
    if kind == "DICOM":
        return DicomInput(folder=_gathered(used, work / "dicom"))
    if kind == "NIfTI":
        return VolumeInput(paths=_named(_by_role(used), work / "files", limits))
    return SliceInput(paths=_named(_by_role(used), work / "files", limits))


def _unpacked(folder: Path, files: Sequence[UploadedFile], work: Path, limits: UnpackLimits) -> list[_File]:
    found: list[_File] = []
    left = limits  # of all archives together
    for number, file in enumerate(files):
        path = folder / file.stored
        if is_archive(path):
            inside = unpack(path, work / f"archive-{number}", left)
            size = sum(one.stat().st_size for one, _ in inside)
            left = replace(left, files=left.files - len(inside), total_bytes=left.total_bytes - size)
            role = file.role if len(inside) == 1 else ""
            found += [
                _File(path=one, name=name.name, folder=str(name.parent), role=role, kind=file_kind(one))
                for one, name in inside
            ]
        else:
            kind = file_kind(path)
            found.append(_File(path=path, name=file.name, folder=file.folder, role=file.role, kind=kind))
    return found


def _gathered(files: Sequence[_File], folder: Path) -> Path:
    """Link the files of a study into one folder, where no two have the same name."""
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        if file.name != "DICOMDIR":  # a table of contents without images
            (folder / f"{number:06d}.dcm").hardlink_to(file.path)
    return folder


def _by_role(files: Sequence[_File]) -> dict[Role, _File]:
    roles: dict[Role, _File] = {}
    for file in files:
        role = Role(file.role) if file.role else guess_role_by_path(f"{file.folder}/{file.name}")
        if role is None and len(files) == 1:
            role = Role.FLAIR
        if role is None:
            raise UnusableUpload.because(
                f"{file.name}: the name does not tell which sequence it is. Choose T1, T1CE, T2 or FLAIR for it."
            )
        if role in roles:
            raise UnusableUpload.because(f"Two files are given as {role}; choose another sequence for one of them.")
        roles[role] = file
    return roles


def _named(files: Mapping[Role, _File], folder: Path, limits: UnpackLimits) -> dict[Role, Path]:
    """Give the files the names that their senders know, with the suffix by which a reader knows their form.

    What gzip compressed is unpacked: SimpleITK would fill up a volume that was broken off, and know no limit.
    """
    folder.mkdir()
    paths: dict[Role, Path] = {}
    left = limits.total_bytes
    for role, file in files.items():
        paths[role] = folder / f"{_plain(file.name)} ({role}).{suffix_of(file.path)}"
        left -= _place(file, paths[role], left)
        _refuse_long_edges(paths[role], file.name, limits.edge)
    return paths


def _place(file: _File, path: Path, most: int) -> int:
    """Put a file under a name of ours, unpacked; return how many bytes unpacking took, which may be `most`."""
    with file.path.open("rb") as opened:
        packed = opened.read(len(GZIP)) == GZIP
    if packed:
        return unpack_gzip(file.path, path, most, file.name)
    path.hardlink_to(file.path)
    return 0


def _refuse_long_edges(path: Path, name: str, most: int) -> None:
    """Refuse a volume or an image by its header; what cannot be read is refused with its reason where it is read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return
    if max(reader.GetSize()) > most:
        size = " x ".join(str(length) for length in reader.GetSize())
        raise UnusableUpload.because(
            f"{name}: has {size} voxels; {most} along an edge are the most that the node takes (workbench.edge)."
        )


def _plain(name: str) -> str:
    """Return a name without its suffixes and without what could not be a name of a file."""
    return re.sub(r"(\.(nii|gz|png|jpe?g|tiff?))+$|[^\w.+ -]", "", name, flags=re.IGNORECASE)[:_MOST_NAME] or "file"
