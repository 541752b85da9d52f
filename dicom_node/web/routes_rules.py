"""The pages of the site rules, with plain forms and a preview of what a rule would change before it is saved."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from conversion.sequences import Role
from dicom_node.database.engine import Database
from dicom_node.rules.site_rules import (
    KINDS,
    RuleError,
    add_rule,
    export_rules,
    free_name,
    make_rule,
    move_rule,
    remove_rule,
    site_rules,
)
from dicom_node.settings import Settings
from dicom_node.studies.rule_trial import try_rules

__all__ = ["NOT_USED", "USED", "RuleForm", "new_rule_routes", "rule_routes"]

_PREFIX = "/rules"

USED = tuple(map(str, Role))
NOT_USED = tuple(kind for kind in KINDS if kind not in USED)


class RuleForm(BaseModel):
    """A rule as entered, and the key of the study whose page it was entered on."""

    name: str = ""
    kind: str = ""
    manufacturer: str = ""
    station: str = ""
    description: str = ""
    protocol: str = ""
    technique: str = ""
    study: str = ""


def rule_routes(database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the list of the rules and the targets of its forms."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)

    @routes.get("")
    def listed(request: Request) -> Response:
        rules = site_rules(database)
        return _page(pages, request, "rules.html", RuleForm(name=free_name(rules)), rules=rules)

    @routes.get("/export")
    def export() -> Response:
        return PlainTextResponse(export_rules(site_rules(database)), media_type="application/toml")

    @routes.post("/remove")
    def remove(name: Annotated[str, Form()] = "") -> Response:
        remove_rule(database, name)
        return RedirectResponse("/rules", status_code=303)

    @routes.post("/move")
    def move(name: Annotated[str, Form()] = "", place: Annotated[int, Form()] = 1) -> Response:
        move_rule(database, name, place)
        return RedirectResponse("/rules", status_code=303)

    return routes


def new_rule_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the two steps to a new rule: a preview of its changes, and saving it."""
    routes = APIRouter(prefix=_PREFIX, include_in_schema=False)

    @routes.post("/preview")
    def preview(request: Request, form: Annotated[RuleForm, Form()]) -> Response:
        try:
            rule = make_rule(form.model_dump())
        except RuleError as error:
            return _wrong(pages, request, form, error)
        trial = try_rules(database, settings.node.folder, (rule, *site_rules(database)))
        return _page(pages, request, "rule_preview.html", form, trial=trial)

    @routes.post("")
    def save(request: Request, form: Annotated[RuleForm, Form()]) -> Response:
        try:
            add_rule(database, make_rule(form.model_dump()))
        except RuleError as error:
            return _wrong(pages, request, form, error)
        known = form.study.isalnum() and form.study.isascii()  # other text must not become part of an address
        return RedirectResponse(f"/studies/{form.study}?saved=1" if known else "/rules", status_code=303)

    return routes


def _page(pages: Jinja2Templates, request: Request, name: str, form: RuleForm, **shown: object) -> Response:
    context = {"form": form, "roles": USED, "others": NOT_USED, "problems": {}, **shown}
    return pages.TemplateResponse(request, name, context, status_code=422 if "problems" in shown else 200)


def _wrong(pages: Jinja2Templates, request: Request, form: RuleForm, error: RuleError) -> Response:
    problems = {problem.field: problem.sentence for problem in error.problems}
    return _page(pages, request, "rule_preview.html", form, problems=problems)
