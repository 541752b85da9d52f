"""Settings of what tells others about the node: notifications to people, traces for programs; both off by default."""

import ipaddress
import re
from urllib.parse import urlsplit

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dicom_node.settings_error import SettingsError

__all__ = ["NotificationSettings", "TelemetrySettings", "is_this_machine", "masked_url"]

_NOTHING_ELSE = ConfigDict(extra="forbid")

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+")
"""An address of e-mail as the node takes it: without a name, a quotation or a line break, which could add headers."""

SECURITIES = ("starttls", "tls", "none")


def is_this_machine(host: str | None) -> bool:
    """Return whether a host is this machine, so that nothing that is sent to it crosses a network."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def masked_url(url: str) -> str:
    """Return scheme, host and port of an address: its path may be a secret, as with many chat programs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/***" if parts.path.strip("/") or parts.query else url


def _check_url(key: str, url: str) -> None:
    """Refuse an address that is no HTTPS, unless it is this machine's, or that has a password in it."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known or not url.isascii() or not url.isprintable() or "@" in parts.netloc or " " in url or parts.fragment:
        message = f'{key}: use something like "https://watch.example.org/glionode", without a user, password or #'
        raise SettingsError(message)
    if parts.scheme == "http" and not is_this_machine(parts.hostname):
        message = f"{key}: only https reaches another host; http is for programs on this machine"
        raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class NotificationSettings:
    """Who is told what an administrator wants to know, and how often.

    Attributes
    ----------
    webhook_delivered
        Whether the webhook is also told of every study whose results were delivered.
    """

    email_to: str
    email_from: str
    smtp_host: str
    smtp_port: int
    smtp_security: str
    smtp_ca: str
    webhook: str
    webhook_ca: str
    webhook_delivered: bool
    silent_minutes: float
    gather_s: float
    pause_minutes: float

    @property
    def recipients(self) -> tuple[str, ...]:
        """Addresses that get e-mail."""
        return tuple(one.strip() for one in self.email_to.split(",") if one.strip())

    @property
    def is_on(self) -> bool:
        """Whether anybody is told anything."""
        return bool(self.recipients or self.webhook)

    def __post_init__(self) -> None:
        """Refuse what no mail or webhook could be sent with."""
        if self.webhook:
            _check_url("notifications.webhook", self.webhook)
        if self.recipients:
            self._check_mail()
        for key in ("silent_minutes", "gather_s", "pause_minutes"):
            if getattr(self, key) < 0:
                message = f"notifications.{key} {getattr(self, key)}: must not be less than 0"
                raise SettingsError(message)

    def _check_mail(self) -> None:
        given = [("email_from", self.email_from)] if self.email_from else []
        for key, one in [*given, *(("email_to", one) for one in self.recipients)]:
            if _ADDRESS.fullmatch(one) is None:
                message = f'notifications.{key} {one!r}: use addresses such as "pacs@hospital.example"'
                raise SettingsError(message)
        if self.smtp_security not in SECURITIES:
            message = f"notifications.smtp_security {self.smtp_security!r}: use {', '.join(SECURITIES)}"
            raise SettingsError(message)
        if self.smtp_security == "none" and self.smtp_host and not is_this_machine(self.smtp_host):
            message = 'notifications.smtp_security "none" is for a mail server on this machine; use "starttls" or "tls"'
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True, config=_NOTHING_ELSE)
class TelemetrySettings:
    """Where traces of runs, deliveries and requests go.

    Attributes
    ----------
    endpoint
        Of an OpenTelemetry collector that takes OTLP over HTTP; empty: no traces.
    """

    endpoint: str

    def __post_init__(self) -> None:
        """Refuse an address to which traces would cross a network in the clear."""
        if self.endpoint:
            _check_url("telemetry.endpoint", self.endpoint)
