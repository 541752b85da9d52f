"""The first steps, in pages that lead an administrator from a name to a PACS that has sent a test study back.

The node's name, address and port are settings, in a TOML file or the environment: other programs may manage that file,
it holds comments, and it is read when the node starts. So no page writes it; the page shows the lines to write.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from dicom_node.database.engine import Database
from dicom_node.peers.echo import echo
from dicom_node.peers.peer import CHOICES, PeerError
from dicom_node.peers.registry import add_peer, get_peer, list_peers
from dicom_node.retrieval.connection_tests import CannotTest, newest_tests, start_test
from dicom_node.settings import Settings
from dicom_node.toml_text import toml_value
from dicom_node.web.first_run import SetupStep, confirm, end, things, where_it_stands
from dicom_node.web.peer_form import PeerForm

__all__ = ["setup_routes"]

_PREFIX = "/setup"
_MOST_PORT = 65_535
_TITLES: Mapping[SetupStep, str] = {
    SetupStep.NAME: "Name",
    SetupStep.PACS: "First PACS",
    SetupStep.ORTHANC: "Orthanc",
    SetupStep.THERE: "In the PACS",
    SetupStep.END: "What is left",
}

Show = Callable[..., Response]


class _NameForm(BaseModel):
    """The node's settings as somebody would like them."""

    ae_title: str = ""
    dicom_port: str = ""
    bind: str = ""


class _OrthancForm(BaseModel):
    """Where an Orthanc is; the password is used once, and not kept."""

    url: str = ""
    node_host: str = ""
    username: str = ""
    password: str = ""


def setup_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the pages, with plain forms that work without JavaScript; each can be left and come back to."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)

    def show(request: Request, step: SetupStep, status_code: int = 200, **shown: object) -> Response:
        common = {"step": step, "titles": _TITLES, "stands": where_it_stands(database), "node": settings.node}
        context = {**common, "problems": {}, **shown}
        return pages.TemplateResponse(request, f"setup_{step}.html", context, status_code=status_code)

    @routes.get("")
    def begin() -> Response:
        """Lead to the first page that was not left yet, or to what is left when all were."""
        return _to(where_it_stands(database).now)

    @routes.post("/next")
    def go_on(request: Request, step: Annotated[SetupStep, Form()]) -> Response:
        confirm(database, request.state.user.name, step)
        return _to(step.next)

    @routes.get("/there")
    def there(request: Request) -> Response:
        return show(request, SetupStep.THERE, host=request.url.hostname or "")

    @routes.get("/end")
    def last(request: Request) -> Response:
        return show(request, SetupStep.END, things=things(settings, database))

    @routes.post("/end")
    def leave(request: Request) -> Response:
        end(database, request.state.user.name)
        return RedirectResponse("/studies", status_code=303)

    _add_name(routes, settings, show)
    _add_pacs(routes, settings, database, show)
    _add_orthanc(routes, settings, database, show)
    return routes


def _add_name(routes: APIRouter, settings: Settings, show: Show) -> None:
    node = settings.node
    effective = _NameForm(ae_title=node.ae_title, dicom_port=str(node.dicom_port), bind=node.bind)

    @routes.get("/name")
    def name(request: Request) -> Response:
        return show(request, SetupStep.NAME, form=effective)

    @routes.post("/name")
    def other_name(request: Request, form: Annotated[_NameForm, Form()]) -> Response:
        """Show what to write so that the settings become as somebody would like them."""
        problems = _problems_of_name(settings, form)
        if problems:
            return show(request, SetupStep.NAME, 422, form=form, problems=problems)
        return show(request, SetupStep.NAME, form=form, lines=_toml(effective, form), compared=True)


def _problems_of_name(settings: Settings, form: _NameForm) -> dict[str, str]:
    problems = {}
    try:
        replace(settings.node, ae_title=form.ae_title.strip())
    except ValueError:  # what pydantic makes of a `SettingsError`
        problems["ae_title"] = "An AE title has 1 to 16 ASCII characters and no backslash."
    if any(ord(letter) < 32 or letter == "\x7f" for letter in form.ae_title):
        problems["ae_title"] = "An AE title has no control characters."
    port = form.dicom_port.strip()
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= _MOST_PORT):
        problems["dicom_port"] = f"Enter a number from 1 to {_MOST_PORT}."
    if form.bind.strip() not in (settings.node.bind, "127.0.0.1", "0.0.0.0"):  # noqa: S104 - compared, not bound
        problems["bind"] = "Choose one of these."
    return problems


def _toml(before: _NameForm, wanted: _NameForm) -> str:
    """Return the lines of a settings file that differ from what is in force; empty where nothing does."""
    values: dict[str, str | int] = {"ae_title": wanted.ae_title.strip(), "bind": wanted.bind.strip()}
    values["dicom_port"] = int(wanted.dicom_port)
    changed = {key: value for key, value in values.items() if str(value) != getattr(before, key)}
    lines = [f"{key} = {toml_value(value)}" for key, value in changed.items()]
    return "\n".join(["[node]", *lines]) if lines else ""


def _add_pacs(routes: APIRouter, settings: Settings, database: Database, show: Show) -> None:
    def page(request: Request, status_code: int = 200, **shown: object) -> Response:
        peers = list_peers(database)
        new = PeerForm(may_send=True, is_destination=True, is_source=True)
        defaults = {"peers": peers, "form": new, "choices": CHOICES}
        tests = {peer.name: next(iter(newest_tests(database, peer.name)), None) for peer in peers}
        return show(request, SetupStep.PACS, status_code, **{**defaults, "tests": tests, **shown})

    @routes.get("/pacs")
    def pacs(request: Request) -> Response:
        return page(request)

    @routes.post("/pacs")
    def add(request: Request, form: Annotated[PeerForm, Form()]) -> Response:
        try:
            add_peer(database, form.peer())
        except PeerError as error:
            return page(request, 422, form=form, problems={one.field: one.sentence for one in error.problems})
        return _to(SetupStep.PACS)

    @routes.post("/pacs/echo")
    def call(request: Request, name: Annotated[str, Form()]) -> Response:
        result = echo(get_peer(database, name), settings.node.ae_title)
        return page(request, called=name, result=result)

    @routes.post("/pacs/test")
    def test(request: Request, name: Annotated[str, Form()]) -> Response:
        try:
            start_test(settings, database, name)
        except CannotTest as refused:
            return page(request, 422, called=name, refused=str(refused))
        return _to(SetupStep.PACS)


def _add_orthanc(routes: APIRouter, settings: Settings, database: Database, show: Show) -> None:
    @routes.get("/orthanc")
    def ask(request: Request) -> Response:
        return show(request, SetupStep.ORTHANC, form=_OrthancForm())

    @routes.post("/orthanc")
    def register(request: Request, form: Annotated[_OrthancForm, Form()]) -> Response:
        """Register each with the other, as ``glionode doctor --orthanc`` does; what has come of it is shown."""
        from dicom_node.peers.orthanc import OrthancTarget, connect_orthanc, lasting_configuration  # noqa: PLC0415

        target = OrthancTarget(
            url=form.url.strip(),
            node_host=form.node_host.strip(),
            username=form.username.strip(),
            password=form.password,
        )
        checks = connect_orthanc(target, settings, database)
        lasting = lasting_configuration(target, settings) if checks[0].ok else ""
        asked = form.model_copy(update={"password": ""})
        return show(request, SetupStep.ORTHANC, form=asked, checks=checks, lasting=lasting)


def _to(step: SetupStep) -> Response:
    return RedirectResponse(f"{_PREFIX}/{step}", status_code=303)
