"""The pages to log in and out: by name and password, or by a one-time link."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.access.caller import Caller
from dicom_node.access.events import AccessEvent, record
from dicom_node.access.links import Link, find_link
from dicom_node.access.login import (
    Entered,
    LoggedIn,
    LoginRefused,
    check_password_role,
    log_in,
    open_session,
    open_session_by_link,
)
from dicom_node.access.openid.problems import ProviderLoginRefused
from dicom_node.access.openid.provider import Provider
from dicom_node.access.sessions import end_session
from dicom_node.access.users import LinkUsed, add_first_administrator, set_password_by_link
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import Settings
from dicom_node.web.addresses import panel_address
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.login_page import BROWSER_COOKIE, LINKS, LoginForm, LoginPage
from dicom_node.web.provider_setup import redirect_uri
from dicom_node.web.secure_login import address_of, insecure

__all__ = ["login_routes"]


class _Login:
    """Logs in by what a form holds, and shows the page again where that fails."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._page = LoginPage(settings, database, pages)
        self._limits = session_limits(settings.web)

    def ask(self, request: Request, form: LoginForm) -> Response:
        used = bool(form.token) and find_link(self._database, form.token, *LINKS) is None
        return self._page.show(request, form, used=used)

    def submit(self, request: Request, form: LoginForm) -> Response:
        if insecure(request):
            return self._page.show(request, form, 403)
        link = find_link(self._database, form.token, LinkKind.FIRST)
        start = "/setup" if link else ""  # the first administrator begins with the first steps
        try:
            opened = self._logged_in(request, form)
        except LinkUsed:
            record(AccessEvent.LOGIN_REFUSED, who="", what="link not valid", address=address_of(request))
            return self._page.show(request, LoginForm(next=form.next), 403, used=True)
        except LoginRefused as refused:
            seconds = int(refused.wait.total_seconds())
            answer = self._page.show(request, form, 429 if seconds else 403, refused=str(refused))
            answer.headers.update({"Retry-After": str(seconds)} if seconds else {})
            return answer
        except InvalidEntryError as error:
            return self._page.show(request, form, 422, problems={one.field: one.sentence for one in error.problems})
        return self._page.lead_on(request, opened, form.next or start)

    def leave(self, request: Request) -> Response:
        """End the session; who came by a provider is offered to log out there too."""
        caller: Caller = request.state.user
        end_session(self._database, request.cookies.get(SESSION_COOKIE, ""))
        record(AccessEvent.LOGOUT, who=caller.name, address=address_of(request))
        address = self._logout_at_provider() if caller.is_provided and self._settings.oidc.is_on else ""
        answer: Response = RedirectResponse("/login", status_code=303)
        if address:
            answer = self._page.logged_out(request, address)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    def _logout_at_provider(self) -> str:
        try:
            provider = Provider(self._settings.oidc, redirect_uri(self._settings))
            return provider.logout_address(panel_address(self._settings) + "/login")
        except ProviderLoginRefused:
            return ""  # one is logged out here in any case

    def _logged_in(self, request: Request, form: LoginForm) -> LoggedIn:
        address = address_of(request)
        if form.token:
            return self._by_link(find_link(self._database, form.token, *LINKS), form, address)
        browser = request.cookies.get(BROWSER_COOKIE, "")
        entered = Entered(name=form.name, password=form.password, address=address, browser=browser)
        return log_in(self._database, self._limits, entered, self._least)

    def _by_link(self, link: Link | None, form: LoginForm, address: str) -> LoggedIn:
        if link is None:
            raise LinkUsed
        if link.kind is LinkKind.OPEN:
            return open_session_by_link(self._database, self._limits, form.token, address=address)
        if link.kind is LinkKind.FIRST:
            name = add_first_administrator(self._database, form.token, form.name, form.password, form.again)
        else:
            name = link.user
            check_password_role(self._database, name, self._least, address=address)
            set_password_by_link(self._database, form.token, name, form.password, form.again)
        return open_session(self._database, self._limits, name, address=address, remember=True, by="link")

    @property
    def _least(self) -> UserRole:
        """The least role that may log in by a password; administrators always may, so that nobody is locked out."""
        oidc = self._settings.oidc
        return UserRole.VIEWER if oidc.passwords or not oidc.is_on else UserRole.ADMINISTRATOR


def login_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the routes to log in and out."""
    routes = APIRouter(include_in_schema=False)
    login = _Login(settings, database, pages)

    @routes.get("/login", response_class=HTMLResponse)
    def ask(request: Request, token: str = "", next: str = "") -> Response:  # noqa: A002 - the parameter's name
        """Show a form, so that a program that only opens a link, such as a mail scanner, does not use it up."""
        return login.ask(request, LoginForm(token=token, next=next))

    @routes.post("/login")
    def enter(request: Request, form: Annotated[LoginForm, Form()]) -> Response:
        return login.submit(request, form)

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        return login.leave(request)

    return routes
