"""The pages of the studies: a person finds one, sees its state with its reason, and how its series were recognised."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import StudyState, Verdict
from dicom_node.database.worker_slots import list_workers
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.rules.site_rules import free_name, site_rules
from dicom_node.runs.operations import steps_to_replay
from dicom_node.settings import Settings
from dicom_node.studies.finding import MOST_CHARACTERS, Order, Search, find_studies, read_label
from dicom_node.studies.opinions import MOST_COMMENT, opinions_of
from dicom_node.studies.received_corrections import corrections_of
from dicom_node.studies.status import read_refusals, read_study_status, shown_run
from dicom_node.web.addresses import viewer_address
from dicom_node.web.routes_pictures import picture_files
from dicom_node.web.routes_rules import NOT_USED, USED, RuleForm
from dicom_node.web.study_page import StudyShown, show_study
from dicom_node.web.study_result import read_result
from dicom_node.web.viewer_assets import niivue_folder
from viewer_integration.ohif import open_link

__all__ = ["study_routes"]

_ORDERS = {
    Order.RECEIVED: "Received last first",
    Order.STUDIED: "Newest study date first",
    Order.NAME: "Patient name, A to Z",
}
_PREFILLED = ("manufacturer", "description", "protocol")
"""Fields that a correction starts with; station and sequence name would make most rules too narrow."""

_PAGE_DIGITS = 6

_AT_WORK = (StudyState.RECEIVING, StudyState.QUEUED, StudyState.RUNNING)


class _SearchForm(BaseModel):
    """The form as entered, so that it can be shown again with its errors."""

    text: str = ""
    first: str = ""
    last: str = ""
    state: str = ""
    order: str = Order.RECEIVED
    page: str = "1"

    def search(self) -> Search:
        """Return the search; a page that is not a number becomes one that is refused."""
        page = self.page.strip()
        is_number = page.isascii() and page.isdigit() and len(page) <= _PAGE_DIGITS
        texts = {name: value.strip() for name, value in self.model_dump(exclude={"page"}).items()}
        return Search(**texts, page=int(page) if is_number else 0)


def study_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the pages, which change nothing. Addresses contain the key of a study, never its UID or its patient."""
    routes = APIRouter(include_in_schema=False)

    def viewer(request: Request) -> str:
        return viewer_address(settings, request)

    def corrections(shown: StudyShown, key: str) -> list[RuleForm]:
        name = free_name(site_rules(database))
        chosen = ({field: one.patterns[field] for field in _PREFILLED} for one in shown.series)
        return [RuleForm(name=name, study=key, **patterns) for patterns in chosen]

    @routes.get("/studies")
    def newest(request: Request) -> Response:
        return _listed(request, database, pages, _SearchForm(), viewer(request))

    @routes.post("/studies")
    def found(request: Request, form: Annotated[_SearchForm, Form()]) -> Response:
        """Search by POST: no address, history or log contains what was searched for."""
        return _listed(request, database, pages, form, viewer(request))

    @routes.get("/studies/{key}")
    def one(request: Request, key: str, saved: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query parameter
        study = read_study_status(database, key)
        if study is None:
            raise HTTPException(404, "No such study")
        shown = show_study(database, settings.node.folder, study)
        context = {"study": study, "shown": shown, "forms": corrections(shown, key), "saved": saved}
        context |= {"roles": USED, "others": NOT_USED, "viewer": open_link(viewer(request), study.key)}
        context["correct"] = _correct_link(settings, request, study.key)
        context |= {
            "label": read_label(database, study.study_uid),
            "result": read_result(database, settings.node.folder, study),
        }
        context["corrections"] = corrections_of(database, study.study_uid)
        context |= {"opinions": opinions_of(database, key), "verdicts": list(Verdict), "most_comment": MOST_COMMENT}
        run = shown_run(database, key)
        pictures = picture_files(settings.node.folder, run)
        if run and study.state not in _AT_WORK:
            context["steps"] = steps_to_replay(settings.node.folder, run, study.step)
        context |= {"pictures": pictures, "has_niivue": (niivue_folder(settings) / "index.js").is_file()}
        return pages.TemplateResponse(request, "study.html", context)

    return routes


def _correct_link(settings: Settings, request: Request, key: str) -> str:
    """Return where the user corrects a segmentation; empty for those who may not, or where the viewer knows nobody."""
    if settings.viewer.open or not request.state.user.may_store:
        return ""
    return open_link(viewer_address(settings, request), key, to_correct=True)


def _listed(request: Request, database: Database, pages: Jinja2Templates, form: _SearchForm, viewer: str) -> Response:
    choices = {"states": list(StudyState), "orders": _ORDERS, "longest": MOST_CHARACTERS}
    node = {"workers": list_workers(database), "maintenance": in_maintenance(database)}
    context = {"form": form, "problems": {}, "refusals": (), **choices, **node}
    try:
        search = form.search()
    except InvalidEntryError as error:
        context["problems"] = {problem.field: problem.sentence for problem in error.problems}
        return pages.TemplateResponse(request, "studies.html", context, status_code=422)
    found = find_studies(database, search)
    links = {one.status.study_uid: open_link(viewer, one.status.key) for one in found.studies}
    context |= {"found": found, "search": search, "links": links}
    if search.is_empty and search.page == 1:
        context["refusals"], context["more_refusals"] = read_refusals(database)
    return pages.TemplateResponse(request, "studies.html", context)
