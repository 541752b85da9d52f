"""Checks that a model's files are unchanged: by the manifest's hashes, and by a list of all files (as of sha256sum).

Torch opens no file of a model before it has passed this check, and nothing here loads torch.
"""

import hashlib
import re
from pathlib import Path

from inference.errors import InferenceReason, UnusableModel
from inference.manifest import AutoencoderManifest, BrainManifest, ModelManifest, NetworkManifest

__all__ = ["CHECKSUMS", "check_checksums", "file_sha256", "read_weights", "verify_model", "write_checksums"]

LARGEST_WEIGHTS = 2 * 2**30
"""Largest size of one network's weights in bytes; a larger file is not read into memory."""

CHECKSUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._-]*)")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    """Write the hash of every file in the folder, in order of name."""
    files = sorted(path for path in folder.iterdir() if path.name != CHECKSUMS)
    (folder / CHECKSUMS).write_text("".join(f"{file_sha256(path)}  {path.name}\n" for path in files), encoding="utf-8")


def check_checksums(folder: Path, name: str, *, needed: bool = False) -> None:
    """Hash every file again and compare it with the folder's list, if there is one.

    Parameters
    ----------
    name
        Of the model, for the message.
    needed
        Whether a folder without a list is refused. Shipped models and those added to a node have one.

    Raises
    ------
    UnusableModel
        If a file has changed, is missing, or is not on the list.
    """
    if not (folder / CHECKSUMS).exists():
        if needed:
            raise _changed(name, CHECKSUMS, "is missing")
        return
    listed = _listed(folder, name)
    present = {path.name for path in folder.iterdir()} - {CHECKSUMS}
    for missing in sorted(set(listed) - present):
        raise _changed(name, missing, "is missing")
    for foreign in sorted(present - set(listed)):
        raise _changed(name, foreign, "was not there when the model was added")
    for file, expected in sorted(listed.items()):
        path = folder / file
        if path.is_symlink() or not path.is_file() or file_sha256(path) != expected:
            raise _changed(name, file, f"differs from its SHA-256 in {CHECKSUMS}")


def _listed(folder: Path, name: str) -> dict[str, str]:
    """Return the hash of each file on the list."""
    try:
        lines = (folder / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _changed(name, CHECKSUMS, "cannot be read") from error
    matches = [_LINE.fullmatch(line) for line in lines]
    listed = {match[2]: match[1] for match in matches if match}
    if None in matches or not listed:
        raise _changed(name, CHECKSUMS, "is not a list of hashes")
    return listed


def _changed(name: str, file: str, what: str) -> UnusableModel:
    sentence = f"model {name}: {file} {what}; add the model again"
    return UnusableModel(InferenceReason.MODEL_CHANGED, sentence)


def verify_model(folder: Path, manifest: ModelManifest, *, listed: bool = False) -> None:
    """Hash every file of a model again, without loading it.

    Parameters
    ----------
    listed
        Whether the folder must have a list of hashes.

    Raises
    ------
    UnusableModel
        If a file is missing or a byte has changed.
    """
    for network in manifest.networks:
        read_weights(folder, manifest.name, network)
    for part in (manifest.autoencoder, manifest.brain):
        if part is not None:
            read_weights(folder, manifest.name, part)
    check_checksums(folder, manifest.name, needed=listed)


def read_weights(folder: Path, model: str, network: NetworkManifest | AutoencoderManifest | BrainManifest) -> bytes:
    """Return the weights of one part of a model after checking their hash against the manifest.

    Parameters
    ----------
    model
        Its name, for the message.

    Raises
    ------
    UnusableModel
        If they are missing, too large, or different.
    """
    path = folder / network.weights
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_WEIGHTS else b""
    except OSError as error:
        sentence = f"model {model}: {network.weights} is missing"
        raise UnusableModel(InferenceReason.MODEL_MISSING, sentence) from error
    if size > LARGEST_WEIGHTS:
        sentence = f"model {model}: {network.weights} is too large ({size} bytes; at most {LARGEST_WEIGHTS} are read)"
        raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
    if hashlib.sha256(content).hexdigest() != network.weights_sha256:
        sentence = (
            f"model {model}: the weights in {network.weights} differ from the SHA-256 in the manifest; "
            "install the model again"
        )
        raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
    return content
