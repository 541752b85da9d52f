"""The pages of the routing rules: built in a plain form, tried against stored studies, saved as versions."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.database.engine import Database
from dicom_node.peers.registry import list_peers
from dicom_node.routing.rule import CALLED, CALLING, Operator, RoutingError, RoutingRule
from dicom_node.routing.rules_toml import rules_as_toml
from dicom_node.routing.trial import try_routes
from dicom_node.routing.versions import check_destinations, check_models, restore, routing_rules, save_rules, versions
from dicom_node.settings import Settings
from dicom_node.web.routing_form import RoutingForm

__all__ = ["routing_change_routes", "routing_routes"]

_PREFIX = "/routing"

SUGGESTED = (
    CALLED, CALLING, "StudyDescription", "SeriesDescription", "BodyPartExamined", "StationName", "Modality",
    "PatientAge", "Manufacturer", "InstitutionName", "ProtocolName", "MagneticFieldStrength", "StudyDate",
)  # fmt: skip

WORDS = {
    Operator.EQUALS: "is",
    Operator.CONTAINS: "contains",
    Operator.MATCHES: "matches (* and ?)",
    Operator.ONE_OF: "is one of (a, b)",
    Operator.AT_LEAST: "is at least",
    Operator.AT_MOST: "is at most",
    Operator.ABSENT: "is absent",
}

Place = Annotated[int, Form()]


def routing_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the list of the rules with its versions, and the form of a rule with its dry run."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)
    show = _Shown(settings, database, pages)

    @routes.get("")
    def listed(request: Request) -> Response:
        shown = {"rules": routing_rules(database), "versions": versions(database), "node": settings.node}
        return pages.TemplateResponse(request, "routing.html", {**shown, "words": WORDS})

    @routes.get("/export")
    def export() -> Response:
        return PlainTextResponse(rules_as_toml(routing_rules(database)), media_type="application/toml")

    @routes.get("/rule")
    def edit(request: Request, place: int = 0) -> Response:
        rules = routing_rules(database)
        known = 0 < place <= len(rules)
        return show.form(request, RoutingForm.of(rules[place - 1], place) if known else RoutingForm())

    @routes.post("/preview")
    def preview(request: Request, form: Annotated[RoutingForm, Form()]) -> Response:
        try:
            rules = _with(database, settings.node.folder, form)
        except RoutingError as error:
            return show.form(request, form, status_code=422, problem=str(error))
        return show.form(request, form, trial=try_routes(database, settings.node.folder, rules))

    @routes.post("")
    def save(request: Request, form: Annotated[RoutingForm, Form()]) -> Response:
        try:
            rules = _with(database, settings.node.folder, form)
            save_rules(database, rules, request.state.user.name, f"rule {form.name.strip()!r} saved")
        except RoutingError as error:
            return show.form(request, form, status_code=422, problem=str(error))
        return RedirectResponse(_PREFIX, status_code=303)

    return routes


def routing_change_routes(database: Database) -> APIRouter:
    """Return what removes and moves a rule, and restores a version; each is a version of its own."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)

    @routes.post("/remove")
    def remove(request: Request, name: Annotated[str, Form()] = "") -> Response:
        rules = routing_rules(database)
        left = [rule for rule in rules if rule.name != name]
        if len(left) < len(rules):
            save_rules(database, left, request.state.user.name, f"rule {name!r} removed")
        return RedirectResponse(_PREFIX, status_code=303)

    @routes.post("/up")
    def move_up(request: Request, name: Annotated[str, Form()] = "") -> Response:
        rules = list(routing_rules(database))
        place = next((place for place, rule in enumerate(rules) if rule.name == name), 0)
        if place:
            rules[place - 1 : place + 1] = rules[place], rules[place - 1]
            save_rules(database, rules, request.state.user.name, f"rule {name!r} moved up")
        return RedirectResponse(_PREFIX, status_code=303)

    @routes.post("/restore")
    def undo(request: Request, number: Place = 0) -> Response:
        restore(database, number, request.state.user.name)
        return RedirectResponse(_PREFIX, status_code=303)

    return routes


def _with(database: Database, folder: Path, form: RoutingForm) -> list[RoutingRule]:
    """Return all rules as they would be with the one that was entered: in its place, or a new one as the last.

    Raises
    ------
    RoutingError
        For a rule that cannot be used, or a name that another rule has.
    """
    rules, rule = list(routing_rules(database)), form.rule()
    if 0 < form.place <= len(rules):
        rules[form.place - 1] = rule
    else:
        rules.append(rule)
    check_destinations(database, [rule])
    check_models(folder, [rule])
    return rules


class _Shown:
    """Shows the form of a rule."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._titles, self._database, self._pages = settings.node.ae_titles, database, pages

    def form(self, request: Request, form: RoutingForm, *, status_code: int = 200, **shown: object) -> Response:
        context = {
            "form": form,
            "suggested": SUGGESTED,
            "words": WORDS,
            "titles": self._titles,
            "peers": [peer for peer in list_peers(self._database) if peer.is_destination],
            "priorities": ("stat", "high", "routine"),
        }
        return self._pages.TemplateResponse(request, "routing_rule.html", {**context, **shown}, status_code=status_code)
