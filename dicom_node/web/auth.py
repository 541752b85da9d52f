"""Controls access to the panel: a one-time link opens a session."""

import hashlib
import secrets
from datetime import timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.concurrency import run_in_threadpool

from dicom_node.database.engine import Database
from dicom_node.web.api_tokens import token_name
from dicom_node.web.login_tokens import is_valid, new_token, use_up
from dicom_node.web.origins import origin_host
from dicom_node.web.uploads import UPLOAD_PATH

__all__ = ["VISITOR", "login_routes", "refusal", "remember_visitor"]

_SESSION_VALID = timedelta(hours=12)
_COOKIE = "glionode_session"
_VISITOR = "glionode_visitor"
_WORKBENCH = ("/workbench", UPLOAD_PATH, "/niivue", "/help")
VISITOR = "visitor:"
"""How the name of someone begins who has not logged in."""

_OPEN_PATHS = ("/login", "/healthz")
_OPEN_FOLDER = "/static/"
_SAFE_METHODS = ("GET", "HEAD")

_log = structlog.get_logger()


async def refusal(request: Request, database: Database, *, open_workbench: bool) -> Response | None:
    """Return the answer to a request that is refused, or None when it is allowed.

    A request that changes something has to come from a page of the panel itself. Everything but the login page, its
    style and the health check needs a session. Without one, pages redirect to the login page and the API answers 401.
    A program calls the API of the workbench with a token instead. ``request.state.owner`` states who called.

    Parameters
    ----------
    open_workbench
        Whether strangers may use the workbench: each is known by a cookie, which `remember_visitor` sets.
    """
    if request.method not in _SAFE_METHODS and not _from_own_page(request):
        return PlainTextResponse("This request was not sent by a page of the panel.", status_code=403)
    path = request.url.path
    if path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER):
        return None
    owner = await run_in_threadpool(_owner, request, database)
    if not owner and open_workbench and _is_workbench(path) and "authorization" not in request.headers:
        owner = _visitor(request)
    if owner:
        request.state.owner = owner
        return None
    if path.startswith("/api/"):
        return JSONResponse({"detail": "Log in first."}, status_code=401)
    return RedirectResponse("/login", status_code=303)


def _owner(request: Request, database: Database) -> str:
    """Return who calls: the panel's user, or a program by its token; empty for a stranger."""
    if is_valid(database, request.cookies.get(_COOKIE, ""), "session"):
        return "panel"
    path = request.url.path
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or (path != UPLOAD_PATH and not path.startswith(UPLOAD_PATH + "/")):
        return ""
    name = token_name(database, token.strip())
    return f"token:{name}" if name else ""


def _is_workbench(path: str) -> bool:
    return any(path == start or path.startswith(f"{start}/") for start in _WORKBENCH)


def _visitor(request: Request) -> str:
    """Return whom a cookie names, and make a new name for a browser that has none."""
    cookie = request.cookies.get(_VISITOR, "")
    if not cookie:
        cookie = request.state.new_visitor = secrets.token_urlsafe(32)
    return VISITOR + hashlib.sha256(cookie.encode()).hexdigest()[:32]


def remember_visitor(request: Request, answer: Response, valid: timedelta) -> None:
    """Give a stranger the cookie by which their uploads are found again."""
    if name := getattr(request.state, "new_visitor", ""):
        answer.set_cookie(
            _VISITOR,
            name,
            max_age=int(valid.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


def login_routes(database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the routes to log in and out."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login", response_class=HTMLResponse)
    def ask(request: Request, token: str = "") -> Response:
        """Show a button, so that a program that only opens the link, such as a mail scanner, does not use it up."""
        return pages.TemplateResponse(request, "login.html", {"token": token})

    @routes.post("/login")
    def log_in(request: Request, token: Annotated[str, Form()] = "") -> Response:
        if not use_up(database, token, "link"):
            _log.warning("panel_login_refused")
            return pages.TemplateResponse(request, "login.html", {"token": "", "refused": True}, status_code=403)
        _log.info("panel_login")
        request.state.owner = "panel"  # whom the audit trail names
        answer = RedirectResponse("/", status_code=303)
        answer.set_cookie(
            _COOKIE,
            new_token(database, "session", _SESSION_VALID),
            max_age=int(_SESSION_VALID.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        use_up(database, request.cookies.get(_COOKIE, ""), "session")
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(_COOKIE, httponly=True, samesite="strict")
        return answer

    return routes


def _from_own_page(request: Request) -> bool:
    """Compare Origin with Host; a client other than a browser sends no Origin and has no cookie to abuse."""
    origin = request.headers.get("origin")
    return origin is None or origin_host(origin) == request.headers.get("host", "") != ""
