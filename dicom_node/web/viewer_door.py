"""The door of the viewer: OHIF and its DICOMweb take the panel's session, or a token that may read by DICOMweb."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dicom_node.access.caller import Caller, Credential
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope
from dicom_node.settings import Settings
from dicom_node.web.addresses import login_address
from dicom_node.web.auth import credential, session_limits

__all__ = ["DATA", "MAY_NOT_STORE", "ViewerDoor", "ViewerLogin"]

DATA = ("/dicom-web", "/wado")
"""Where images are, and what is known about them."""

_PUBLIC = "/manifest.json"
"""Of OHIF: browsers fetch it without cookies, even for a user who is logged in."""

MAY_NOT_STORE = "Segmentations and reports are stored by operators and administrators; log in to the panel as one."

_ANYONE = Caller(name="anyone", kind=Credential.OPEN, owner="")


@dataclass(frozen=True, kw_only=True)
class ViewerLogin:
    """Where the viewer looks up who is logged in to the panel."""

    settings: Settings
    database: Database


class ViewerDoor:
    """Lets in who is logged in; others are led to the panel's login, and programs are told how to authenticate.

    Browsers send the panel's cookie here too, since cookies of a host go to all its ports.

    Parameters
    ----------
    login
        None where the viewer is open to anyone who reaches its port.
    """

    def __init__(self, app: ASGIApp, login: ViewerLogin | None) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; ``request.state.user`` states who called."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        caller = await run_in_threadpool(self._caller, self._login, request) if self._login else _ANYONE
        request.state.user = caller
        answer = None if request.url.path == _PUBLIC else self._refusal(request, caller)
        await (answer or self._app)(scope, receive, send)

    @staticmethod
    def _caller(login: ViewerLogin, request: Request) -> Caller | None:
        given = request.headers.get("authorization", "")
        return credential(login.database, session_limits(login.settings.web), request.cookies, given)

    def _refusal(self, request: Request, caller: Caller | None) -> Response | None:
        if caller is None and request.url.path.startswith(DATA):
            scope = TokenScope.DICOMWEB_STORE if request.method == "POST" else TokenScope.DICOMWEB_READ
            return _bearer(401, f"Log in to the panel, or send a token with the scope {scope}.")
        if caller is None and self._login is not None:
            address = login_address(self._login.settings, request)
            return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
        asked = TokenScope.DICOMWEB_STORE if request.method == "POST" else TokenScope.DICOMWEB_READ
        if caller and caller.kind is Credential.TOKEN and asked not in caller.scopes:
            return _bearer(403, f"This token does not have the scope {asked}.", ', error="insufficient_scope"')
        if caller and caller.kind is not Credential.TOKEN and request.method == "POST" and not caller.may_store:
            return JSONResponse({"detail": MAY_NOT_STORE}, 403, {"Cache-Control": "no-store"})
        return None


def _bearer(status: int, sentence: str, error: str = "") -> Response:
    """Refuse as RFC 6750 says."""
    headers = {"WWW-Authenticate": f'Bearer realm="GlioNode"{error}', "Cache-Control": "no-store"}
    return JSONResponse({"detail": sentence}, status, headers)
