"""Who a provider says somebody is: from claims to a subject, a name and a role."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from dicom_node.access.openid.problems import Problem, ProviderLoginRefused
from dicom_node.database.states import UserRole
from dicom_node.oidc_settings import OidcSettings

__all__ = ["Provided", "provided"]


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A person as a provider states it.

    Attributes
    ----------
    subject_sha256
        Hash of issuer and subject: the provider gives a subject to one person alone, for ever. Names and mail
        addresses can change hands.
    role
        The highest that the groups give; None: no group gives one.
    """

    subject_sha256: str
    name: str
    role: UserRole | None


def provided(settings: OidcSettings, claims: Mapping[str, object]) -> Provided:
    """Return who claims are about.

    Raises
    ------
    ProviderLoginRefused
        When they state no subject.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise ProviderLoginRefused(Problem.TOKEN)
    name = _value(claims, settings.name_claim)
    return Provided(
        subject_sha256=hashlib.sha256(f"{settings.issuer}\n{subject}".encode("utf-8", "surrogatepass")).hexdigest(),
        name=name if isinstance(name, str) else "",
        role=_role(settings, _value(claims, settings.roles_claim)),
    )


def _role(settings: OidcSettings, stated: object) -> UserRole | None:
    groups = {one for one in (stated if isinstance(stated, list) else [stated]) if isinstance(one, str)}
    given = [role for role in UserRole if groups & settings.groups(role)]
    return given[-1] if given else None


def _value(claims: Mapping[str, object], path: str) -> object:
    """Return a claim; a name with dots is one claim where there is such a one, and a way into one otherwise."""
    if path in claims:
        return claims[path]
    found: object = claims
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found
