"""What the panel's buttons do to a study's run, and to the node: plain forms, so that they work without JavaScript."""

from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database import Database
from dicom_node.operations import Impossible, cancel, prioritise, replay, set_maintenance
from dicom_node.settings import Settings
from dicom_node.states import Priority

__all__ = ["operation_routes"]

Action = Literal["stat", "routine", "cancel", "replay", "restart"]


def operation_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return what the forms post to; each leads back to the page that it stands on."""
    routes = APIRouter(include_in_schema=False)
    actions: dict[str, Callable[[str], object]] = {
        "stat": lambda key: prioritise(database, key, Priority.STAT),
        "routine": lambda key: prioritise(database, key, Priority.ROUTINE),
        "cancel": lambda key: cancel(database, key),
        "replay": lambda key: replay(database, settings, key),
        "restart": lambda key: replay(database, settings, key, from_start=True),
    }

    @routes.post("/studies/{key}/{action}")
    def act(request: Request, key: str, action: Action) -> Response:
        try:
            actions[action](key)
        except Impossible as problem:
            context = {"heading": "Not possible", "sentence": f"{problem}.".capitalize()}
            return pages.TemplateResponse(request, "message.html", context, status_code=409)
        return RedirectResponse(f"/studies/{key}", status_code=303)

    @routes.post("/maintenance/{state}")
    def maintain(state: Literal["on", "off"]) -> Response:
        set_maintenance(database, "panel", on=state == "on")
        return RedirectResponse("/studies", status_code=303)

    return routes
