"""Settings of what people reach by a browser: workbench, panel and viewer."""

import ipaddress
import re

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dicom_node.settings_error import SettingsError

__all__ = ["ViewerSettings", "WebSettings", "WorkbenchSettings"]

_NOTHING_ELSE = ConfigDict(extra="forbid")

MOST_NICENESS = 19
"""Of setpriority(2)."""


def _check_address(section: str, address: str) -> None:
    if address and re.fullmatch(r"https?://[^/\s?#@]+", address) is None:
        message = f'{section}.address {address!r}: use something like "https://node.example.org:8040", without a path'
        raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class WorkbenchSettings:
    """Limits of uploads, how long their results are kept, and whether one must log in to use the workbench.

    Attributes
    ----------
    open
        Whether anyone who reaches the panel's port may use the workbench; a cookie then tells whose an upload is.
    """

    open: bool
    waiting: int
    kept_hours: float
    upload_mib: float
    unpacked_mib: float
    files: int
    edge: int
    niceness: int

    @property
    def upload_bytes(self) -> int:
        """The largest upload that is accepted."""
        return round(self.upload_mib * 2**20)

    @property
    def unpacked_bytes(self) -> int:
        """What an archive may unpack to."""
        return round(self.unpacked_mib * 2**20)

    def __post_init__(self) -> None:
        """Refuse limits with which nothing could be uploaded."""
        for key in ("waiting", "kept_hours", "upload_mib", "unpacked_mib", "files", "edge"):
            if getattr(self, key) <= 0:
                message = f"workbench.{key} {getattr(self, key)}: must be more than 0"
                raise SettingsError(message)
        if not 0 <= self.niceness <= MOST_NICENESS:
            message = f"workbench.niceness {self.niceness}: must be 0 to {MOST_NICENESS}"
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class WebSettings:
    """Address of the panel, how browsers reach it, and how long a login lasts.

    Attributes
    ----------
    address
        Under which browsers reach the panel; empty where that follows from `bind` and `port`.
    proxy
        Addresses of proxies whose X-Forwarded headers are believed.
    strict_transport
        Whether browsers that came by HTTPS are told to come to this host name by nothing else.
    """

    bind: str
    port: int
    address: str
    certificate: str
    key: str
    proxy: str
    strict_transport: bool
    idle_minutes: float
    session_hours: float

    @property
    def proxies(self) -> "tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]":
        """Networks of the proxies."""
        return tuple(ipaddress.ip_network(one.strip()) for one in self.proxy.split(",") if one.strip())

    @property
    def scheme(self) -> str:
        """What the node itself speaks: HTTPS with a certificate."""
        return "https" if self.certificate else "http"

    def __post_init__(self) -> None:
        """Refuse what no browser could use, and limits with which nobody would stay logged in."""
        _check_address("web", self.address)
        try:
            self.proxies  # noqa: B018 - reads it
        except ValueError as error:
            message = f"web.proxy {self.proxy!r}: use addresses such as 127.0.0.1 or 10.0.0.0/24, separated by commas"
            raise SettingsError(message) from error
        for key in ("idle_minutes", "session_hours"):
            if getattr(self, key) <= 0:
                message = f"web.{key} {getattr(self, key)}: must be more than 0"
                raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class ViewerSettings:
    """Address of OHIF, the folder it was unpacked to, and whether it needs no login.

    Attributes
    ----------
    address
        Under which browsers reach the viewer; empty: the panel's host with `port`.
    open
        Whether anyone who reaches the viewer's port may look at every study.
    """

    bind: str
    port: int
    address: str
    folder: str
    open: bool

    def __post_init__(self) -> None:
        """Refuse an address that no browser could open."""
        _check_address("viewer", self.address)
