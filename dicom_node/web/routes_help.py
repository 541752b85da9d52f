"""The page Help: pictures of sequences and regions, what each page is for, every code, what the node does not do."""

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.states import UserRole
from dicom_node.web.duties import duty_words
from dicom_node.web.explained.groups import GROUPS
from dicom_node.web.explained.pages import PAGES

__all__ = ["help_routes"]

_ROLES = {role: duty_words(role) for role in UserRole}


def help_routes(pages: Jinja2Templates) -> APIRouter:
    """Return the page; it is the same for everyone and says nothing about this node's studies."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/help")
    def explain(request: Request) -> Response:
        return pages.TemplateResponse(request, "help.html", {"groups": GROUPS, "all_pages": PAGES, "roles": _ROLES})

    return routes
