"""The login by OpenID Connect: the way to the provider, and the way back from it."""

from urllib.parse import parse_qs, urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_node.access.events import AccessEvent, record
from dicom_node.access.links import VALID
from dicom_node.access.login import open_session
from dicom_node.access.openid.begun import begin_login, take_up
from dicom_node.access.openid.claims import provided
from dicom_node.access.openid.people import Known, put_provided
from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.access.openid.provider import Provider
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.settings import Settings
from dicom_node.web.addresses import way_back
from dicom_node.web.auth import session_limits
from dicom_node.web.login_page import LoginForm, LoginPage
from dicom_node.web.provider_setup import CALLBACK, PROVIDER_LOGIN, redirect_uri
from dicom_node.web.secure_login import address_of, insecure

__all__ = ["oidc_routes"]

_COOKIE = "glionode_login"
_LONGEST_WAY_BACK = 1500
"""Characters; a browser keeps no cookie above 4 KiB."""


class _Way:
    """The way to the provider and back."""

    def __init__(self, settings: Settings, database: Database, pages: Jinja2Templates) -> None:
        self._settings = settings
        self._database = database
        self._page = LoginPage(settings, database, pages)
        self._provider = Provider(settings.oidc, redirect_uri(settings))

    def there(self, request: Request, next_address: str) -> Response:
        """Lead to the provider, and tie the login to this browser."""
        if not self._settings.oidc.is_on:
            raise HTTPException(404)
        if insecure(request):
            return self._page.show(request, LoginForm(next=next_address), 403)
        begun = begin_login(self._database)
        try:
            answer = RedirectResponse(self._provider.login_address(begun), status_code=303)
        except ProviderLoginRefused as refused:
            return self._refused(request, refused, next_address)
        back = way_back(self._settings, request, next_address)
        kept = {"secret": begun.secret} | ({"next": back} if len(back) <= _LONGEST_WAY_BACK else {})
        answer.set_cookie(
            _COOKIE,
            urlencode(kept),
            max_age=int(VALID[LinkKind.PROVIDER].total_seconds()),
            path=PROVIDER_LOGIN,
            httponly=True,
            samesite="lax",  # a page of the provider leads back: with "strict" it would not be sent then
            secure=request.url.scheme == "https",
        )
        return answer

    def back(self, request: Request) -> Response:
        """Log in whom the provider has sent back."""
        if not self._settings.oidc.is_on:
            raise HTTPException(404)
        if insecure(request):
            return self._page.show(request, LoginForm(), 403)
        kept = parse_qs(request.cookies.get(_COOKIE, ""))
        next_address = kept.get("next", [""])[0]
        try:
            known = self._known(request, kept.get("secret", [""])[0])
        except ProviderLoginRefused as refused:
            return self._refused(request, refused, next_address)
        limits, address = session_limits(self._settings.web), address_of(request)
        opened = open_session(self._database, limits, known.name, address=address, remember=False, by="oidc")
        request.state.user_changed = known.change  # for the audit trail
        answer = self._page.lead_on(request, opened, next_address, by_page=True)
        _forget(answer)
        return answer

    def _known(self, request: Request, secret: str) -> Known:
        begun = take_up(self._database, secret, request.query_params.get("state", ""))
        if begun is None:
            raise ProviderLoginRefused(Problem.NOT_BEGUN)
        oidc = self._settings.oidc
        if request.query_params.get("iss", oidc.issuer) != oidc.issuer:  # RFC 9207
            raise ProviderLoginRefused(Problem.ISSUER)
        return put_provided(self._database, provided(oidc, self._provider.claims(begun, _code(request))))

    def _refused(self, request: Request, refused: ProviderLoginRefused, next_address: str) -> Response:
        """Say why on the login page; the log gets a word, and a name only of a user of this node."""
        what = f"oidc: {refused.problem}"
        record(AccessEvent.LOGIN_REFUSED, who=refused.who, what=what, address=address_of(request))
        sentence = refused.problem.sentence(self._settings.oidc.name)
        answer = self._page.show(request, LoginForm(next=next_address), 403, refused=sentence)
        if refused.problem is not Problem.NOT_BEGUN:  # another login may be under way
            _forget(answer)
        return answer


def _code(request: Request) -> str:
    """Return the code that the provider gave; an answer without one says why (RFC 6749, 4.1.2.1)."""
    stated = request.query_params
    if error := stated.get("error"):
        raise ProviderLoginRefused(Problem.DECLINED if error == "access_denied" else Problem.REFUSED)
    if not stated.get("code"):
        raise ProviderLoginRefused(Problem.REFUSED)
    return stated["code"]


def _forget(answer: Response) -> None:
    answer.delete_cookie(_COOKIE, path=PROVIDER_LOGIN, httponly=True, samesite="lax")


def oidc_routes(settings: Settings, database: Database, pages: Jinja2Templates) -> APIRouter:
    """Return the two routes; where the login by OpenID Connect is off, there is nothing at their addresses."""
    routes = APIRouter(include_in_schema=False)
    way = _Way(settings, database, pages)

    @routes.get(PROVIDER_LOGIN)
    def to_provider(request: Request, next: str = "") -> Response:  # noqa: A002 - the parameter's name
        return way.there(request, next)

    @routes.get(CALLBACK)
    def from_provider(request: Request) -> Response:
        return way.back(request)

    return routes
