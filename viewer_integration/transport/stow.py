"""Delivery by STOW-RS (PS3.18 10.5): one request for all objects, and a receipt for each."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydicom.filereader import read_file_meta_info

from viewer_integration.transport.delivery import DeliveryReceipt

__all__ = ["store_over_web"]

TIMEOUT_S = 120.0
WHOLE_ANSWER_S = 300.0
"""Limit for receiving a complete answer; a slow trickle would never exceed a limit for each read."""

LARGEST_ANSWER_BYTES = 2**20
"""The few objects of a run take some hundred bytes each."""

_REFERENCED, _FAILED = "00081199", "00081198"
_HIGHEST_STATUS = 0xFFFF
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"


def store_over_web(paths: Sequence[Path], name: str, url: str, headers: Mapping[str, str]) -> Iterator[DeliveryReceipt]:
    """Store files with one request, and yield a receipt for each, in order.

    An object is accepted only if the answer lists it as stored. It is not accepted if the FailedSOPSequence lists it,
    or the answer does not mention it. Never raises because of the destination, the network, or a file that cannot be
    read.

    Parameters
    ----------
    name
        How sentences refer to the destination.
    url
        Base address of its DICOMweb services.
    headers
        HTTP headers for authorisation.
    """
    read = [_read_file(path) for path in paths]
    contents = [one.content for one in read if one.content]
    outcomes, failure = _stored(contents, name, url, headers) if contents else ({}, "")
    for path, one in zip(paths, read, strict=True):
        sentence = one.fault or failure or f"{name} did not report on this object"
        accepted, status, reason = (
            outcomes.get(one.uid, (False, None, sentence)) if one.content else (False, None, sentence)
        )
        yield DeliveryReceipt(path=path, sop_instance_uid=one.uid, accepted=accepted, status=status, reason=reason)


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file to send: its content, or what is wrong with it."""

    uid: str = ""
    content: bytes = b""
    fault: str = ""


def _read_file(path: Path) -> _File:
    try:
        return _File(uid=str(read_file_meta_info(path).MediaStorageSOPInstanceUID), content=path.read_bytes())
    except OSError as error:
        return _File(fault=f"the file cannot be read ({type(error).__name__}); not sent")
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a damaged file; the others are still sent
        return _File(fault=f"the file is damaged ({type(error).__name__}); not sent")


_Outcomes = dict[str, tuple[bool, int | None, str]]
"""By SOP Instance UID: whether the object was accepted, its status, and a reason."""


def _stored(contents: Sequence[bytes], name: str, url: str, headers: Mapping[str, str]) -> tuple[_Outcomes, str]:
    """Return the outcome of each object, or why there is none."""
    boundary = f"glionode-{secrets.token_hex(16)}"
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    wanted = {**headers, "Content-Type": kind, "Accept": "application/dicom+json", "Accept-Encoding": "identity"}
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", f"{url}/studies", content=_body(contents, boundary), headers=wanted) as answer,
        ):
            body = _read_body(answer)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return {}, f"{name} could not be reached by STOW-RS ({type(error).__name__})"
    if body is None:
        return {}, f"{name} answered {answer.status_code} to STOW-RS, but the answer was too long or too slow"
    outcomes = _read(_parsed(body), name)
    return outcomes, "" if outcomes else f"{name} answered {answer.status_code} to STOW-RS, but reported on no object"


def _read_body(answer: httpx.Response) -> bytes | None:
    """Return the answer of a destination; None where it is too long or too slow."""
    body, deadline = bytearray(), time.monotonic() + WHOLE_ANSWER_S
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES or time.monotonic() > deadline:
            return None
    return bytes(body)


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _body(contents: Sequence[bytes], boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = [head + content for content in contents]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])


def _read(document: Mapping[str, Any], name: str) -> _Outcomes:
    outcomes: _Outcomes = {}
    for item in _values(document, _REFERENCED):
        warning = _number(item, _WARNING)
        reason = "" if warning is None else f"{name} stored it with warning 0x{warning:04X}"
        outcomes[_text(item, _INSTANCE)] = (True, warning or 0, reason)
    for item in _values(document, _FAILED):
        failure = _number(item, _FAILURE)
        reason = f"{name} did not store it{'' if failure is None else f' (0x{failure:04X})'}"
        outcomes[_text(item, _INSTANCE)] = (False, failure, reason)
    return outcomes


def _values(item: object, tag: str) -> list[Any]:
    """Return the values of an attribute in DICOM JSON (PS3.18 F.2); none where it has another form."""
    element = item.get(tag) if isinstance(item, dict) else None
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def _text(item: object, tag: str) -> str:
    values = _values(item, tag)
    return values[0] if values and isinstance(values[0], str) else ""


def _number(item: object, tag: str) -> int | None:
    """Return a status; None for anything that is not one."""
    values = _values(item, tag)
    is_status = bool(values) and type(values[0]) is int and 0 <= values[0] <= _HIGHEST_STATUS
    return values[0] if is_status else None
