"""The page of the users, for administrators; passwords are set by their users alone, by one-time links."""

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.access.users import (
    UnknownUser,
    add_user,
    list_users,
    new_password_link,
    remove_user,
    set_enabled,
    set_role,
)
from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import Settings
from dicom_node.web.duties import duty_words

__all__ = ["user_routes"]

ROLES = {role: f"may {duty_words(role)}" for role in UserRole}


class _Page:
    """The page of the users, as one or another request leaves it."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._pages = pages

    def show(self, request: Request, status_code: int = 200, **shown: object) -> Response:
        context = {"users": list_users(self._database), "roles": ROLES, "problems": {}, "form": {}, **shown}
        return self._pages.TemplateResponse(request, "users.html", context, status_code=status_code)

    def with_link(self, request: Request, name: str) -> Response:
        base = self._settings.web.address or str(request.base_url)
        link = new_password_link(self._database, base, name, request.state.user.name)
        return self.show(request, made_for=name, link=link)

    def change(self, request: Request, change: Callable[[], object]) -> Response:
        try:
            change()
        except InvalidEntryError as error:
            return self.show(request, 404 if isinstance(error, UnknownUser) else 409, refused=str(error))
        return RedirectResponse("/users", status_code=303)


def user_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and the targets of its forms."""
    routes = APIRouter(prefix="/users", include_in_schema=False)
    page = _Page(settings, database, pages)

    @routes.get("")
    def listed(request: Request) -> Response:
        return page.show(request)

    @routes.post("")
    def add(request: Request, name: Annotated[str, Form()] = "", role: Annotated[str, Form()] = "") -> Response:
        if role not in ROLES:
            return page.show(request, 422, problems={"role": "Choose a role."}, form={"name": name})
        try:
            kept = add_user(database, name, UserRole(role), request.state.user.name)
        except InvalidEntryError as error:
            problems = {one.field: one.sentence for one in error.problems}
            return page.show(request, 422, problems=problems, form={"name": name, "role": role})
        return page.with_link(request, kept)

    _add_changes(routes, database, page)
    return routes


def _add_changes(routes: APIRouter, database: Database, page: _Page) -> None:
    @routes.post("/{name}/role")
    def change_role(request: Request, name: str, role: Annotated[UserRole, Form()]) -> Response:
        return page.change(request, lambda: set_role(database, name, role, request.state.user.name))

    @routes.post("/{name}/{action}")
    def change(request: Request, name: str, action: Literal["reset", "enable", "disable", "remove"]) -> Response:
        by = request.state.user.name
        if action == "remove":
            return page.change(request, lambda: remove_user(database, name, by))
        if action != "reset":
            return page.change(request, lambda: set_enabled(database, name, by, enabled=action == "enable"))
        try:
            return page.with_link(request, name)
        except InvalidEntryError as error:
            return page.show(request, 404 if isinstance(error, UnknownUser) else 409, refused=str(error))
