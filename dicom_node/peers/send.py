"""`glionode send`: send a folder of DICOM files to any storage SCP, with a progress bar and a result for each file."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conversion.reading import dicom_files
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.delivery import DeliveryReceipt, send_files

__all__ = ["Sending", "parse_address", "send_folder"]

_ADDRESS = re.compile(r"(?P<ae>[^@\\]{1,16})@(?P<host>[^@:\s]+):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class Sending:
    """Number of accepted files, and for the others the reason why they failed."""

    accepted: int
    failed: tuple[tuple[Path, str], ...]


def parse_address(text: str) -> RemoteEntity:
    """Read ``AET@HOST:PORT``.

    Raises
    ------
    ValueError
        With an example of the correct form.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 2**16:
        message = f"{text!r} is not a DICOM address: write AET@HOST:PORT, for example GLIONODE@127.0.0.1:11112"
        raise ValueError(message)
    return RemoteEntity(name=text, ae_title=match["ae"], host=match["host"], port=int(match["port"]))


def send_folder(
    folder: Path,
    destination: RemoteEntity,
    calling_ae: str,
    progress: Callable[[Iterable[DeliveryReceipt], int], Iterable[DeliveryReceipt]],
) -> Sending:
    """Send every file below a folder.

    Parameters
    ----------
    progress
        Wraps the receipts, given their number, to show a progress bar.
    """
    paths = dicom_files(folder) if folder.is_dir() else [folder]
    receipts: Iterator[DeliveryReceipt] = send_files(paths, destination, calling_ae)
    accepted, failed = 0, []
    for receipt in progress(receipts, len(paths)):
        if receipt.accepted:
            accepted += 1
        else:
            failed.append((receipt.path, receipt.reason))
    return Sending(accepted=accepted, failed=tuple(failed))
