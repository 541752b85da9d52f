"""The door of the panel: who calls, and whether they may do what they ask for."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

from fastapi import Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.concurrency import run_in_threadpool

from dicom_node.access.caller import VISITOR, Caller, Credential
from dicom_node.access.sessions import SessionLimits, caller_of
from dicom_node.access.tokens import program_of
from dicom_node.access.users import administrators
from dicom_node.database.engine import Database
from dicom_node.settings import Settings, WebSettings
from dicom_node.web.origins import origin_host
from dicom_node.web.rights import Right, allowed_methods, permits, right_to

__all__ = ["SESSION_COOKIE", "Door", "credential", "remember_visitor", "session_limits"]

SESSION_COOKIE = "glionode_session"
_VISITOR_COOKIE = "glionode_visitor"
_SAFE_METHODS = ("GET", "HEAD")


class Door:
    """Decides about each request before any route sees it, by `dicom_node.web.rights` alone."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._pages = pages

    async def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that is refused, or None when it is allowed.

        What changes something has to come from a page of the panel itself. Without a login, pages redirect to the
        login page and the API answers 401. ``request.state.user`` states who called.
        """
        request.state.user = None  # until it is known; the page of an error asks, too
        if request.method not in _SAFE_METHODS and not from_own_page(request.headers):
            return PlainTextResponse("This request was not sent by a page of the panel.", status_code=403)
        right = right_to(request.method, request.url.path)
        caller = await run_in_threadpool(self._caller, request, right)
        request.state.user = caller
        if right is not None and permits(right, caller):
            return None
        if caller is None or caller.kind is Credential.VISITOR:
            return _log_in_first(request)
        if right is None:
            return self._no_such_address(request)
        return await run_in_threadpool(self._not_allowed, request, right, caller)

    def _caller(self, request: Request, right: Right | None) -> Caller | None:
        if right is not None and right.least is None:
            return None  # nobody has to be known: the database is not asked
        given = request.headers.get("authorization", "")
        found = credential(self._database, session_limits(self._settings.web), request.cookies, given)
        if found is not None and found.kind is Credential.TOKEN and (right is None or right.scope is None):
            return None  # a token opens no page
        if found is None and self._settings.workbench.open and right is not None and right.visitors and not given:
            return _visitor(request)
        return found

    def _not_allowed(self, request: Request, right: Right, caller: Caller) -> Response:
        """Say which role or scope is needed, and whom to ask."""
        if caller.kind is Credential.TOKEN:
            return JSONResponse({"detail": f"This token does not have the scope {right.scope}."}, status_code=403)
        sentence = f"This needs the role {right.least}; you have the role {caller.role}."
        if names := administrators(self._database):
            sentence += f" An administrator can change that: {', '.join(names)}."
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": sentence}, status_code=403)
        context = {"heading": "Not with your role", "sentence": sentence}
        return self._pages.TemplateResponse(request, "message.html", context, status_code=403)

    def _no_such_address(self, request: Request) -> Response:
        """Answer for an address without a line in the table of rights, to someone who is logged in."""
        methods = allowed_methods(request.url.path)
        status, heading = (405, "Method Not Allowed") if methods else (404, "Not Found")
        headers = {"Allow": ", ".join(methods)} if methods else {}
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": heading}, status, headers)
        context = {"heading": heading, "sentence": "There is no such page in this panel."}
        return self._pages.TemplateResponse(request, "message.html", context, status, headers)


def session_limits(web: WebSettings) -> SessionLimits:
    """Return how long sessions last, as the settings say."""
    return SessionLimits(idle=timedelta(minutes=web.idle_minutes), longest=timedelta(hours=web.session_hours))


def credential(
    database: Database, limits: SessionLimits, cookies: Mapping[str, str], authorization: str
) -> Caller | None:
    """Return who has the cookie of a session, or else the token of a program; None for a stranger.

    Parameters
    ----------
    authorization
        The header of that name; empty without one.
    """
    if user := caller_of(database, cookies.get(SESSION_COOKIE, ""), limits):
        return user
    kind, _, token = authorization.partition(" ")
    return program_of(database, token.strip()) if kind.lower() == "bearer" else None


def from_own_page(headers: Mapping[str, str]) -> bool:
    """Return whether a request was sent by a page of the panel itself, or by no page at all.

    Three things guard against forgery (OWASP CSRF Prevention Cheat Sheet). Browsers send the session's cookie to no
    request that another site causes (SameSite=strict). Of the same host, a page on another port, such as the viewer's,
    counts as the same site; it is refused by Sec-Fetch-Site, which no script can set, and by Origin, which older
    browsers send too. A token in each form would add state, and guard against nothing more. A client that sends
    neither header is not a browser, and has no cookie to abuse.
    """
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or origin_host(origin) == headers.get("host", "") != ""


def _log_in_first(request: Request) -> Response:
    if request.url.path.startswith(("/api/", "/metrics")):  # programs call these, and need no page
        return JSONResponse({"detail": "Log in first."}, status_code=401)
    return RedirectResponse("/login", status_code=303)


def _visitor(request: Request) -> Caller:
    """Return whom a cookie names, and make a new name for a browser that has none."""
    cookie = request.cookies.get(_VISITOR_COOKIE, "")
    if not cookie:
        cookie = request.state.new_visitor = secrets.token_urlsafe(32)
    name = hashlib.sha256(cookie.encode()).hexdigest()[:32]
    return Caller(name=name, kind=Credential.VISITOR, owner=VISITOR + name)


def remember_visitor(request: Request, answer: Response, valid: timedelta) -> None:
    """Give a stranger the cookie by which their uploads are found again."""
    if name := getattr(request.state, "new_visitor", ""):
        answer.set_cookie(
            _VISITOR_COOKIE,
            name,
            max_age=int(valid.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
