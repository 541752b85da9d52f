"""Whether a login would cross the network in the clear: it is refused then, with a sentence on what would work."""

import ipaddress
import ssl

from starlette.requests import HTTPConnection

from dicom_node.settings import Settings, WebSettings

__all__ = ["NOBODY_ELSEWHERE", "address_of", "insecure", "is_loopback", "nobody_elsewhere", "unusable_certificate"]

_BY_A_PROXY = ("x-forwarded-for", "x-forwarded-proto", "forwarded", "via")

_HTTPS = (
    "Open the panel by HTTPS: give the node a certificate (settings web.certificate and web.key), or put a proxy with "
    "one in front of it and name the proxy's address in the setting web.proxy."
)
NOBODY_ELSEWHERE = "Nobody can log in from another host, because the panel is served by plain HTTP. " + _HTTPS


def insecure(request: HTTPConnection) -> str:
    """Return why a password must not be sent in this way; empty where it may.

    From the machine itself plain HTTP will do, unless a proxy that is not declared has passed the request on: then it
    comes from the machine, and the browser is anywhere.
    """
    if request.url.scheme == "https":
        return ""
    if any(name in request.headers for name in _BY_A_PROXY):
        return (
            "This request came through a proxy, and not by HTTPS as far as the node knows. If the proxy has a "
            "certificate, name the proxy's address in the setting web.proxy, and have it send X-Forwarded-Proto."
        )
    if not is_loopback(address_of(request)):
        return f"A password is not taken over plain HTTP from another host. {_HTTPS}"
    return ""


def address_of(request: HTTPConnection) -> str:
    """Return the address of the browser; a declared proxy has stated it."""
    return request.client.host if request.client else ""


def nobody_elsewhere(settings: Settings) -> bool:
    """Return whether the panel listens for other hosts, none of which could log in."""
    return not settings.web.certificate and not settings.web.proxies and not is_loopback(settings.web.bind)


def unusable_certificate(web: WebSettings) -> str:
    """Return why panel and viewer cannot be served with the certificate of the settings; empty if they can."""
    if bool(web.certificate) != bool(web.key):
        return "web.certificate and web.key belong together: state both files, or neither"
    if not web.certificate:
        return ""
    try:
        # With a password given, no other is asked for on a terminal that nobody may be watching.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(web.certificate, web.key, password="")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else "not usable together"
        return (
            f"web.certificate {web.certificate!r} and web.key {web.key!r}: {reason}; use PEM files without a password"
        )
    return ""


def is_loopback(address: str) -> bool:
    """Return whether an address is of this machine alone."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
