"""The provider: where it asks people who they are, and what it then says about them, asked anew at each login."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from dicom_node.access.openid.answers import json_object, provider_client
from dicom_node.access.openid.begun import BegunLogin
from dicom_node.access.openid.id_token import Expected, verified_claims
from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.access.openid.secret import client_secret
from dicom_node.oidc_settings import OidcSettings, is_safe_address
from dicom_node.settings_error import SettingsError

__all__ = ["Provider"]

_AT_A_TIME = threading.BoundedSemaphore(8)
"""Asked at a time, so that a provider that does not answer leaves threads for the other pages."""

_WELL_KNOWN = "/.well-known/openid-configuration"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class _Metadata:
    """What a provider states about itself (OpenID Connect Discovery, 4.2)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str
    posts_secret: bool


class Provider:
    """The provider of the settings. Nothing it says is kept, so that new keys and addresses hold at once.

    Parameters
    ----------
    redirect_uri
        Address of this node to which it sends people back.
    """

    def __init__(self, settings: OidcSettings, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri

    def login_address(self, begun: BegunLogin) -> str:
        """Return the address at which it asks who somebody is.

        Raises
        ------
        ProviderLoginRefused
            When it cannot be reached or understood.
        """
        with _asked() as client:
            address = self._metadata(client).authorization_endpoint
        return str(
            prepare_grant_uri(
                address,
                client_id=self._settings.client_id,
                response_type="code",
                redirect_uri=self._redirect_uri,
                scope=self._settings.scopes,
                state=begun.state,
                nonce=begun.nonce,
                code_challenge=create_s256_code_challenge(begun.verifier),
                code_challenge_method="S256",
            )
        )

    def claims(self, begun: BegunLogin, code: str) -> Mapping[str, object]:
        """Return what it says about the person who logged in.

        Parameters
        ----------
        code
            As the browser brought it.

        Raises
        ------
        ProviderLoginRefused
            When it cannot be reached or understood, does not accept the code, or says what is not to be believed.
        """
        with _asked() as client:
            metadata = self._metadata(client)
            answer = self._exchanged(client, metadata, begun, code)
            keys = _fetched(client, metadata.jwks_uri)
        token, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(token, str):
            raise ProviderLoginRefused(Problem.TOKEN)
        expected = Expected(
            issuer=self._settings.issuer,
            client_id=self._settings.client_id,
            nonce=begun.nonce,
            access_token=access if isinstance(access, str) else "",
        )
        return verified_claims(token, keys, expected)

    def logout_address(self, way_back: str) -> str:
        """Return the address at which one logs out there too (RP-Initiated Logout, 2); empty where it has none.

        Raises
        ------
        ProviderLoginRefused
            When it cannot be reached or understood.
        """
        with _asked() as client:
            address = self._metadata(client).end_session_endpoint
        if not address:
            return ""
        query = {"client_id": self._settings.client_id, "post_logout_redirect_uri": way_back}
        return str(httpx.URL(address).copy_merge_params(query))

    def _metadata(self, client: httpx.Client) -> _Metadata:
        stated = _fetched(client, self._settings.issuer.rstrip("/") + _WELL_KNOWN)
        if stated.get("issuer") != self._settings.issuer:
            raise ProviderLoginRefused(Problem.ISSUER)
        methods = stated.get("token_endpoint_auth_methods_supported", [])
        offered = methods if isinstance(methods, list) else []
        return _Metadata(
            authorization_endpoint=_address(stated, "authorization_endpoint"),
            token_endpoint=_address(stated, "token_endpoint"),
            jwks_uri=_address(stated, "jwks_uri"),
            end_session_endpoint=_address(stated, "end_session_endpoint") if "end_session_endpoint" in stated else "",
            posts_secret="client_secret_post" in offered and "client_secret_basic" not in offered,
        )

    def _exchanged(
        self, client: httpx.Client, metadata: _Metadata, begun: BegunLogin, code: str
    ) -> Mapping[str, object]:
        """Exchange the code for tokens (RFC 6749, 4.1.3, and RFC 7636, 4.5)."""
        try:
            secret = client_secret(self._settings)
        except SettingsError as error:
            raise ProviderLoginRefused(Problem.CLIENT) from error
        method = ("client_secret_post" if metadata.posts_secret else "client_secret_basic") if secret else "none"
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=begun.verifier
        )
        address, headers, content = ClientAuth(self._settings.client_id, secret, method).prepare(
            "POST", metadata.token_endpoint, {"Content-Type": _FORM}, body
        )
        answer = client.post(address, headers=headers, content=content)
        if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise ProviderLoginRefused(Problem.UNREACHABLE)
        said = json_object(answer)
        if not answer.is_success:
            raise ProviderLoginRefused(_TOKEN_ERRORS.get(str(said.get("error")), Problem.REFUSED))
        return said


_TOKEN_ERRORS = {
    "invalid_grant": Problem.CODE,
    "invalid_client": Problem.CLIENT,
    "unauthorized_client": Problem.CLIENT,
}


@contextlib.contextmanager
def _asked() -> Iterator[httpx.Client]:
    """Give a client for a provider; whatever fails on the way is said in one sentence."""
    if not _AT_A_TIME.acquire(blocking=False):
        raise ProviderLoginRefused(Problem.BUSY)
    try:
        with provider_client() as client:
            yield client
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise ProviderLoginRefused(Problem.UNREACHABLE) from error
    finally:
        _AT_A_TIME.release()


def _fetched(client: httpx.Client, address: str) -> Mapping[str, object]:
    answer = client.get(address)
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise ProviderLoginRefused(Problem.UNREACHABLE)
    if not answer.is_success:
        raise ProviderLoginRefused(Problem.UNUSABLE)
    return json_object(answer)


def _address(stated: Mapping[str, object], key: str) -> str:
    address = stated.get(key)
    if not isinstance(address, str) or not is_safe_address(address):
        raise ProviderLoginRefused(Problem.UNUSABLE)
    return address
