"""The DICOM Conformance Statement in the panel: as a page to read and print, as PDF, and as JSON."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.conformance.facts import read_facts
from dicom_node.conformance.html import body
from dicom_node.conformance.statement import as_json, statement
from dicom_node.database.engine import Database
from dicom_node.settings import Settings

__all__ = ["conformance_routes"]

_NAME = "glionode-conformance-statement"


def conformance_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and its files; each is made anew, so that a change shows at once."""
    routes = APIRouter(prefix="/system/conformance", include_in_schema=False)

    @routes.get("")
    def shown(request: Request) -> Response:
        document = statement(read_facts(settings, database))
        return pages.TemplateResponse(request, "conformance.html", {"document": document, "body": body(document)})

    @routes.get(".pdf")
    def printed() -> Response:
        from dicom_node.conformance.pdf import as_pdf  # noqa: PLC0415 - 20 MiB that nothing else needs

        content = as_pdf(statement(read_facts(settings, database)))
        return _file(content, "application/pdf", "pdf")

    @routes.get(".json")
    def for_programs() -> Response:
        return _file(as_json(statement(read_facts(settings, database))).encode(), "application/json", "json")

    return routes


def _file(content: bytes, media_type: str, ending: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{_NAME}.{ending}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
