"""What a provider answers wrongly, over a real port: none of it logs anybody in, and each is told in a sentence."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from dicom_node.access.openid.answers import MOST_BYTES
from dicom_node.access.users import list_users
from dicom_node.database.engine import Database
from tests.support.oidc_panel import begin, end, log_in_there, refused
from tests.support.signing_provider import CLIENT_ID, SigningProvider


def _without_signature(token: str) -> str:
    return token.rpartition(".")[0] + "."


def _unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def _other_claims(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"groups": ["admins"]}).encode()).rstrip(b"=").decode()
    return f"{header}.{changed}.{signature}"


@pytest.mark.parametrize(
    "change", [_without_signature, _unsigned, _other_claims, lambda _: "x", lambda _: "a.b.c", lambda _: "é.b.c"]
)
def test_a_token_that_the_provider_has_not_signed_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database, change: Callable[[str], str]
) -> None:
    provider.change_token = change
    refused(person, provider, "is not signed by Hospital &amp; Sons")
    assert list_users(database) == []


def test_the_key_of_somebody_else_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database
) -> None:
    provider.key = RSAKey.generate_key(2048, {"kid": "first"})
    refused(person, provider, "is not signed by")
    assert list_users(database) == []


@pytest.mark.parametrize("kid", ["second", "", "First"])
def test_a_key_that_the_provider_does_not_list_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database, kid: str
) -> None:
    provider.header = {"kid": kid}
    refused(person, provider, "is not signed by")
    assert list_users(database) == []


def test_keys_are_read_anew_when_the_provider_changes_them(person: httpx.Client, provider: SigningProvider) -> None:
    log_in_there(person, provider)
    person.post("/logout")
    key = ECKey.generate_key("P-256", {"kid": "second", "use": "sig"})
    provider.key, provider.algorithm, provider.header = key, "ES256", {"kid": "second"}
    odd = [{"kty": "OKP", "kid": "odd"}, {"kty": "AKP"}, "text", {"kty": "RSA", "kid": "encrypts", "use": "enc"}]
    provider.keys = [*odd, key.as_dict(private=False)]  # type: ignore[list-item]
    assert log_in_there(person, provider).status_code == 200


def test_a_token_without_the_name_of_a_key_needs_a_provider_with_one(
    person: httpx.Client, provider: SigningProvider
) -> None:
    provider.header = {}
    assert log_in_there(person, provider).status_code == 200
    person.post("/logout")
    provider.keys = [*provider.keys, RSAKey.generate_key(2048, {"kid": "second"}).as_dict(private=False)]
    refused(person, provider, "is not signed by")


def test_a_secret_that_both_know_signs_nothing(
    person: httpx.Client, provider: SigningProvider, database: Database
) -> None:
    """Neither one that the provider lists as a key, nor its public key taken for one (CVE-2015-9235)."""
    for key in (
        OctKey.import_key(b"0123456789abcdef0123456789abcdef", {"kid": "first"}),
        OctKey.import_key(json.dumps(provider.keys[0]).encode(), {"kid": "first"}),
    ):
        provider.key, provider.algorithm = key, "HS256"
        for keys in (provider.keys, [key.as_dict(private=True)]):
            provider.keys = keys
            refused(person, provider, "is not signed by")
    assert list_users(database) == []


def test_a_weak_key_is_refused(person: httpx.Client, provider: SigningProvider, database: Database) -> None:
    with pytest.warns(UserWarning, match="2048"):
        provider.key = RSAKey.generate_key(1024, {"kid": "first"})
    provider.keys = [provider.key.as_dict(private=False)]
    refused(person, provider, "is not signed by")
    assert list_users(database) == []


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"iss": "https://evil.example"}, "from another provider than"),
        ({"iss": None}, "from another provider than"),
        ({"aud": "another-client"}, "meant for another program"),
        ({"aud": ["another-client"]}, "meant for another program"),
        ({"aud": [CLIENT_ID, "another-client"], "azp": "another-client"}, "meant for another program"),
        ({"aud": "another-client", "azp": CLIENT_ID}, "meant for another program"),
        ({"aud": None}, "meant for another program"),
        ({"exp": 1}, "has expired"),
        ({"exp": None}, "lacks something"),
        ({"exp": "tomorrow"}, "lacks something"),
        ({"iat": 4_000_000_000}, "clocks of Hospital &amp; Sons and of this node differ"),
        ({"nbf": 4_000_000_000}, "clocks of Hospital &amp; Sons and of this node differ"),
        ({"nonce": "of-another-login"}, "belongs to another login"),
        ({"nonce": None}, "belongs to another login"),
        ({"sub": None}, "lacks something"),
        ({"sub": ""}, "lacks something"),
        ({"at_hash": "AAAA"}, "lacks something"),
    ],
    ids=str,
)
def test_a_token_for_something_else_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database, claims: dict[str, Any], sentence: str
) -> None:
    provider.claims = claims
    refused(person, provider, sentence)
    assert list_users(database) == []


def test_clocks_may_differ_by_less_than_a_minute(person: httpx.Client, provider: SigningProvider) -> None:
    provider.claims = {"iat": int(time.time()) + 30, "exp": int(time.time()) + 31}
    assert log_in_there(person, provider).status_code == 200


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"error": "access_denied", "code": ""}, "was declined at Hospital &amp; Sons"),
        ({"error": "server_error", "error_description": "<b>x</b>"}, "refused the login"),
        ({"code": ""}, "refused the login"),
        ({"iss": "https://evil.example"}, "from another provider than"),
    ],
)
def test_what_the_provider_answers_instead_of_a_code_is_told(
    person: httpx.Client, provider: SigningProvider, answer: dict[str, str], sentence: str
) -> None:
    told = end(person, begin(person, provider), **answer)
    assert (told.status_code, sentence in told.text, "<b>x" in told.text) == (403, True, False)
    assert provider.asked == []


@pytest.mark.parametrize(
    ("path", "status", "content", "sentence"),
    [
        ("/token", 400, b'{"error": "invalid_grant"}', "no longer accepts this login"),
        ("/token", 401, b'{"error": "invalid_client"}', "client ID or secret is wrong"),
        ("/token", 400, b'{"error": "odd"}', "refused the login"),
        ("/token", 200, b'{"access_token": "x"}', "lacks something that a login needs"),
        ("/token", 200, b"<html>", "does not understand"),
        ("/token", 500, b"{}", "cannot be reached at the moment"),
        ("/keys", 200, b"[]", "does not understand"),
        ("/keys", 200, b'{"keys": 7}', "is not signed by"),
        ("/keys", 404, b"{}", "does not understand"),
        ("/keys", 503, b"", "cannot be reached at the moment"),
        ("/keys", 200, b'{"keys": [' + b" " * MOST_BYTES + b"]}", "does not understand"),
        ("/keys", 200, b"[" * 100_000, "does not understand"),
    ],
)
def test_what_the_provider_answers_wrongly_is_told(
    person: httpx.Client,
    provider: SigningProvider,
    database: Database,
    path: str,
    *,
    status: int,
    content: bytes,
    sentence: str,
) -> None:
    provider.broken[path] = (status, {"Content-Type": "application/json"}, content)
    refused(person, provider, sentence)
    assert list_users(database) == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"authorization_endpoint": "http://login.example.org/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
        {"jwks_uri": 7},
        {"end_session_endpoint": "http://evil.example"},
    ],
)
def test_a_provider_that_would_be_asked_in_the_clear_is_not_used(
    person: httpx.Client, provider: SigningProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    answer = person.get("/login/oidc")
    assert (answer.status_code, "does not understand" in answer.text) == (403, True)


def test_a_provider_that_states_another_issuer_is_not_used(person: httpx.Client, provider: SigningProvider) -> None:
    provider.metadata = {"issuer": provider.url + "/"}
    assert "from another provider than" in person.get("/login/oidc").text


def test_redirects_and_packed_answers_of_a_provider_are_not_followed(
    person: httpx.Client, provider: SigningProvider
) -> None:
    about = "/.well-known/openid-configuration"
    provider.broken[about] = (302, {"Location": f"{provider.url}/elsewhere"}, b"")
    assert "does not understand" in person.get("/login/oidc").text
    provider.broken[about] = (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b")
    assert "does not understand" in person.get("/login/oidc").text
