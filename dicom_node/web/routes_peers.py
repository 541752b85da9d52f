"""The page of the AE titles, with plain forms that work without JavaScript."""

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from dicom_node.database.engine import Database
from dicom_node.peers.echo import echo
from dicom_node.peers.peer import CHOICES, Peer, PeerError
from dicom_node.peers.registry import add_peer, get_peer, list_peers, remove_peer, set_enabled
from dicom_node.settings import Settings

__all__ = ["peer_routes"]

_DIGITS = 10
"""Digits of the largest number in an integer string (PS3.5 6.2)."""


class _PeerForm(BaseModel):
    """The form as entered, so that it can be shown again with its errors."""

    name: str = ""
    ae_title: str = ""
    host: str = ""
    port: str = ""
    may_send: bool = False
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    send_by: str = "c-store"
    objects: str = "SEG,SR"
    transfer_syntax: str = "explicit"
    seg_form: str = "binary"
    seg_series: str = "7701"
    sr_series: str = "7702"
    proof: str = "auto"

    def peer(self) -> Peer:
        """Return the peer; an entry that is not a number becomes one that is refused."""
        return Peer(
            **self.model_dump(exclude={"port", "seg_series", "sr_series"}),
            port=_number(self.port) if self.port.strip() else 0,
            seg_series=_number(self.seg_series),
            sr_series=_number(self.sr_series),
        )


def _number(entered: str) -> int:
    text = entered.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else -1


def peer_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and the targets of its forms."""
    routes = APIRouter(prefix="/peers", include_in_schema=False)

    def show(request: Request, *, status_code: int = 200, **shown: object) -> Response:
        defaults = {
            "peers": list_peers(database),
            "node": settings.node,
            "form": _PeerForm(may_send=True),
            "choices": CHOICES,
        }
        return pages.TemplateResponse(request, "peers.html", {**defaults, **shown}, status_code=status_code)

    @routes.get("")
    def listed(request: Request) -> Response:
        return show(request)

    @routes.post("")
    def add(request: Request, form: Annotated[_PeerForm, Form()]) -> Response:
        try:
            add_peer(database, form.peer())
        except PeerError as error:
            problems = {problem.field: problem.sentence for problem in error.problems}
            return show(request, status_code=422, form=form, problems=problems)
        return RedirectResponse("/peers", status_code=303)

    @routes.post("/{name}/echo")
    def call(request: Request, name: str) -> Response:
        return show(request, called=name, result=echo(get_peer(database, name), settings.node.ae_title))

    @routes.post("/{name}/remove")
    def remove(name: str) -> Response:
        remove_peer(database, name)
        return RedirectResponse("/peers", status_code=303)

    @routes.post("/{name}/{action}")
    def change(name: str, action: Literal["enable", "disable"]) -> Response:
        set_enabled(database, name, enabled=action == "enable")
        return RedirectResponse("/peers", status_code=303)

    return routes
