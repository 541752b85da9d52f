"""The page System, for administrators: disk, queue, charts, workers, models, settings, versions."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.models.changes import end_shadow, promote, roll_back, use_as_shadow
from dicom_node.monitoring.activity import Span
from dicom_node.monitoring.support_bundle import Answer, support_bundle
from dicom_node.settings import Settings
from dicom_node.web.system_page import SystemPage
from inference.errors import UnusableModel

__all__ = ["Diagnose", "no_diagnosis", "system_routes"]

Action = Literal["promote", "rollback", "shadow", "shadow-off"]
Entered = Annotated[str, Form()]


Diagnose = Callable[[Settings, Database], Sequence[Answer]]


def no_diagnosis(_settings: Settings, _database: Database) -> Sequence[Answer]:
    """Ask nothing: `glionode doctor` belongs to a room above this one, which hands it down."""
    return ()


def system_routes(
    settings: Settings, database: Database, pages: Jinja2Templates, diagnose: Diagnose = no_diagnosis
) -> APIRouter:
    """Return the page and the targets of its buttons."""
    routes = APIRouter(prefix="/system", include_in_schema=False)
    page = SystemPage(settings, database)

    @routes.get("")
    def shown(request: Request, span: Span = Span.DAY) -> Response:
        return pages.TemplateResponse(request, "system.html", page.context(span))

    @routes.post("/support-bundle")
    def packed(_request: Request) -> Response:
        """Send what `glionode support-bundle` writes."""
        content = support_bundle(settings, database, diagnose(settings, database))
        headers = {"Content-Disposition": 'attachment; filename="glionode-support.zip"'}
        return Response(content, media_type="application/zip", headers=headers)

    @routes.post("/models/{action}")
    def choose_model(request: Request, action: Action, name: Entered = "", version: Entered = "") -> Response:
        """Do what `glionode models` does by the same name; a model is tried in a child process first."""
        who = request.state.user.name
        actions: dict[str, Callable[[], object]] = {
            "promote": lambda: promote(database, settings, name, version, who),
            "shadow": lambda: use_as_shadow(database, settings, name, version, who),
            "shadow-off": lambda: end_shadow(database, who),
            "rollback": lambda: roll_back(database, settings, who),
        }
        try:
            actions[action]()
        except UnusableModel as error:
            context = {"heading": "Not changed", "sentence": f"{error}.".capitalize()}
            return pages.TemplateResponse(request, "message.html", context, status_code=409)
        return RedirectResponse("/system#models", status_code=303)

    return routes
