"""The pages to log in and out: by name and password, or by a one-time link."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from dicom_node.access.events import AccessEvent, record
from dicom_node.access.links import VALID, Link, find_link
from dicom_node.access.login import LoggedIn, LoginRefused, log_in, open_session, open_session_by_link
from dicom_node.access.passwords import LEAST_CHARACTERS
from dicom_node.access.sessions import end_session
from dicom_node.access.users import (
    LinkUsed,
    add_first_administrator,
    has_administrator,
    set_password_by_link,
    somebody_can_log_in,
)
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import Settings
from dicom_node.web.addresses import way_back
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.secure_login import address_of, insecure

__all__ = ["login_routes", "set_session_cookie"]

_BROWSER_COOKIE = "glionode_browser"
_LINKS = (LinkKind.FIRST, LinkKind.PASSWORD, LinkKind.OPEN)


class _LoginForm(BaseModel):
    """The form as entered; a link's form has a token, and `again` where a password is set."""

    token: str = ""
    name: str = ""
    password: str = ""
    again: str = ""
    next: str = ""


class _Login:
    """Logs in by what a form holds, and shows the page again where that fails."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._pages = pages
        self._limits = session_limits(settings.web)

    def page(self, request: Request, form: _LoginForm, status_code: int = 200, **shown: object) -> Response:
        link = find_link(self._database, form.token, *_LINKS)
        context = {
            "form": form,
            "link": link,
            "next": way_back(self._settings, request, form.next),
            "insecure": insecure(request),
            "has_administrator": has_administrator(self._database),
            "has_password": somebody_can_log_in(self._database),
            "least": LEAST_CHARACTERS,
            "hours": self._settings.web.session_hours,
            "problems": {},
            **shown,
        }
        return self._pages.TemplateResponse(request, "login.html", context, status_code=status_code)

    def submit(self, request: Request, form: _LoginForm) -> Response:
        if insecure(request):
            return self.page(request, form, 403)
        link = find_link(self._database, form.token, LinkKind.FIRST)
        start = "/setup" if link else ""  # the first administrator begins with the first steps
        try:
            opened = self._logged_in(request, form)
        except LinkUsed:
            record(AccessEvent.LOGIN_REFUSED, who="", what="link not valid", address=address_of(request))
            return self.page(request, _LoginForm(next=form.next), 403, used=True)
        except LoginRefused as refused:
            seconds = int(refused.wait.total_seconds())
            answer = self.page(request, form, 429 if seconds else 403, refused=str(refused))
            answer.headers.update({"Retry-After": str(seconds)} if seconds else {})
            return answer
        except InvalidEntryError as error:
            return self.page(request, form, 422, problems={one.field: one.sentence for one in error.problems})
        request.state.logged_in_as = opened.name  # whom the audit trail names
        end_session(self._database, request.cookies.get(SESSION_COOKIE, ""))
        answer = self._onward(request, way_back(self._settings, request, form.next or start))
        set_session_cookie(request, answer, self._settings, opened)
        return answer

    def _onward(self, request: Request, address: str) -> Response:
        """Lead to a page of the panel, or by a page of its own to the viewer.

        To browsers the viewer is another origin, to which the panel's content security policy lets no form lead.
        """
        if address.startswith("/"):
            return RedirectResponse(address, status_code=303)
        return self._pages.TemplateResponse(request, "logged_in.html", {"next": address})

    def _logged_in(self, request: Request, form: _LoginForm) -> LoggedIn:
        facts = {"address": address_of(request)}
        if form.token:
            return self._by_link(find_link(self._database, form.token, *_LINKS), form, **facts)
        browser = request.cookies.get(_BROWSER_COOKIE, "")
        return log_in(self._database, self._limits, form.name, form.password, browser=browser, **facts)

    def _by_link(self, link: Link | None, form: _LoginForm, address: str) -> LoggedIn:
        if link is None:
            raise LinkUsed
        if link.kind is LinkKind.OPEN:
            return open_session_by_link(self._database, self._limits, form.token, address=address)
        if link.kind is LinkKind.FIRST:
            name = add_first_administrator(self._database, form.token, form.name, form.password, form.again)
        else:
            name = link.user
            set_password_by_link(self._database, form.token, name, form.password, form.again)
        return open_session(self._database, self._limits, name, address=address, remember=True, by="link")


def login_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the routes to log in and out."""
    routes = APIRouter(include_in_schema=False)
    login = _Login(settings, database, pages)

    @routes.get("/login", response_class=HTMLResponse)
    def ask(request: Request, token: str = "", next: str = "") -> Response:  # noqa: A002 - the parameter's name
        """Show a form, so that a program that only opens a link, such as a mail scanner, does not use it up."""
        form = _LoginForm(token=token, next=next)
        return login.page(request, form, used=bool(token) and find_link(database, token, *_LINKS) is None)

    @routes.post("/login")
    def enter(request: Request, form: Annotated[_LoginForm, Form()]) -> Response:
        return login.submit(request, form)

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        end_session(database, request.cookies.get(SESSION_COOKIE, ""))
        record(AccessEvent.LOGOUT, who=request.state.user.name, address=address_of(request))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    return routes


def set_session_cookie(request: Request, answer: Response, settings: Settings, opened: LoggedIn) -> None:
    """Give a browser the cookies of a login, which scripts cannot read and other sites do not cause to be sent."""
    lasting = {SESSION_COOKIE: (opened.session, int(session_limits(settings.web).longest.total_seconds()))}
    if opened.browser:
        lasting[_BROWSER_COOKIE] = (opened.browser, int(VALID[LinkKind.DEVICE].total_seconds()))
    for name, (value, max_age) in lasting.items():
        secure = request.url.scheme == "https"
        answer.set_cookie(name, value, max_age=max_age, httponly=True, samesite="strict", secure=secure)
