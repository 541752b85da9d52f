"""A configured DICOM peer: what it may do, its address, and the form in which it receives results."""

import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from viewer_integration.profile import ResultProfile, SegForm
from viewer_integration.transport.association import RemoteEntity

__all__ = ["CHOICES", "Peer", "PeerError", "UnknownPeer"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_DICOMWEB = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?")
_AUTHORIZATION = "GLIONODE_DICOMWEB_AUTHORIZATION_"
_ORIGIN = "GLIONODE_DICOMWEB_ORIGIN_"
_PORTS = {"http": 80, "https": 443}
_HIGHEST_PORT = 65535
_HIGHEST_SERIES = 2**31 - 1  # PS3.5 6.2, VR IS

CHOICES = {
    "send_by": ("c-store", "stow-rs"),
    "transfer_syntax": ("explicit", "implicit", "deflated"),
    "seg_form": tuple(SegForm),
    "proof": ("auto", "commitment", "query", "none"),
}
"""Permitted values of the settings of a destination."""


class PeerError(InvalidEntryError):
    """The settings of a peer are invalid."""


class UnknownPeer(PeerError):  # noqa: N818 - named by what happened
    """No peer has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(FieldProblem(field="name", sentence=f"No peer is called {name!r}."))


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One configured application entity; insignificant surrounding spaces are removed.

    Parameters
    ----------
    name
        Name for people, 1 to 64 characters.
    ae_title
        AE title, PS3.5 6.2 VR AE.
    host, port
        Address of its listener; both empty for a sender that is never called.
    may_send
        Whether its AE title is accepted as a calling AE title.
    is_destination
        Whether it receives the results, see `send_by`.
    is_urgent
        Whether its studies are processed before all others (STAT).
    is_source
        Whether the node queries it for the contents of studies: by QIDO-RS at its DICOMweb address, else by C-FIND.
    dicomweb_url
        Base address of its DICOMweb services, such as ``https://pacs.example.org/dicom-web``; empty for none.
    send_by
        How results are sent to it: ``c-store``, or ``stow-rs`` to its DICOMweb address.
    objects
        Kinds of objects that it receives, separated by commas: SEG, SR.
    transfer_syntax
        ``explicit`` or ``implicit`` VR little endian, or ``deflated``.
    seg_form
        ``binary`` or ``labelmap``.
    seg_series, sr_series
        Series numbers of its objects.
    proof
        How the node verifies that it has stored what it accepted: ``commitment``, ``query`` (C-FIND or QIDO-RS),
        ``none``, or ``auto`` for the first of these that it offers.
    enabled
        Whether the peer is used; a disabled one is kept, but neither accepted nor called.

    Raises
    ------
    PeerError
        With every invalid field.
    """

    name: str
    ae_title: str
    host: str = ""
    port: int = 0
    may_send: bool = True
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    send_by: str = "c-store"
    objects: str = "SEG,SR"
    transfer_syntax: str = "explicit"
    seg_form: str = "binary"
    seg_series: int = 7701
    sr_series: int = 7702
    proof: str = "auto"
    enabled: bool = True

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of objects that it receives."""
        return frozenset(kind.strip().upper() for kind in self.objects.split(",") if kind.strip())

    @property
    def profile(self) -> ResultProfile:
        """Form of the objects that it receives."""
        return ResultProfile(seg_form=SegForm(self.seg_form), seg_series=self.seg_series, sr_series=self.sr_series)

    @property
    def remote(self) -> RemoteEntity:
        """Its DICOM address."""
        return RemoteEntity(name=self.name, ae_title=self.ae_title, host=self.host, port=self.port)

    @property
    def web_headers(self) -> dict[str, str]:
        """The authorisation header for its DICOMweb services.

        It is read from the environment, so that no secret is stored in the database. For the AE title ``MY-PACS`` the
        variable ``GLIONODE_DICOMWEB_AUTHORIZATION_MY_PACS`` contains the complete header value, such as ``Bearer ...``
        or ``Basic ...``, and ``GLIONODE_DICOMWEB_ORIGIN_MY_PACS`` the scheme, host and port that may receive it.
        Otherwise anyone who may enter an address on the panel could have the secret sent to that address.
        """
        value = os.environ.get(_AUTHORIZATION + self._variable, "").strip()
        return {"Authorization": value} if value and not self.withheld_secret else {}

    @property
    def withheld_secret(self) -> str:
        """Why the authorisation in the environment is not sent to this address; empty where it is sent."""
        if not os.environ.get(_AUTHORIZATION + self._variable, "").strip():
            return ""
        allowed = _origin(os.environ.get(_ORIGIN + self._variable, "").strip())
        if allowed is not None and allowed == _origin(self.dicomweb_url):
            return ""
        return (
            f"its authorisation is not sent to this address: set {_ORIGIN}{self._variable} to the scheme, host and "
            "port that may receive it, such as https://pacs.example.org:8443"
        )

    @property
    def _variable(self) -> str:
        return re.sub(r"[^A-Z0-9]", "_", self.ae_title.upper())

    def __post_init__(self) -> None:
        """Remove surrounding spaces, then check every field."""
        for key in ("name", "ae_title", "host", "dicomweb_url"):
            object.__setattr__(self, key, getattr(self, key).strip(" "))
        object.__setattr__(self, "dicomweb_url", self.dicomweb_url.rstrip("/"))
        problems = [*self._identity_problems(), *self._address_problems(), *self._profile_problems()]
        if problems:
            raise PeerError(*problems)

    def _identity_problems(self) -> list[FieldProblem]:
        found = []
        if not _NAME.fullmatch(self.name):
            sentence = (
                "A name has 1 to 64 letters, digits, spaces, dots, hyphens or underscores and begins with a letter "
                "or a digit."
            )
            found.append(FieldProblem(field="name", sentence=sentence))
        title = self.ae_title
        if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            sentence = "An AE title has 1 to 16 printable ASCII characters and no backslash."
            found.append(FieldProblem(field="ae_title", sentence=sentence))
        return found

    def _address_problems(self) -> list[FieldProblem]:
        found = [*self._service_problems()]
        if self.host and not _HOST.fullmatch(self.host):
            sentence = "A host is a name such as pacs.example.org or an address such as 192.0.2.10, without spaces."
            found.append(FieldProblem(field="host", sentence=sentence))
        if self.port and not self.host and not any(problem.field == "host" for problem in found):
            found.append(FieldProblem(field="host", sentence="A port needs a host: enter the host too."))
        if not self.host and not 0 <= self.port <= _HIGHEST_PORT:
            found.append(FieldProblem(field="port", sentence="A port is a number from 1 to 65535."))
        if self.host and not 1 <= self.port <= _HIGHEST_PORT:
            sentence = "A host needs its port, a number from 1 to 65535 (104 and 11112 are usual)."
            found.append(FieldProblem(field="port", sentence=sentence))
        return found

    def _service_problems(self) -> list[FieldProblem]:
        """Return what is missing for the roles of the peer."""
        found = []
        by_web = self.send_by == "stow-rs"
        if self.is_destination and by_web and not self.dicomweb_url:
            sentence = "A STOW-RS destination needs a DICOMweb address."
            found.append(FieldProblem(field="dicomweb_url", sentence=sentence))
        if self.is_destination and not by_web and not self.host:
            found.append(FieldProblem(field="host", sentence="A destination needs a host to send to."))
        elif self.is_source and not self.host and not self.dicomweb_url:
            sentence = "A peer that is queried needs a host or a DICOMweb address."
            found.append(FieldProblem(field="host", sentence=sentence))
        if self.dicomweb_url and not _DICOMWEB.fullmatch(self.dicomweb_url):
            sentence = "A DICOMweb address begins with http:// or https:// and contains no user, password or query."
            found.append(FieldProblem(field="dicomweb_url", sentence=sentence))
        return found

    def _profile_problems(self) -> list[FieldProblem]:
        found = []
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                sentence = f"{getattr(self, field)!r} is not a valid choice: use {' or '.join(allowed)}."
                found.append(FieldProblem(field=field, sentence=sentence))
        if not self.kinds or self.kinds - {"SEG", "SR"}:
            sentence = "Objects are SEG, SR or both, separated by a comma."
            found.append(FieldProblem(field="objects", sentence=sentence))
        for field in ("seg_series", "sr_series"):
            if not 1 <= getattr(self, field) <= _HIGHEST_SERIES:
                sentence = f"A series number is from 1 to {_HIGHEST_SERIES}."
                found.append(FieldProblem(field=field, sentence=sentence))
        return found


def _origin(address: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an address (RFC 6454); None where it has none."""
    try:
        parts = urlsplit(address)
        port = parts.port if parts.port is not None else _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port
