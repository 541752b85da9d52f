"""The login page as one or another request leaves it, the way on from it, and the cookies of a login."""

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel

from dicom_node.access.links import VALID, find_link
from dicom_node.access.login import LoggedIn
from dicom_node.access.passwords import LEAST_CHARACTERS
from dicom_node.access.sessions import end_session
from dicom_node.access.users import has_administrator, somebody_can_log_in
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.settings import Settings
from dicom_node.web.addresses import panel_address, way_back
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.provider_setup import PROVIDER_LOGIN
from dicom_node.web.secure_login import insecure

__all__ = ["BROWSER_COOKIE", "LINKS", "LoginForm", "LoginPage", "set_session_cookie"]

BROWSER_COOKIE = "glionode_browser"
LINKS = (LinkKind.FIRST, LinkKind.PASSWORD, LinkKind.OPEN)


class LoginForm(BaseModel):
    """The form as entered; a link's form has a token, and `again` where a password is set."""

    token: str = ""
    name: str = ""
    password: str = ""
    again: str = ""
    next: str = ""


class LoginPage:
    """Shows the page, and leads on from it once somebody is logged in."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._pages = pages

    def show(self, request: Request, form: LoginForm, status_code: int = 200, **shown: object) -> Response:
        """Return the page with what was entered, but for passwords."""
        oidc = self._settings.oidc
        context = {
            "form": form,
            "link": find_link(self._database, form.token, *LINKS),
            "next": way_back(self._settings, request, form.next),
            "insecure": insecure(request),
            "has_administrator": has_administrator(self._database),
            "has_password": somebody_can_log_in(self._database),
            "least": LEAST_CHARACTERS,
            "hours": self._settings.web.session_hours,
            "provider": oidc.name if oidc.is_on else "",
            # The address that the provider leads back to: the cookie of a login under way belongs to its host.
            "provider_login": panel_address(self._settings) + PROVIDER_LOGIN,
            "passwords": oidc.passwords or not oidc.is_on,
            "problems": {},
            **shown,
        }
        return self._pages.TemplateResponse(request, "login.html", context, status_code=status_code)

    def lead_on(self, request: Request, opened: LoggedIn, entered: str, *, by_page: bool = False) -> Response:
        """Lead somebody who is logged in to where they wanted to go, in a new session.

        To browsers the viewer is another origin, to which the panel's content security policy lets no form lead. Nor
        do they send a new cookie along where another site's page has begun a chain of redirects. A page of the panel's
        own leads on in both cases.

        Parameters
        ----------
        entered
            The way back, as the request states it.
        by_page
            Whether another site's page has led here.
        """
        request.state.logged_in_as = opened.name  # whom the audit trail names
        end_session(self._database, request.cookies.get(SESSION_COOKIE, ""))
        address = way_back(self._settings, request, entered)
        if address.startswith("/") and not by_page:
            answer: Response = RedirectResponse(address, status_code=303)
        else:
            answer = self._pages.TemplateResponse(request, "logged_in.html", {"next": address})
        set_session_cookie(request, answer, self._settings, opened)
        return answer

    def logged_out(self, request: Request, address: str) -> Response:
        """Say that somebody is logged out here, with the address at which they log out at the provider too."""
        context = {"provider": self._settings.oidc.name, "address": address}
        return self._pages.TemplateResponse(request, "logged_out.html", context)


def set_session_cookie(request: Request, answer: Response, settings: Settings, opened: LoggedIn) -> None:
    """Give a browser the cookies of a login, which scripts cannot read and other sites do not cause to be sent."""
    lasting = {SESSION_COOKIE: (opened.session, int(session_limits(settings.web).longest.total_seconds()))}
    if opened.browser:
        lasting[BROWSER_COOKIE] = (opened.browser, int(VALID[LinkKind.DEVICE].total_seconds()))
    for name, (value, max_age) in lasting.items():
        secure = request.url.scheme == "https"
        answer.set_cookie(name, value, max_age=max_age, httponly=True, samesite="strict", secure=secure)
