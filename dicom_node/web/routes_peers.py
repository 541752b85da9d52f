"""The pages of the AE titles, with plain forms that work without JavaScript."""

from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.peers.activity import activity_of, waiting_for
from dicom_node.peers.echo import echo
from dicom_node.peers.peer import CHOICES, Peer, PeerError
from dicom_node.peers.registry import add_peer, change_peer, get_peer, list_peers, remove_peer, set_enabled
from dicom_node.retrieval.connection_tests import CannotTest, newest_tests, start_test
from dicom_node.routing.versions import routing_rules
from dicom_node.settings import Settings
from dicom_node.web.peer_form import PeerForm

__all__ = ["peer_page_routes", "peer_routes"]

_PREFIX = "/peers"

ON_PAGE = "peer"
"""Value of the field `on` of a form that stands on the page of its peer, and not in the list."""

On = Annotated[str, Form()]


def peer_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the list of the peers and the targets of its forms."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)

    def show(request: Request, *, status_code: int = 200, **shown: object) -> Response:
        peers = list_peers(database)
        defaults = {
            "peers": peers,
            "waiting": {peer.name: waiting_for(database, peer.name) for peer in peers},
            "node": settings.node,
            "form": PeerForm(may_send=True),
            "choices": CHOICES,
            "problems": {},
        }
        return pages.TemplateResponse(request, "peers.html", {**defaults, **shown}, status_code=status_code)

    @routes.get("")
    def listed(request: Request) -> Response:
        return show(request)

    @routes.post("")
    def add(request: Request, form: Annotated[PeerForm, Form()]) -> Response:
        try:
            add_peer(database, form.peer())
        except PeerError as error:
            return show(request, status_code=422, form=form, problems=_problems(error))
        return RedirectResponse("/peers", status_code=303)

    @routes.post("/{name}/echo")
    def call(request: Request, name: str, on: On = "") -> Response:
        result = echo(get_peer(database, name), settings.node.ae_title)
        if on == ON_PAGE:
            return _page(request, settings, database, pages, get_peer(database, name), result=result)
        return show(request, called=name, result=result)

    return routes


def peer_page_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page of one peer and the targets of its forms."""
    routes = APIRouter(prefix=_PREFIX + "/{name}", include_in_schema=False)

    @routes.get("")
    def one(request: Request, name: str) -> Response:
        return _page(request, settings, database, pages, get_peer(database, name))

    @routes.post("")
    def change(request: Request, name: str, form: Annotated[PeerForm, Form()]) -> Response:
        peer = get_peer(database, name)
        try:
            change_peer(database, form.peer(peer.name))
        except PeerError as error:
            shown = {"form": form, "problems": _problems(error)}
            return _page(request, settings, database, pages, peer, status_code=422, **shown)
        return RedirectResponse(_address(name) + "?saved=1", status_code=303)

    @routes.post("/test")
    def test(request: Request, name: str) -> Response:
        try:
            start_test(settings, database, name)
        except CannotTest as refused:
            peer = get_peer(database, name)
            return _page(request, settings, database, pages, peer, status_code=422, refused=str(refused))
        return RedirectResponse(_address(name) + "#test", status_code=303)

    routes.include_router(_ends(database, pages))
    return routes


def _ends(database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return what removes a peer, and enables or disables it."""
    routes = APIRouter()

    @routes.get("/remove")
    def ask(request: Request, name: str) -> Response:
        named_by = [rule.name for rule in routing_rules(database) if name in rule.destinations]
        shown = {"peer": get_peer(database, name), "waiting": waiting_for(database, name), "named_by": named_by}
        return pages.TemplateResponse(request, "peer_remove.html", shown)

    @routes.post("/remove")
    def remove(name: str) -> Response:
        remove_peer(database, name)
        return RedirectResponse("/peers", status_code=303)

    @routes.post("/{action}")
    def switch(name: str, action: Literal["enable", "disable"], on: On = "") -> Response:
        set_enabled(database, name, enabled=action == "enable")
        return RedirectResponse(_address(name) if on == ON_PAGE else "/peers", status_code=303)

    return routes


def _page(
    request: Request,
    settings: Settings,
    database: Database,
    pages: Jinja2Templates,
    peer: Peer,
    *,
    status_code: int = 200,
    **shown: object,
) -> Response:
    defaults = {
        "peer": peer,
        "node": settings.node,
        "form": PeerForm.of(peer),
        "choices": CHOICES,
        "problems": {},
        "waiting": waiting_for(database, peer.name),
        "activity": activity_of(database, peer),
        "tests": newest_tests(database, peer.name),
        "saved": "saved" in request.query_params,
    }
    return pages.TemplateResponse(request, "peer.html", {**defaults, **shown}, status_code=status_code)


def _problems(error: PeerError) -> dict[str, str]:
    return {problem.field: problem.sentence for problem in error.problems}


def _address(name: str) -> str:
    return f"{_PREFIX}/{quote(name, safe='')}"
