"""A patient who never was: whatever of this patient is found in what a process wrote has got out of a header."""

import base64
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from pydicom.dataset import Dataset

__all__ = ["AE_TITLE", "CANARIES", "TEXT", "UID", "leaks", "mark"]

CANARIES: Mapping[str, str] = {
    "PatientName": "Kanarienvogel^Ottilie",
    "PatientID": "CNRYID7731904",
    "PatientBirthDate": "19310417",
    "AccessionNumber": "CNRYAC8817263",
    "PatientComments": "Zeisigkommentar hält an",
    "StudyDescription": "Stieglitzstudie",
    "SeriesDescription": "Dompfaffserie",
}

AE_TITLE = "ZAUNKOENIG^UTE"
UID = "1.2.826.19310417.7731904"
"""A title that a sender may call itself by, and a UID that somebody made of a date of birth."""

TEXT = " / ".join([*CANARIES.values(), AE_TITLE, UID])
"""All of them, as the text of an error."""

_PARTS = [part for value in [*CANARIES.values(), AE_TITLE, UID] for part in re.findall(r"\w{7,}", value)]
"""What is searched for; in quoted, escaped and percent-encoded texts at least these stand as they are."""

_SPREAD = {"utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


def mark(ds: Dataset, *, series: bool = False) -> Dataset:
    """Give a data set this patient; the description of the series only if wanted, for by it a role is recognised."""
    ds.SpecificCharacterSet = "ISO_IR 100"
    for keyword, value in CANARIES.items():
        if keyword != "SeriesDescription" or series:
            setattr(ds, keyword, value)
    return ds


def leaks(*written: str | bytes) -> list[str]:
    """Return what of this patient stands in what was written, plain or encoded, each with how it stands there."""
    found: dict[str, None] = {}
    for one in written:
        content = (one.encode("utf-8", "backslashreplace") if isinstance(one, str) else one).lower()
        for part in _PARTS:
            found.update({f"{part} ({name})": None for name, form in _forms(part) if form.lower() in content})
    return list(found)


def _forms(part: str) -> Iterator[tuple[str, bytes]]:
    plain = part.encode("latin-1")
    yield "as it is", plain
    yield "UTF-8", part.encode()
    yield "percent-encoded", quote(part).encode("ascii")
    yield "percent-encoded throughout", "".join(f"%{byte:02x}" for byte in plain).encode("ascii")
    yield "escaped", "".join(f"\\x{byte:02x}" for byte in plain).encode("ascii")
    yield "hexadecimal", plain.hex().encode("ascii")
    for encoding, name in _SPREAD.items():
        yield name, part.encode(encoding)
    for before in range(3):  # wherever it stands among what is encoded with it
        encoded = base64.b64encode(bytes(before) + plain)
        yield "base64", encoded[4 if before else 0 : 4 * ((before + len(plain)) // 3)]
