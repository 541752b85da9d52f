"""Export of the configuration as one TOML file, and import with a preview of what it would change."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.configuration.changes import fingerprint, import_configuration, plan_configuration
from dicom_node.configuration.document import as_toml, present
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import Settings

__all__ = ["configuration_routes"]

Entered = Annotated[str, Form()]


class _Pages:
    """The page, with what an import would change where a text was given."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings, self._database, self._pages = settings, database, pages

    def show(self, request: Request, text: str, status_code: int = 200, **shown: object) -> Response:
        """Return the page."""
        context = {"text": text, "seen": fingerprint(self._database), **shown}
        return self._pages.TemplateResponse(request, "configuration.html", context, status_code=status_code)

    def preview(self, request: Request, text: str, *, outdated: bool = False) -> Response:
        """Return the page with a preview."""
        try:
            plan = plan_configuration(self._database, self._settings, text)
        except InvalidEntryError as error:
            return self.show(request, text, 422, problem=str(error))
        return self.show(request, text, 409 if outdated else 200, plan=plan, outdated=outdated)


def configuration_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the file, and the two steps of an import: a preview, and doing it."""
    routes = APIRouter(prefix="/system", include_in_schema=False)
    page = _Pages(settings, database, pages)

    @routes.get("/configuration.toml")
    def export() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="glionode.toml"'}
        return PlainTextResponse(as_toml(present(database)), media_type="application/toml", headers=headers)

    @routes.get("/configuration")
    def ask(request: Request) -> Response:
        return page.show(request, "")

    @routes.post("/configuration")
    def preview(request: Request, text: Entered = "") -> Response:
        return page.preview(request, text)

    @routes.post("/configuration/confirmed")
    def confirmed(request: Request, text: Entered = "", seen: Entered = "") -> Response:
        """Import what was previewed; if the configuration has changed since, show a new preview instead."""
        if seen != fingerprint(database):
            return page.preview(request, text, outdated=True)
        try:
            import_configuration(database, settings, text, request.state.user.name)
        except InvalidEntryError as error:
            return page.show(request, text, 422, problem=str(error))
        return RedirectResponse("/system#settings", status_code=303)

    return routes
