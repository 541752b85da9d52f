"""Who may open what on the panel: one line for each address. What has no line is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.routing import compile_path

from dicom_node.access.caller import Caller, Credential
from dicom_node.database.states import TokenScope, UserRole

__all__ = ["RIGHTS", "Right", "allowed_methods", "line_of", "may", "permits", "right_to"]


@dataclass(frozen=True, kw_only=True)
class Right:
    """What an address asks of a caller.

    Attributes
    ----------
    least
        The least role of a user; None: the address is open to everyone.
    scope
        The scope of a token by which a program may call it; None: by no token.
    visitors
        Whether someone may come here who has not logged in, where the workbench is open (setting ``workbench.open``).
    """

    least: UserRole | None
    scope: TokenScope | None = None
    visitors: bool = False


OPEN = Right(least=None)
VIEWER = Right(least=UserRole.VIEWER)
OPERATOR = Right(least=UserRole.OPERATOR)
ADMINISTRATOR = Right(least=UserRole.ADMINISTRATOR)
GUEST = Right(least=UserRole.VIEWER, visitors=True)
BENCH = Right(least=UserRole.VIEWER, visitors=True, scope=TokenScope.WORKBENCH)
PEERS = Right(least=UserRole.ADMINISTRATOR, scope=TokenScope.PEERS)
ROUTES = Right(least=UserRole.ADMINISTRATOR, scope=TokenScope.ROUTES)
METRICS = Right(least=UserRole.ADMINISTRATOR, scope=TokenScope.METRICS)

RIGHTS: Mapping[str, Right] = MappingProxyType(
    {
        "GET /healthz": OPEN,
        "GET /readyz": OPEN,
        "GET /metrics": METRICS,
        "GET /static/{path:path}": OPEN,
        "GET /login": OPEN,
        "POST /login": OPEN,
        "GET /login/oidc": OPEN,
        "GET /login/oidc/callback": OPEN,
        "POST /logout": VIEWER,
        "GET /account": VIEWER,
        "POST /account/password": VIEWER,
        "POST /account/logout-everywhere": VIEWER,
        "GET /": VIEWER,
        "GET /help": GUEST,
        "GET /docs": VIEWER,
        "GET /swagger/{path:path}": VIEWER,
        "GET /api/openapi.json": VIEWER,
        "GET /niivue/{path:path}": GUEST,
        # studies
        "GET /studies": VIEWER,
        "POST /studies": VIEWER,  # a search
        "GET /studies/{key}": VIEWER,
        "GET /studies/{key}/pictures/{name}": VIEWER,
        "POST /studies/{key}/opinion": VIEWER,
        "POST /studies/{key}/{action}": OPERATOR,  # STAT, routine, cancel, replay, restart, resend
        # workbench
        "GET /workbench": GUEST,
        "GET /workbench/{job_id}": GUEST,
        "GET /api/v1/segment": BENCH,
        "POST /api/v1/segment": BENCH,
        "POST /api/v1/segment/roles": BENCH,
        "POST /api/v1/segment/example": BENCH,
        "GET /api/v1/segment/{job_id}": BENCH,
        "DELETE /api/v1/segment/{job_id}": BENCH,
        "GET /api/v1/segment/{job_id}/events": BENCH,
        "GET /api/v1/segment/{job_id}/result": BENCH,
        "GET /api/v1/segment/{job_id}/files/{name}": BENCH,
        # work
        "GET /work": VIEWER,
        "GET /work/events": VIEWER,
        "GET /fetch": OPERATOR,
        "POST /fetch": OPERATOR,
        "GET /rules": OPERATOR,
        "POST /rules": OPERATOR,
        "GET /rules/export": OPERATOR,
        "POST /rules/preview": OPERATOR,
        "POST /rules/remove": OPERATOR,
        "POST /rules/move": OPERATOR,
        # administration
        "GET /setup": ADMINISTRATOR,
        "GET /setup/name": ADMINISTRATOR,
        "POST /setup/name": ADMINISTRATOR,
        "GET /setup/pacs": ADMINISTRATOR,
        "POST /setup/pacs": ADMINISTRATOR,
        "POST /setup/pacs/echo": ADMINISTRATOR,
        "POST /setup/pacs/test": ADMINISTRATOR,
        "GET /setup/orthanc": ADMINISTRATOR,
        "POST /setup/orthanc": ADMINISTRATOR,
        "GET /setup/there": ADMINISTRATOR,
        "GET /setup/end": ADMINISTRATOR,
        "POST /setup/end": ADMINISTRATOR,
        "POST /setup/next": ADMINISTRATOR,
        "POST /maintenance/{state}": ADMINISTRATOR,
        "GET /peers": ADMINISTRATOR,
        "POST /peers": ADMINISTRATOR,
        "GET /peers.toml": ADMINISTRATOR,
        "GET /peers-import": ADMINISTRATOR,
        "POST /peers-import": ADMINISTRATOR,
        "POST /peers-import/confirmed": ADMINISTRATOR,
        "GET /peers/{name}": ADMINISTRATOR,
        "POST /peers/{name}": ADMINISTRATOR,
        "POST /peers/{name}/echo": ADMINISTRATOR,
        "POST /peers/{name}/test": ADMINISTRATOR,
        "GET /peers/{name}/remove": ADMINISTRATOR,
        "POST /peers/{name}/remove": ADMINISTRATOR,
        "POST /peers/{name}/{action}": ADMINISTRATOR,  # enable, disable
        "GET /api/v1/peers": PEERS,
        "POST /api/v1/peers": PEERS,
        "GET /api/v1/peers/{name}": PEERS,
        "PATCH /api/v1/peers/{name}": PEERS,
        "PUT /api/v1/peers/{name}": PEERS,
        "DELETE /api/v1/peers/{name}": PEERS,
        "POST /api/v1/peers/{name}/echo": PEERS,
        "GET /api/v1/peers.toml": PEERS,
        "PUT /api/v1/peers.toml": PEERS,
        "GET /api/v1/peers/{name}/tests": PEERS,
        "POST /api/v1/peers/{name}/tests": PEERS,
        "GET /api/peers": PEERS,
        "POST /api/peers": PEERS,
        "GET /api/peers/{name}": PEERS,
        "PATCH /api/peers/{name}": PEERS,
        "PUT /api/peers/{name}": PEERS,
        "DELETE /api/peers/{name}": PEERS,
        "POST /api/peers/{name}/echo": PEERS,
        "GET /routing": ADMINISTRATOR,
        "POST /routing": ADMINISTRATOR,
        "GET /routing/rule": ADMINISTRATOR,
        "GET /routing/export": ADMINISTRATOR,
        "POST /routing/preview": ADMINISTRATOR,
        "POST /routing/up": ADMINISTRATOR,
        "POST /routing/remove": ADMINISTRATOR,
        "POST /routing/restore": ADMINISTRATOR,
        "GET /api/v1/routes": ROUTES,
        "PUT /api/v1/routes": ROUTES,
        "POST /api/v1/routes/try": ROUTES,
        "GET /api/v1/routes/versions": ROUTES,
        "POST /api/v1/routes/versions/{number}/restore": ROUTES,
        "GET /system": ADMINISTRATOR,
        "GET /system/configuration.toml": ADMINISTRATOR,
        "GET /system/configuration": ADMINISTRATOR,
        "POST /system/configuration": ADMINISTRATOR,
        "POST /system/configuration/confirmed": ADMINISTRATOR,
        "POST /system/support-bundle": ADMINISTRATOR,
        "POST /system/models/{action}": ADMINISTRATOR,  # promote, rollback, shadow, shadow-off
        "GET /system/conformance": OPERATOR,
        "GET /system/conformance.json": OPERATOR,
        "GET /system/conformance.pdf": OPERATOR,
        "GET /system/notifications": ADMINISTRATOR,
        "POST /system/notifications/test": ADMINISTRATOR,
        "GET /users": ADMINISTRATOR,
        "POST /users": ADMINISTRATOR,
        "POST /users/{name}/role": ADMINISTRATOR,
        "POST /users/{name}/{action}": ADMINISTRATOR,  # reset, enable, disable, remove
        "GET /tokens": ADMINISTRATOR,
        "POST /tokens": ADMINISTRATOR,
        "POST /tokens/remove": ADMINISTRATOR,
    }
)
"""Method and path of each route to what it asks. Of several lines that match, the first decides."""

_PATTERNS = [(line.split(" ")[0], compile_path(line.split(" ")[1])[0], line) for line in RIGHTS]


def right_to(method: str, path: str) -> Right | None:
    """Return what a request asks of its caller; None if it has no line."""
    return RIGHTS.get(line_of(method, path))


def line_of(method: str, path: str) -> str:
    """Return the line of the table that a request matches, which holds nothing of it; empty if it has none."""
    asked = "GET" if method == "HEAD" else method
    return next((line for known, pattern, line in _PATTERNS if known == asked and pattern.match(path)), "")


def allowed_methods(path: str) -> list[str]:
    """Return the methods by which a path can be called."""
    return sorted({known for known, pattern, _ in _PATTERNS if pattern.match(path)})


def may(caller: Caller | None, line: str) -> bool:
    """Return whether a caller may do what a line of the table says; pages show only what their reader may do.

    Raises
    ------
    KeyError
        For a line that is not in the table.
    """
    return permits(RIGHTS[line], caller)


def permits(right: Right, caller: Caller | None) -> bool:
    """Return whether a right is that of a caller. Whether visitors are let in at all is decided where one is named."""
    if right.least is None:
        return True
    if caller is None:
        return False
    if caller.kind is Credential.TOKEN:
        return right.scope is not None and right.scope in caller.scopes
    if caller.kind is Credential.VISITOR:
        return right.visitors
    return caller.role is not None and caller.role.covers(right.least)
