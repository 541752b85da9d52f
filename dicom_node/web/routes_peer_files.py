"""Export of the peers as TOML, and import with a preview of what it would change."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.peers.peer import PeerError
from dicom_node.peers.registry import export_peers, import_peers, plan_import

__all__ = ["peer_file_routes"]

Entered = Annotated[str, Form()]


def peer_file_routes(database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the file, and the two steps of an import: a preview, and doing it."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/peers.toml")
    def export() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="peers.toml"'}
        return PlainTextResponse(export_peers(database), media_type="application/toml", headers=headers)

    @routes.get("/peers-import")
    def ask(request: Request) -> Response:
        return _show(request, database, pages, "")

    @routes.post("/peers-import")
    def preview(request: Request, text: Entered = "") -> Response:
        return _previewed(request, database, pages, text)

    @routes.post("/peers-import/confirmed")
    def confirmed(request: Request, text: Entered = "", seen: Entered = "") -> Response:
        """Import what was previewed; if the peers have changed since, show a new preview instead."""
        if seen != _state(database):
            return _previewed(request, database, pages, text, outdated=True)
        try:
            import_peers(database, text)
        except PeerError as error:
            return _show(request, database, pages, text, status_code=422, problem=str(error))
        return RedirectResponse("/peers", status_code=303)

    return routes


def _previewed(
    request: Request, database: Database, pages: Jinja2Templates, text: str, *, outdated: bool = False
) -> Response:
    try:
        plan = plan_import(database, text)
    except PeerError as error:
        return _show(request, database, pages, text, status_code=422, problem=str(error))
    return _show(request, database, pages, text, status_code=409 if outdated else 200, plan=plan, outdated=outdated)


def _show(
    request: Request, database: Database, pages: Jinja2Templates, text: str, *, status_code: int = 200, **shown: object
) -> Response:
    context = {"text": text, "seen": _state(database), **shown}
    return pages.TemplateResponse(request, "peers_import.html", context, status_code=status_code)


def _state(database: Database) -> str:
    """Return a hash of all peers as they are now."""
    return hashlib.sha256(export_peers(database).encode()).hexdigest()
