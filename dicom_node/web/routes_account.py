"""The page of one's own account: role, sessions, another password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.access.caller import Caller
from dicom_node.access.events import AccessEvent, record
from dicom_node.access.login import LoginRefused, open_session, right_password
from dicom_node.access.passwords import LEAST_CHARACTERS
from dicom_node.access.sessions import end_all, sessions_of
from dicom_node.access.users import change_password
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import Settings
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.login_page import set_session_cookie
from dicom_node.web.secure_login import address_of, insecure

__all__ = ["account_routes"]


def account_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the page and the targets of its forms."""
    routes = APIRouter(prefix="/account", include_in_schema=False)
    limits = session_limits(settings.web)

    def show(request: Request, status_code: int = 200, problems: dict[str, str] | None = None) -> Response:
        user: Caller = request.state.user
        context = {
            "user": user,
            "sessions": sessions_of(database, user.name, limits),
            "least": LEAST_CHARACTERS,
            "idle_minutes": settings.web.idle_minutes,
            "session_hours": settings.web.session_hours,
            "problems": problems or {},
        }
        return pages.TemplateResponse(request, "account.html", context, status_code=status_code)

    @routes.get("")
    def account(request: Request) -> Response:
        return show(request)

    @routes.post("/password")
    def password(
        request: Request,
        old: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        again: Annotated[str, Form()] = "",
    ) -> Response:
        name, address = request.state.user.name, address_of(request)
        if problem := insecure(request):
            return show(request, 403, {"old": problem})
        try:
            right_password(database, name, old, address=address)
            change_password(database, name, password, again)
        except LoginRefused as refused:
            return show(request, 429 if refused.wait else 403, {"old": str(refused)})
        except InvalidEntryError as error:
            return show(request, 422, {one.field: one.sentence for one in error.problems})
        answer = RedirectResponse("/account", status_code=303)
        opened = open_session(database, limits, name, address=address, remember=True)
        set_session_cookie(request, answer, settings, opened)
        return answer

    _add_logout(routes, database)
    return routes


def _add_logout(routes: APIRouter, database: Database) -> None:
    @routes.post("/logout-everywhere")
    def log_out_everywhere(request: Request) -> Response:
        name = request.state.user.name
        with database.session() as session:
            end_all(session, name)
        record(AccessEvent.LOGOUT, who=name, what="everywhere", address=address_of(request))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer
