"""The panel: pages and JSON for the people who run the node."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException

from dicom_node.database import Database
from dicom_node.peer import PeerError, UnknownPeer
from dicom_node.peers import list_peers
from dicom_node.settings import Settings
from dicom_node.site_rules import RuleError, UnknownRule
from dicom_node.web.auth import login_routes, refusal
from dicom_node.web.routes_api import api_routes
from dicom_node.web.routes_operations import operation_routes
from dicom_node.web.routes_peers import peer_routes
from dicom_node.web.routes_rules import new_rule_routes, rule_routes
from dicom_node.web.routes_studies import study_routes

__all__ = ["panel_app"]

_HERE = Path(__file__).parent
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would send forms with the Origin "null"
    "X-Content-Type-Options": "nosniff",
}


def panel_app(settings: Settings, database: Database) -> FastAPI:
    """Return the application of the panel.

    Parameters
    ----------
    settings
        Effective settings of the node.
    database
        The node's books.
    """
    app = FastAPI(title="GlioNode", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    pages = Jinja2Templates(_HERE / "templates")
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    _handle_errors(app, pages)
    app.include_router(login_routes(database, pages))
    app.include_router(peer_routes(settings, database, pages))
    app.include_router(api_routes(settings, database))
    app.include_router(rule_routes(database, pages))
    app.include_router(new_rule_routes(settings, database, pages))
    app.include_router(study_routes(settings, database, pages))
    app.include_router(operation_routes(settings, database, pages))

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await refusal(request, database) or await call_next(request)
        answer.headers.update(_HEADERS)
        return answer

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Answer once the database has answered."""
        with database.session() as session:
            session.execute(sa.text("SELECT 1"))
        return {"status": "ok"}

    @app.get("/")
    def start() -> Response:
        """Lead to the studies, or to the peers while there are none."""
        return RedirectResponse("/studies" if list_peers(database) else "/peers", status_code=303)

    return app


def _handle_errors(app: FastAPI, pages: Jinja2Templates) -> None:
    """Answer errors with JSON under ``/api/`` and with a page elsewhere."""

    def page(request: Request, heading: str, sentence: str, status_code: int) -> Response:
        context = {"heading": heading, "sentence": sentence}
        return pages.TemplateResponse(request, "message.html", context, status_code=status_code)

    @app.exception_handler(PeerError)
    def peer_error(request: Request, error: PeerError) -> Response:
        status_code = 404 if isinstance(error, UnknownPeer) else 422
        if not request.url.path.startswith("/api/"):
            return page(request, "Not possible", str(error), status_code)
        problems = [{"loc": ["body", problem.field], "msg": problem.sentence} for problem in error.problems]
        return JSONResponse({"detail": problems}, status_code=status_code)

    @app.exception_handler(RuleError)
    def rule_error(request: Request, error: RuleError) -> Response:
        return page(request, "Not possible", str(error), 404 if isinstance(error, UnknownRule) else 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(("/api/", "/static/")):
            return await http_exception_handler(request, error)
        return page(request, error.detail, "There is no such page in this panel.", error.status_code)
