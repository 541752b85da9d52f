"""The page of the API: Swagger UI, from the node itself, over the OpenAPI document."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.settings import Settings
from dicom_node.web.api_document import OPENAPI
from dicom_node.web.viewer_assets import swagger_folder

__all__ = ["docs_routes"]


def docs_routes(settings: Settings, pages: Jinja2Templates) -> APIRouter:
    """Return the page."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    def docs(request: Request) -> Response:
        installed = (swagger_folder(settings) / "swagger-ui-bundle.js").is_file()
        return pages.TemplateResponse(request, "docs.html", {"installed": installed, "document": OPENAPI})

    return routes
