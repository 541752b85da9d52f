"""Unpacks uploaded archives within limits: no links, no names that lead elsewhere, no more bytes than allowed."""

import errno
import gzip
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from dicom_node.workbench.unusable_upload import UnusableUpload

__all__ = ["UnpackLimits", "is_archive", "unpack", "unpack_gzip"]

_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db")
"""What systems add to an archive that a person makes."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""With any other, Python unpacks as much at once as the archive wants, whatever is asked for."""

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
_DAMAGED = "The archive is damaged or of an unknown kind; send a plain ZIP archive."


@dataclass(frozen=True, kw_only=True)
class UnpackLimits:
    """Limits of what an upload unpacks to.

    Attributes
    ----------
    files, total_bytes
        Of all archives together.
    edge
        Voxels or pixels along an edge of a volume or an image.
    """

    files: int
    total_bytes: int
    edge: int


def is_archive(path: Path) -> bool:
    """Return whether a file is a ZIP archive, by its content."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(archive: Path, folder: Path, limits: UnpackLimits) -> list[tuple[Path, PurePosixPath]]:
    """Unpack the files of an archive to names of our own.

    Bytes are counted as they are unpacked, whatever the archive states.

    Returns
    -------
    list of (Path, PurePosixPath)
        Each file, and its name in the archive.

    Raises
    ------
    UnusableUpload
        For an archive that is damaged, encrypted, larger than the limits, or that contains links or names that lead
        out of its folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Path, PurePosixPath]] = []
    left = limits.total_bytes
    try:
        with zipfile.ZipFile(archive) as content:
            members = [member for member in content.infolist() if not _is_folder(member) and not _is_clutter(member)]
            if len(members) > limits.files:
                raise UnusableUpload.because(
                    f"The archive has {len(members)} files; at most {limits.files} are allowed."
                )
            for number, member in enumerate(members):
                _refuse_hostile(member)
                path = folder / f"{number:05d}{_suffix(member)}"
                with content.open(member) as source:
                    left -= _copy(source, path, left)
                found.append((path, _inner_path(member)))
    except _DAMAGE as error:
        raise UnusableUpload.because(_DAMAGED) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # an offset that leads to before the archive's beginning
            raise
        raise UnusableUpload.because(_DAMAGED) from error
    return found


def unpack_gzip(packed: Path, path: Path, most: int, name: str) -> int:
    """Unpack a file that gzip compressed; return its number of bytes.

    Parameters
    ----------
    name
        What the sender calls the file.

    Raises
    ------
    UnusableUpload
        For a file that is damaged or broken off, or of more than `most` bytes.
    """
    try:
        with gzip.open(packed) as source:
            return _copy(source, path, most)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UnusableUpload.because(f"{name}: the file is damaged or was broken off; send it again.") from error


def _inner_path(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _is_folder(member: zipfile.ZipInfo) -> bool:
    return member.filename.endswith(("/", "\\"))


def _is_clutter(member: zipfile.ZipInfo) -> bool:
    return any(part in _CLUTTER for part in _inner_path(member).parts)


def _refuse_hostile(member: zipfile.ZipInfo) -> None:
    path = _inner_path(member)
    if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UnusableUpload.because("The archive contains a name that leads out of its folder, and was not unpacked.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UnusableUpload.because("The archive contains a link, and was not unpacked; put the file itself into it.")
    if member.flag_bits & _ENCRYPTED:
        raise UnusableUpload.because("The archive is encrypted; send it without a password.")
    if member.compress_type not in _METHODS:
        raise UnusableUpload.because(_DAMAGED)


def _suffix(member: zipfile.ZipInfo) -> str:
    """Return the end of a name by which readers know a file, and nothing else of the name."""
    name = member.filename.lower()
    known = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
    return next((suffix for suffix in known if name.endswith(suffix)), "")


def _copy(source: IO[bytes] | gzip.GzipFile, path: Path, left: int) -> int:
    count = 0
    with path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            count += len(chunk)
            if count > left:
                raise UnusableUpload.because(
                    "The upload unpacks to more data than is allowed (workbench.unpacked_mib); send fewer series."
                )
            target.write(chunk)
    return count
