"""The page of the studies: where each stands and why, newest first, and what was refused."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.database import Database
from dicom_node.settings import Settings
from dicom_node.status import read_status
from viewer_integration.ohif import study_link

__all__ = ["study_routes"]

_SHOWN = 100


def study_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page; it changes nothing."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/studies")
    def listed(request: Request) -> Response:
        viewer = f"http://{request.url.hostname}:{settings.viewer.port}"
        status = read_status(database, _SHOWN)
        links = {study.study_uid: study_link(viewer, study.study_uid) for study in status.studies}
        return pages.TemplateResponse(request, "studies.html", {"status": status, "links": links, "shown": _SHOWN})

    return routes
