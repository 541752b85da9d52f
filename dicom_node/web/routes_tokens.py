"""The page of the tokens, for administrators: made and shown once, removed."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from dicom_node.access.tokens import MOST_DAYS, add_token, list_tokens, remove_token, scopes_of
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope
from dicom_node.database.tables import utc_now
from dicom_node.invalid_entry import InvalidEntryError

__all__ = ["token_routes"]

SCOPES = {
    TokenScope.WORKBENCH: "send files to the workbench and fetch the results",
    TokenScope.DICOMWEB_READ: "query and retrieve studies by DICOMweb, on the viewer's port",
    TokenScope.DICOMWEB_STORE: "store segmentations and reports by DICOMweb",
    TokenScope.PEERS: "list and change the AE titles",
    TokenScope.ROUTES: "list, try and change the routing rules",
    TokenScope.METRICS: "read the metrics of the node, for Prometheus",
}


class _TokenForm(BaseModel):
    """The form as entered."""

    name: str = ""
    scopes: list[str] = []
    days: str = ""


def token_routes(database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and the targets of its forms."""
    routes = APIRouter(prefix="/tokens", include_in_schema=False)

    def show(request: Request, status_code: int = 200, **shown: object) -> Response:
        rows = [(row, scopes_of(row)) for row in list_tokens(database)]
        defaults = {"tokens": rows, "scopes": SCOPES, "form": _TokenForm(scopes=[TokenScope.WORKBENCH]), "problems": {}}
        context = {**defaults, "now": utc_now(), "most_days": MOST_DAYS, **shown}
        return pages.TemplateResponse(request, "tokens.html", context, status_code=status_code)

    @routes.get("")
    def listed(request: Request) -> Response:
        return show(request)

    @routes.post("")
    def add(request: Request, form: Annotated[_TokenForm, Form()]) -> Response:
        by = request.state.user.name
        try:
            token = add_token(database, form.name.strip(), form.scopes, user=by, by=by, days=_days(form.days.strip()))
        except InvalidEntryError as error:
            problems = {one.field: one.sentence for one in error.problems}
            return show(request, 422, form=form, problems=problems)
        return show(request, made=form.name.strip(), token=token)

    @routes.post("/remove")
    def remove(request: Request, name: Annotated[str, Form()] = "") -> Response:
        try:
            remove_token(database, name, by=request.state.user.name)
        except InvalidEntryError as error:
            return show(request, 404, refused=str(error))
        return RedirectResponse("/tokens", status_code=303)

    return routes


def _days(entered: str) -> int:
    """Return the number of days, 0 for never, or one that is refused."""
    if not entered:
        return 0
    return int(entered) if entered.isascii() and entered.isdigit() and 0 < len(entered) <= 4 and int(entered) else -1
