"""The panel: pages and JSON for administrators of the node."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.peers.peer import PeerError, UnknownPeer
from dicom_node.routing.rule import RoutingError
from dicom_node.routing.versions import UnknownVersion
from dicom_node.rules.site_rules import RuleError, UnknownRule
from dicom_node.settings import Settings
from dicom_node.web.api_document import api_application
from dicom_node.web.audit_table import PANEL, RouteTable
from dicom_node.web.audited import Recorded
from dicom_node.web.auth import Door, remember_visitor
from dicom_node.web.explained.pages import page_of
from dicom_node.web.first_run import first_steps_are_due
from dicom_node.web.guard import BROKEN, Guard
from dicom_node.web.rights import may
from dicom_node.web.routes_account import account_routes
from dicom_node.web.routes_api import api_routes
from dicom_node.web.routes_configuration import configuration_routes
from dicom_node.web.routes_conformance import conformance_routes
from dicom_node.web.routes_docs import docs_routes
from dicom_node.web.routes_health import health_routes
from dicom_node.web.routes_help import help_routes
from dicom_node.web.routes_login import login_routes
from dicom_node.web.routes_notifications import notification_routes
from dicom_node.web.routes_oidc import oidc_routes
from dicom_node.web.routes_operations import operation_routes
from dicom_node.web.routes_peer_files import peer_file_routes
from dicom_node.web.routes_peers import peer_page_routes, peer_routes
from dicom_node.web.routes_pictures import picture_routes
from dicom_node.web.routes_routing import routing_change_routes, routing_routes
from dicom_node.web.routes_routing_api import routing_api
from dicom_node.web.routes_rules import new_rule_routes, rule_routes
from dicom_node.web.routes_segment import segment_routes
from dicom_node.web.routes_setup import setup_routes
from dicom_node.web.routes_studies import study_routes
from dicom_node.web.routes_system import Diagnose, no_diagnosis, system_routes
from dicom_node.web.routes_tokens import token_routes
from dicom_node.web.routes_users import user_routes
from dicom_node.web.routes_work import work_routes
from dicom_node.web.routes_workbench import workbench_routes
from dicom_node.web.traced import Traced
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.web.viewer_assets import niivue_folder, swagger_folder
from inference.regions import REGION_NAMES

__all__ = ["panel_app"]

_HERE = Path(__file__).parent
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"  # data: for the fonts and maps that NiiVue carries
    ),
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would send forms with the Origin "null"
    "X-Content-Type-Options": "nosniff",
}


class _Fetched(StaticFiles):
    """Files of a package that may be fetched while the node runs; until then there are none."""

    async def check_config(self) -> None:
        """Do without the folder."""


def panel_app(settings: Settings, database: Database, diagnose: Diagnose = no_diagnosis) -> ASGIApp:
    """Return the application of the panel.

    Parameters
    ----------
    settings
        Effective settings of the node.
    database
        The node's database.
    diagnose
        What `glionode doctor` asks, for the support bundle.
    """
    app = api_application()
    pages = Jinja2Templates(_HERE / "templates")
    pages.env.globals |= {"may": may, "page_of": page_of, "region_names": REGION_NAMES}
    door = Door(settings, database, pages)
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    app.mount("/niivue", _Fetched(directory=niivue_folder(settings), check_dir=False), name="niivue")
    app.mount("/swagger", _Fetched(directory=swagger_folder(settings), check_dir=False), name="swagger")
    _handle_errors(app, pages)
    _handle_unexpected(app, pages)
    for routes in (*_routers(settings, database, pages), system_routes(settings, database, pages, diagnose)):
        app.include_router(routes)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        refused = await door.refusal(request)
        answer = refused or await call_next(request)
        remember_visitor(request, answer, timedelta(hours=settings.workbench.kept_hours))
        return answer

    @app.get("/", include_in_schema=False)
    def start(request: Request) -> Response:
        """Redirect to the studies, or an administrator to the first steps until they are over."""
        begins = may(request.state.user, "GET /setup") and first_steps_are_due(database)
        return RedirectResponse("/setup" if begins else "/studies", status_code=303)

    trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
    recorded = Recorded(app, trail, RouteTable(PANEL))
    guarded = Guard(recorded, "panel", _HEADERS, UPLOAD_PATH, strict_transport=settings.web.strict_transport)
    return Traced(guarded) if settings.telemetry.endpoint else guarded


def _routers(settings: Settings, database: Database, pages: Jinja2Templates) -> Iterator[APIRouter]:
    """Return the routes of all pages, in the order in which they are tried."""
    yield login_routes(settings, database, pages)
    yield oidc_routes(settings, database, pages)
    yield account_routes(settings, database, pages)
    yield user_routes(settings, database, pages)
    yield setup_routes(settings, database, pages)
    yield token_routes(database, pages)
    yield peer_file_routes(database, pages)
    yield peer_routes(settings, database, pages)
    yield peer_page_routes(settings, database, pages)
    yield api_routes(settings, database)
    yield rule_routes(database, pages)
    yield new_rule_routes(settings, database, pages)
    yield routing_routes(settings, database, pages)
    yield routing_change_routes(database)
    yield routing_api(settings, database)
    yield study_routes(settings, database, pages)
    yield picture_routes(settings, database)
    yield work_routes(settings, database, pages)
    yield operation_routes(settings, database, pages)
    yield segment_routes(settings, database)
    yield workbench_routes(settings, database, pages)
    yield docs_routes(settings, pages)
    yield help_routes(pages)
    yield conformance_routes(settings, database, pages)
    yield health_routes(settings, database)
    yield configuration_routes(settings, database, pages)
    yield notification_routes(settings, database, pages)


def _handle_errors(app: FastAPI, pages: Jinja2Templates) -> None:
    """Answer errors with JSON under ``/api/`` and with a page elsewhere."""
    page = partial(_page, pages)

    @app.exception_handler(RoutingError)
    @app.exception_handler(PeerError)
    def invalid(request: Request, error: InvalidEntryError) -> Response:
        status_code = 404 if isinstance(error, UnknownPeer | UnknownVersion) else 422
        if not request.url.path.startswith("/api/"):
            return page(request, "Not possible", str(error), status_code)
        problems = [{"loc": ["body", one.field], "msg": one.sentence, "type": "value_error"} for one in error.problems]
        return JSONResponse({"detail": problems}, status_code=status_code)

    @app.exception_handler(RuleError)
    def rule_error(request: Request, error: RuleError) -> Response:
        return page(request, "Not possible", str(error), 404 if isinstance(error, UnknownRule) else 422)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if request.url.path.startswith(("/api/", "/static/")):
            return await http_exception_handler(request, error)
        return page(request, error.detail, "There is no such page in this panel.", error.status_code)


def _handle_unexpected(app: FastAPI, pages: Jinja2Templates) -> None:
    """Answer requests with invalid parameters, and unexpected errors."""
    page = partial(_page, pages)

    @app.exception_handler(RequestValidationError)
    async def unusable(request: Request, error: RequestValidationError) -> Response:
        """Name what is invalid without repeating it: not every value that was sent can be written in an answer."""
        if not request.url.path.startswith("/api/"):
            return page(request, "Not possible", "This address or what was entered is not valid.", 422)
        problems = [{"loc": _location(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
        return JSONResponse({"detail": problems}, status_code=422)

    @app.exception_handler(Exception)
    async def broken(request: Request, _error: Exception) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"detail": BROKEN}, status_code=500)
        return page(request, "Something went wrong", BROKEN, 500)


def _page(pages: Jinja2Templates, request: Request, heading: str, sentence: str, status_code: int) -> Response:
    context = {"heading": heading, "sentence": sentence}
    return pages.TemplateResponse(request, "message.html", context, status_code=status_code)


def _location(steps: Sequence[object]) -> list[str]:
    """Return the location of an invalid value, in ASCII since not every text can be written as UTF-8."""
    return [str(step).encode("ascii", "backslashreplace").decode("ascii") for step in steps]
