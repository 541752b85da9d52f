"""Receives uploads: the files of a form go to the disk as they arrive, and no form is larger than allowed."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from conversion.sequences import Role
from dicom_node.settings import WorkbenchSettings
from dicom_node.workbench.jobs import UploadedFile
from dicom_node.workbench.role_names import GROUND_TRUTH

__all__ = [
    "LEAST_PIXEL_MM",
    "MOST_NAME",
    "MOST_PIXEL_MM",
    "PIXEL_FIELD",
    "ROLE_FIELDS",
    "UPLOAD_PATH",
    "Received",
    "UploadRefused",
    "receive",
]

UPLOAD_PATH = "/api/v1/segment"
"""The one address to which more than a small form may be sent."""

MOST_NAME = 255
ROLE_FIELDS = {role.lower(): str(role) for role in Role} | {GROUND_TRUTH: GROUND_TRUTH}
"""Names of form fields that state the sequence of their file; any other name leaves it open."""

PIXEL_FIELD = "pixel_mm"
"""Name of the form field that states the edge of a pixel, for the area of an image slice."""

LEAST_PIXEL_MM, MOST_PIXEL_MM = 0.05, 10.0
MOST_FIELD = 32
"""Bytes of a field that is not a file."""


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
    _field: str = ""
    fields: dict[str, bytes] = field(default_factory=dict)

    def on_part_begin(self) -> None:
        """Forget the headers of the part before."""
        self._header = self._value = self._disposition = b""
        self._field = ""

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
            name = options.get(b"name", b"").decode("ascii", "replace")
            self._field = name if name == PIXEL_FIELD else ""  # any other says nothing about files
            return
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
        elif self._field:
            self.fields[self._field] = (self.fields.get(self._field, b"") + data[start:end])[:MOST_FIELD]

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
    pixel_mm = _pixel_mm(received.fields.get(PIXEL_FIELD, b""))
    return [replace(file, pixel_mm=pixel_mm) for file in received.files]


def _pixel_mm(text: bytes) -> float | None:
    if not text.strip():
        return None
    try:
        entered = float(text.decode("ascii").replace(",", "."))
    except ValueError:
        entered = 0.0
    if not LEAST_PIXEL_MM <= entered <= MOST_PIXEL_MM:
        raise UploadRefused(422, f"The size of a pixel is a number of mm, from {LEAST_PIXEL_MM} to {MOST_PIXEL_MM:g}.")
    return entered


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
