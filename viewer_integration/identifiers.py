"""Makes deterministic UIDs: the same content has the same UID, other content never.

A repeated run makes the same object, so a PACS that receives it twice stores it once.
"""

import hashlib
import uuid

from pydicom.uid import UID

__all__ = ["content_uid", "tracking_uid"]

_NAMESPACE = uuid.UUID("a94dd9f0-7a53-5b43-9f1e-8f2a52dbb5f1")
"""Namespace of all GlioNode identifiers; never changes."""


def content_uid(kind: str, *parts: str | bytes) -> UID:
    """Return a UID derived from everything that determines an object.

    Parameters
    ----------
    kind
        Kind of object: ``SEG``, ``SEG series``, ``SR``, ...
    parts
        Source UIDs, hashes of inputs, model and settings, and the content itself.

    Returns
    -------
    pydicom.uid.UID
        Under the root 2.25, a UUID of version 5 (PS3.5 B.2).
    """
    digest = hashlib.sha256()
    for part in parts:
        value = part.encode() if isinstance(part, str) else part
        digest.update(len(value).to_bytes(8, "big") + value)
    name = f"{kind}:{digest.hexdigest()}"
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, name).int}")


def tracking_uid(study_uid: str, region: str) -> UID:
    """Return the tracking UID of a region: the same in SEG and SR, and in every revision of the study's result."""
    return content_uid("tracking", study_uid, region)
