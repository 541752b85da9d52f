"""Reads an ID token: signed by the provider, for this node and this login, and not expired."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from authlib.oidc.core import CodeIDToken
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import CompactSignature
from joserfc.jwt import decode

from dicom_node.access.openid.problems import Problem, ProviderLoginRefused

__all__ = ["ALGORITHMS", "Expected", "verified_claims"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""With two keys, of which the provider alone has the private one: whoever knows this node's secret can sign nothing."""

LEEWAY_S = 60
"""How far two clocks may differ."""

_LEAST_RSA_BITS = 2048
_KEYS: Mapping[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey}
_PROBLEMS = {
    "iss": Problem.ISSUER,
    "aud": Problem.AUDIENCE,
    "azp": Problem.AUDIENCE,
    "nonce": Problem.NONCE,
    "iat": Problem.CLOCK,
    "nbf": Problem.CLOCK,
}


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a token has to state."""

    issuer: str
    client_id: str
    nonce: str
    access_token: str = ""


def verified_claims(token: str, keys: Mapping[str, object], expected: Expected) -> Mapping[str, object]:
    """Return what a token states, once it is validated (OpenID Connect Core, 3.1.3.7).

    Parameters
    ----------
    keys
        The provider's keys (JWK Set, RFC 7517).

    Raises
    ------
    ProviderLoginRefused
        When it is not to be believed.
    """

    def key_of(found: Any) -> Key:  # noqa: ANN401 - the library's own union of types
        return _chosen(keys, cast("CompactSignature", found).headers())

    try:
        read = decode(token, key_of, algorithms=ALGORITHMS)
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise ProviderLoginRefused(Problem.SIGNATURE) from error
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
        "sub": {"essential": True},
        "nonce": {"essential": True},
    }
    facts = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": expected.access_token}
    claims = CodeIDToken(read.claims, read.header, options, facts)
    try:
        claims.validate(leeway=LEEWAY_S)
    except ExpiredTokenError as error:
        raise ProviderLoginRefused(Problem.EXPIRED) from error
    except ClaimError as error:
        raise ProviderLoginRefused(_PROBLEMS.get(error.claim, Problem.TOKEN)) from error
    except (JoseError, ValueError, TypeError) as error:
        raise ProviderLoginRefused(Problem.TOKEN) from error
    return read.claims


def _chosen(keys: Mapping[str, object], header: Mapping[str, object]) -> Key:
    """Return the key that a token names; one without a name needs a provider with one key."""
    listed = keys.get("keys")
    usable = [one for one in listed if _is_for_signatures(one)] if isinstance(listed, list) else []
    named = [one for one in usable if "kid" not in header or one.get("kid") == header["kid"]]
    if len(named) != 1:
        raise ProviderLoginRefused(Problem.SIGNATURE)
    return _KEYS[named[0]["kty"]].import_key(named[0])


def _is_for_signatures(key: object) -> bool:
    if not isinstance(key, dict) or key.get("kty") not in _KEYS or key.get("use", "sig") != "sig":
        return False
    modulus = key.get("n", "")
    return key["kty"] != "RSA" or (isinstance(modulus, str) and len(modulus) * 6 >= _LEAST_RSA_BITS)
