"""Finds out what a person sent: a DICOM study, NIfTI volumes, or image slices; unpacks archives."""

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conversion.sequences import Role
from dicom_node.workbench.archive import UnpackLimits, is_archive, unpack, unpack_gzip
from dicom_node.workbench.jobs import UploadedFile
from dicom_node.workbench.role_names import guess_role_by_path
from dicom_node.workbench.unusable_upload import UnusableUpload

__all__ = ["DicomInput", "SliceInput", "VolumeInput", "read_input"]

_IMAGES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg", b"II*\0": "tif", b"MM\0*": "tif"}
_MOST_NAME = 50
"""Letters of a name, which have up to four bytes each, where a file system allows 255 with what is added."""

_GZIP = b"\x1f\x8b"
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0")
_FIRST_TAGS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0")
"""How a data set without preamble begins: (0002,0000), or an attribute of group 0008."""

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
class _File:
    path: Path
    name: str
    folder: str
    role: str
    kind: str


def read_input(
    folder: Path, files: Sequence[UploadedFile], work: Path, limits: UnpackLimits
) -> DicomInput | VolumeInput | SliceInput:
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
    work.mkdir(parents=True, exist_ok=True)
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
            left = UnpackLimits(files=left.files - len(inside), total_bytes=left.total_bytes - size)
            found += [
                _File(path=one, name=name.name, folder=str(name.parent), role="", kind=_kind(one))
                for one, name in inside
            ]
        else:
            found.append(_File(path=path, name=file.name, folder=file.folder, role=file.role, kind=_kind(path)))
    return found


def _kind(path: Path) -> str:
    """Return the kind of a file by its content: ``DICOM``, ``NIfTI``, ``image``, or nothing."""
    with path.open("rb") as file:
        head = file.read(352)
    if head[128:132] == b"DICM":
        return "DICOM"  # whatever its preamble is: it may be a TIFF file as well
    if any(head.startswith(magic) for magic in _IMAGES):
        return "image"
    if _is_nifti(_unpacked_head(path) if head.startswith(_GZIP) else head):
        return "NIfTI"
    return "DICOM" if head[:4] in _FIRST_TAGS else ""


def _unpacked_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as unpacked:
            return unpacked.read(352)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        return b""


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in _NIFTI_MAGIC or head[4:8] in _NIFTI_MAGIC


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
        with file.path.open("rb") as opened:
            head = opened.read(8)
        suffix = next((suffix for magic, suffix in _IMAGES.items() if head.startswith(magic)), "nii")
        paths[role] = folder / f"{_plain(file.name)} ({role}).{suffix}"
        if head.startswith(_GZIP):
            left -= unpack_gzip(file.path, paths[role], left, file.name)
        else:
            paths[role].hardlink_to(file.path)
    return paths


def _plain(name: str) -> str:
    """Return a name without its suffixes and without what could not be a name of a file."""
    return re.sub(r"(\.(nii|gz|png|jpe?g|tiff?))+$|[^\w.+ -]", "", name, flags=re.IGNORECASE)[:_MOST_NAME] or "file"
