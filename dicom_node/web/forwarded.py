"""What a declared proxy states about the browser behind it: address, scheme and host."""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Forwarded", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MARKS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")


class Forwarded:
    """Takes the place of what the connection says, where it comes from a declared proxy and from nobody else.

    Parameters
    ----------
    proxies
        Networks whose X-Forwarded headers are believed.
    """

    def __init__(self, app: ASGIApp, proxies: Collection[Network]) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = scope.get("client")
        if scope["type"] == "http" and client and self._is_proxy(client[0]):
            scope = self._as_stated(scope)
        await self._app(scope, receive, send)

    def _as_stated(self, scope: Scope) -> Scope:
        stated = Headers(scope=scope)
        changed = dict(scope)
        if address := self._browser(stated.getlist("x-forwarded-for")):
            changed["client"] = (address, 0)
        if _last(stated.getlist("x-forwarded-proto")).lower() in ("http", "https"):
            changed["scheme"] = _last(stated.getlist("x-forwarded-proto")).lower()
        headers = MutableHeaders(raw=list(scope["headers"]))
        if host := _last(stated.getlist("x-forwarded-host")):
            headers["host"] = host
        for mark in (*_MARKS, "forwarded", "via"):  # used up: what is left would mean a proxy that is not declared
            del headers[mark]
        changed["headers"] = headers.raw
        return changed

    def _browser(self, stated: list[str]) -> str:
        """Return the last address that is not a proxy's: what stands before it, anyone may have written."""
        for one in reversed(",".join(stated).split(",")):
            address = one.strip().strip("[]")
            if not _is_address(address):
                return ""
            if not self._is_proxy(address):
                return address
        return ""

    def _is_proxy(self, address: str) -> bool:
        if not _is_address(address):
            return False
        found = ipaddress.ip_address(address)
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return any((mapped or found) in network for network in self._proxies)


def _last(stated: list[str]) -> str:
    return ",".join(stated).rpartition(",")[2].strip()


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
