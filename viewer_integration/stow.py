"""Delivery by STOW-RS (PS3.18 10.5): one request for all objects, and what it says of each."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from pydicom.filereader import read_file_meta_info

from viewer_integration.delivery import DeliveryReceipt

__all__ = ["store_over_web"]

TIMEOUT_S = 120.0
_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"


def store_over_web(paths: Sequence[Path], name: str, url: str, headers: Mapping[str, str]) -> Iterator[DeliveryReceipt]:
    """Store files over one request, and yield a receipt for each, in order.

    An object is accepted when the answer says so of it: what stands in the FailedSOPSequence, or is not mentioned at
    all, is not. Never raises for what the destination or the network does.

    Parameters
    ----------
    name
        What sentences call the destination.
    url
        Base address of its DICOMweb services.
    headers
        Of authorisation.
    """
    if not paths:
        return
    uids = {path: str(read_file_meta_info(path).MediaStorageSOPInstanceUID) for path in paths}
    told, why = _stored(paths, name, url, headers)
    for path, uid in uids.items():
        accepted, status, reason = told.get(uid, (False, None, why or f"{name} said nothing of this object"))
        yield DeliveryReceipt(path=path, sop_instance_uid=uid, accepted=accepted, status=status, reason=reason)


_Told = dict[str, tuple[bool, int | None, str]]


def _stored(paths: Sequence[Path], name: str, url: str, headers: Mapping[str, str]) -> tuple[_Told, str]:
    """Return what was said of each object, and why nothing was."""
    boundary = f"glionode-{secrets.token_hex(16)}"
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    wanted = {**headers, "Content-Type": kind, "Accept": "application/dicom+json"}
    try:
        answer = httpx.post(
            f"{url}/studies", content=_body(paths, boundary), headers=wanted, timeout=TIMEOUT_S, trust_env=False
        )
    except httpx.HTTPError as error:
        return {}, f"{name} could not be reached by STOW-RS ({type(error).__name__})"
    try:
        said = answer.json()
    except ValueError:
        said = {}
    told = _read(said, name) if isinstance(said, dict) else {}
    return told, "" if told else f"{name} answered {answer.status_code} to STOW-RS and nothing of the objects"


def _body(paths: Sequence[Path], boundary: str) -> bytes:
    parts = [f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + path.read_bytes() for path in paths]
    return b"\r\n".join([*parts, f"--{boundary}--\r\n".encode()])


def _read(said: Mapping[str, Any], name: str) -> _Told:
    told: _Told = {}
    for item in said.get(_REFERENCED, {}).get("Value", []):
        warning = _number(item, _WARNING)
        reason = "" if warning is None else f"{name} stored it with warning 0x{warning:04X}"
        told[_text(item, _INSTANCE)] = (True, warning or 0, reason)
    for item in said.get(_FAILED, {}).get("Value", []):
        failure = _number(item, _FAILURE)
        reason = f"{name} did not store it{'' if failure is None else f' (0x{failure:04X})'}"
        told[_text(item, _INSTANCE)] = (False, failure, reason)
    return told


def _text(item: Mapping[str, Any], tag: str) -> str:
    return str((item.get(tag, {}).get("Value") or [""])[0])


def _number(item: Mapping[str, Any], tag: str) -> int | None:
    values = item.get(tag, {}).get("Value")
    return int(values[0]) if values else None
