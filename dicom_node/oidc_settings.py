"""Settings of the login by OpenID Connect."""

from urllib.parse import urlsplit

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from dicom_node.settings_error import SettingsError

__all__ = ["OidcSettings", "is_safe_address"]

_OWN_MACHINE = ("127.0.0.1", "::1", "localhost")


def is_safe_address(address: str) -> bool:
    """Return whether nobody on the way can read what is sent to an address: HTTPS, or this machine itself."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _OWN_MACHINE)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OidcSettings:
    """The provider by which people log in, and which of its groups may do what.

    Attributes
    ----------
    issuer
        As the provider states it; empty: nobody logs in by OpenID Connect.
    secret_file
        File with the client's secret; empty: the variable GLIONODE_OIDC_CLIENT_SECRET, or no secret.
    name
        What people call the provider.
    name_claim, roles_claim
        Claims of the ID token with the user's name and groups; dots lead into a claim that has parts.
    viewer, operator, administrator
        Values of `roles_claim` that give the role, separated by commas.
    passwords
        Whether others than administrators may log in by a password too.
    """

    issuer: str
    client_id: str
    secret_file: str
    name: str
    scopes: str
    name_claim: str
    roles_claim: str
    viewer: str
    operator: str
    administrator: str
    passwords: bool

    @property
    def is_on(self) -> bool:
        """Whether people may log in by OpenID Connect."""
        return bool(self.issuer)

    def groups(self, role: str) -> frozenset[str]:
        """Return the values that give a role."""
        return frozenset(one.strip() for one in str(getattr(self, role)).split(",") if one.strip())

    def __post_init__(self) -> None:
        """Refuse what no login could use; what has to be set together is checked when the panel starts."""
        if self.issuer and not is_safe_address(self.issuer):
            message = f'oidc.issuer {self.issuer!r}: use something like "https://login.example.org/realms/hospital"'
            raise SettingsError(message)
        if "openid" not in self.scopes.split():
            message = f'oidc.scopes {self.scopes!r}: "openid" must be one of them'
            raise SettingsError(message)
        for key in ("name", "name_claim", "roles_claim"):
            if not getattr(self, key).strip():
                message = f"oidc.{key} {getattr(self, key)!r}: must not be empty"
                raise SettingsError(message)
