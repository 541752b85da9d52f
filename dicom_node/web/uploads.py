"""Receives uploads: the files of a form go to the disk as they arrive, and no form is larger than allowed."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from conversion.sequences import Role
from dicom_node.settings import WorkbenchSettings
from dicom_node.workbench.jobs import UploadedFile

__all__ = ["MOST_NAME", "ROLE_FIELDS", "UPLOAD_PATH", "Received", "UploadRefused", "receive"]

UPLOAD_PATH = "/api/v1/segment"
"""The one address to which more than a small form may be sent."""

MOST_NAME = 255
ROLE_FIELDS = {role.lower(): str(role) for role in Role}
"""Names of form fields that state the sequence of their file; any other name leaves it open."""


class UploadRefused(Exception):  # noqa: N818 - named for what happened
    """An upload that is not taken.

    Attributes
    ----------
    status
        Of the HTTP answer.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(kw_only=True)
class Received:
    """The files of a form, stored one after the other as ``00000``, ``00001`` and so on."""

    folder: Path
    limits: WorkbenchSettings
    files: list[UploadedFile] = field(default_factory=list)
    _file: BinaryIO | None = None
    _header: bytes = b""
    _value: bytes = b""
    _disposition: bytes = b""

    def on_part_begin(self) -> None:
        """Forget the headers of the part before."""
        self._header = self._value = self._disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Collect the name of a header."""
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Collect the value of a header."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """Keep the one header that matters."""
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def on_headers_finished(self) -> None:
        """Open a file, if the part is one."""
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            return  # an ordinary field, which says nothing about files
        if len(self.files) >= self.limits.files:
            raise UploadRefused(413, f"An upload may have at most {self.limits.files} files; send a ZIP archive.")
        sent = options[b"filename"].decode("utf-8", "replace").replace("\\", "/")
        path = PurePosixPath(sent)
        name = path.name[-MOST_NAME:] or "file"
        role = ROLE_FIELDS.get(options.get(b"name", b"").decode("ascii", "replace").lower(), "")
        stored = f"{len(self.files):05d}"
        self.files.append(UploadedFile(stored=stored, name=name, role=role, folder=str(path.parent)[-MOST_NAME:]))
        self._file = (self.folder / stored).open("xb")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Write a piece of a file."""
        if self._file is not None:
            self._file.write(data[start:end])

    def on_part_end(self) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file that is open, if any."""
        if self._file is not None:
            self._file.close()
            self._file = None


async def receive(
    content_type: str, body: AsyncIterator[bytes], folder: Path, limits: WorkbenchSettings, *, least_free: int
) -> list[UploadedFile]:
    """Store the files of a multipart form in a folder. When that fails, what has arrived lies there.

    Parameters
    ----------
    least_free
        Bytes that stay free on the disk.

    Raises
    ------
    UploadRefused
        With the status of the answer: 413 for more than the limits, 415 and 422 for no form or no files in it, 507 for
        a full disk.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UploadRefused(415, "Send the files as multipart/form-data, as a browser's form or curl -F does.")
    await run_in_threadpool(folder.mkdir, parents=True, mode=0o700)
    received = Received(folder=folder, limits=limits)
    try:
        await _write(received, options[b"boundary"], body, least_free)
    finally:
        received.close()
    return received.files


async def _write(received: Received, boundary: bytes, body: AsyncIterator[bytes], least_free: int) -> None:
    names = ("part_begin", "part_data", "part_end", "header_field", "header_value", "header_end", "headers_finished")
    callbacks = {f"on_{name}": getattr(received, f"on_{name}") for name in names}
    limits, count = received.limits, 0
    try:
        parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a TypedDict of the same keys
        async for chunk in body:
            count += len(chunk)
            if count > limits.upload_bytes:
                sentence = f"An upload may have at most {limits.upload_mib:g} MiB (workbench.upload_mib)."
                raise UploadRefused(413, sentence)
            if shutil.disk_usage(received.folder).free - len(chunk) < least_free:
                raise UploadRefused(507, "The node's disk is full. Please tell its administrator.")
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise UploadRefused(422, "The form is damaged or broke off; send it again.") from error
    if not received.files:
        raise UploadRefused(422, "The form has no file.")
