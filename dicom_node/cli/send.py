"""`glionode send`: the DICOM files of a folder to any storage SCP."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from dicom_node.cli.conventions import complain, emit, example, json_option, one_line_errors
from dicom_node.peers.send import parse_address, send_folder

__all__ = ["send"]


@click.command(epilog=example("glionode send ./study --to GLIONODE@127.0.0.1:11112"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--to", "address", required=True, help="AET@HOST:PORT of a storage SCP.")
@click.option("--from", "calling_ae", default="GLIONODE_SEND", show_default=True, help="Calling AE title.")
@json_option
@one_line_errors
def send(folder: Path, address: str, calling_ae: str, as_json: bool) -> None:  # noqa: FBT001
    """Send every DICOM file in a folder by C-STORE."""
    try:
        destination = parse_address(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    def progress(receipts: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(receipts, total=total, unit="file", disable=None, file=sys.stderr)

    sending = send_folder(folder, destination, calling_ae, progress)
    failed = [{"file": str(path), "reason": reason} for path, reason in sending.failed]
    lines = [f"{sending.accepted} accepted, {len(failed)} failed"]
    emit(as_json, {"accepted": sending.accepted, "failed": failed}, lines)
    if failed or not sending.accepted:
        first = f"{failed[0]['file']}: {failed[0]['reason']}" if failed else "no files in the folder"
        complain(first)
        sys.exit(1)
