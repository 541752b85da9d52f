"""The buttons for a study's run and for the node, as plain forms that work without JavaScript."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import Priority
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.peers.registry import sources
from dicom_node.retrieval.fetch_requests import ask_for, newest_requests
from dicom_node.runs.operations import Impossible, cancel, prioritise, replay, resend
from dicom_node.settings import Settings
from dicom_node.studies.opinions import add_opinion

__all__ = ["operation_routes"]

Action = Literal["stat", "routine", "cancel", "replay", "restart", "resend"]

ON_WORK = "work"
"""Value of the field `on` of a form that stands on the page of the work, and not on that of its study."""


def operation_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the targets of the forms; each redirects to the page of its form."""
    routes = APIRouter(include_in_schema=False)
    actions: dict[str, Callable[[str, str], object]] = {
        "stat": lambda key, _step: prioritise(database, key, Priority.STAT),
        "routine": lambda key, _step: prioritise(database, key, Priority.ROUTINE),
        "cancel": lambda key, _step: cancel(database, key),
        "replay": lambda key, step: replay(database, settings, key, step=step),
        "restart": lambda key, _step: replay(database, settings, key, from_start=True),
        "resend": lambda key, _step: resend(database, key),
    }

    _add_opinions(routes, database, pages)

    @routes.post("/studies/{key}/{action}")
    def act(
        request: Request, key: str, action: Action, step: Annotated[str, Form()] = "", on: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            actions[action](key, step)
        except Impossible as problem:
            context = {"heading": "Not possible", "sentence": f"{problem}.".capitalize()}
            return pages.TemplateResponse(request, "message.html", context, status_code=409)
        return RedirectResponse("/work" if on == ON_WORK else f"/studies/{key}", status_code=303)

    @routes.get("/fetch")
    def fetch_page(request: Request) -> Response:
        return _fetch_page(request, database, pages)

    @routes.post("/fetch")
    def fetch(
        request: Request,
        study_uid: Annotated[str, Form()] = "",
        source: Annotated[str, Form()] = "",
        priors: Annotated[str, Form()] = "0",
    ) -> Response:
        try:
            ask_for(database, study_uid.strip(), source, _number(priors.strip()))
        except InvalidEntryError as error:
            problems = [problem.sentence for problem in error.problems]
            return _fetch_page(request, database, pages, status_code=422, problems=problems)
        return RedirectResponse("/fetch", status_code=303)

    @routes.post("/maintenance/{state}")
    def maintain(request: Request, state: Literal["on", "off"]) -> Response:
        set_maintenance(database, request.state.user.name, on=state == "on")
        return RedirectResponse("/studies", status_code=303)

    return routes


def _add_opinions(routes: APIRouter, database: Database, pages: Jinja2Templates) -> None:
    @routes.post("/studies/{key}/opinion")
    def judge(
        request: Request, key: str, verdict: Annotated[str, Form()] = "", comment: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            add_opinion(database, key, verdict, comment, request.state.user.name)
        except InvalidEntryError as error:
            context = {"heading": "Not kept", "sentence": " ".join(one.sentence for one in error.problems)}
            return pages.TemplateResponse(request, "message.html", context, status_code=422)
        return RedirectResponse(f"/studies/{key}#opinions", status_code=303)


def _number(entered: str) -> int:
    """Return the number of priors, or one that is refused; Python cannot read a number of thousands of digits."""
    return int(entered) if entered.isascii() and entered.isdigit() and len(entered) <= 2 else -1


def _fetch_page(
    request: Request, database: Database, pages: Jinja2Templates, status_code: int = 200, **shown: object
) -> Response:
    context = {"sources": sources(database), "requests": newest_requests(database), **shown}
    return pages.TemplateResponse(request, "fetch.html", context, status_code=status_code)
