"""When the certificate of panel and viewer expires, and a warning some weeks before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from dicom_node.settings import WebSettings

__all__ = ["EARLY", "certificate_expiry", "certificate_warning", "expiry_of"]

EARLY = timedelta(days=30)
"""How long before it expires there is a warning, so that somebody finds the time."""


def expiry_of(path: Path) -> datetime:
    """Return when a certificate in a PEM file expires.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        When it is no certificate.
    """
    return load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def certificate_expiry(web: WebSettings) -> datetime | None:
    """Return when the node's own certificate expires; None without one, and where its file cannot be read."""
    if not web.certificate:
        return None
    try:
        return expiry_of(Path(web.certificate))
    except (OSError, ValueError):
        return None  # `glionode check-config` and the start of the panel say why


def certificate_warning(web: WebSettings, now: datetime | None = None) -> str:
    """Return what to tell the administrator of the certificate; empty where there is time."""
    expires, now = certificate_expiry(web), now or datetime.now(UTC)
    if expires is None or expires - now >= EARLY:
        return ""
    expired = "has expired" if expires <= now else f"expires in {(expires - now).days} days"
    return (
        f"The certificate in web.certificate {expired} ({expires:%Y-%m-%d}). Put a new one in its place, and start the "
        "node again."
    )
