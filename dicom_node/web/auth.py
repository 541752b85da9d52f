"""Controls access to the panel: a one-time link opens a session."""

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

__all__ = ["login_routes", "refusal"]

_SESSION_VALID = timedelta(hours=12)
_COOKIE = "glionode_session"
_OPEN_PATHS = ("/login", "/healthz")
_OPEN_FOLDER = "/static/"
_SAFE_METHODS = ("GET", "HEAD")

_log = structlog.get_logger()


async def refusal(request: Request, database: Database) -> Response | None:
    """Return the answer to a request that is refused, or None when it is allowed.

    A request that changes something has to come from a page of the panel itself. Everything but the login page, its
    style and the health check needs a session. Without one, pages redirect to the login page and the API answers 401.
    A program calls the API of the workbench with a token instead. ``request.state.owner`` states who called.
    """
    if request.method not in _SAFE_METHODS and not _from_own_page(request):
        return PlainTextResponse("This request was not sent by a page of the panel.", status_code=403)
    path = request.url.path
    if path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER):
        return None
    owner = await run_in_threadpool(_owner, request, database)
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
