"""The pages of the studies: the state of each with its reason, and how the series of one study were recognised."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from starlette.exceptions import HTTPException

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.worker_slots import list_workers
from dicom_node.rules.site_rules import free_name, site_rules
from dicom_node.settings import Settings
from dicom_node.studies.status import read_status, read_study_status
from dicom_node.web.routes_rules import NOT_USED, USED, RuleForm
from dicom_node.web.study_page import StudyShown, show_study
from viewer_integration.ohif import open_link

__all__ = ["study_routes"]

_SHOWN = 100
_PREFILLED = ("manufacturer", "description", "protocol")
"""Fields that a correction starts with; station and sequence name would make most rules too narrow."""


def study_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the pages, which change nothing. Addresses contain the key of a study, never its UID."""
    routes = APIRouter(include_in_schema=False)

    def viewer(request: Request) -> str:
        host = request.url.hostname or "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{settings.viewer.port}"

    def corrections(shown: StudyShown, key: str) -> list[RuleForm]:
        name = free_name(site_rules(database))
        chosen = ({field: one.patterns[field] for field in _PREFILLED} for one in shown.series)
        return [RuleForm(name=name, study=key, **patterns) for patterns in chosen]

    @routes.get("/studies")
    def listed(request: Request) -> Response:
        status = read_status(database, _SHOWN)
        links = {study.study_uid: open_link(viewer(request), study.key) for study in status.studies}
        context = {"status": status, "links": links, "shown": _SHOWN, "workers": list_workers(database)}
        return pages.TemplateResponse(request, "studies.html", context | {"maintenance": in_maintenance(database)})

    @routes.get("/studies/{key}")
    def one(request: Request, key: str, saved: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        study = read_study_status(database, key)
        if study is None:
            raise HTTPException(404, "No such study")
        shown = show_study(database, settings.node.folder, study)
        context = {"study": study, "shown": shown, "forms": corrections(shown, key), "saved": saved}
        context |= {"roles": USED, "others": NOT_USED, "viewer": open_link(viewer(request), study.key)}
        return pages.TemplateResponse(request, "study.html", context)

    return routes
