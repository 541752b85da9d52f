"""A login that a browser has begun: what ties the provider's answer to this browser, once and for a while."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

import sqlalchemy as sa

from dicom_node.access.links import keep_token, token_sha256
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.database.tables import LoginTokenRow

__all__ = ["BegunLogin", "begin_login", "take_up"]


@dataclass(frozen=True, kw_only=True)
class BegunLogin:
    """A login under way. The browser keeps the secret in a cookie, the database its hash; all else follows from it."""

    secret: str = field(repr=False)

    @property
    def state(self) -> str:
        """What the provider hands back with its answer (RFC 6749, 10.12)."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What the ID token has to contain (OpenID Connect Core, 3.1.2.1)."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What proves that who exchanges the code began the login (PKCE, RFC 7636)."""
        return self._derived("verifier")

    def _derived(self, purpose: str) -> str:
        code = hmac.digest(self.secret.encode("utf-8", "surrogatepass"), purpose.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(code).rstrip(b"=").decode("ascii")


def begin_login(database: Database) -> BegunLogin:
    """Begin a login; it can be taken up once, while the link is valid."""
    with database.session() as session:
        return BegunLogin(secret=keep_token(database, session, LinkKind.PROVIDER, ""))


def take_up(database: Database, secret: str, state: str) -> BegunLogin | None:
    """Return the login that a browser's cookie and the provider's answer both belong to; None if there is none.

    An answer that belongs to another login ends none: otherwise any page could end one that is under way.
    """
    begun = BegunLogin(secret=secret)
    if not secret or not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "surrogatepass")):
        return None
    with database.session() as session:
        chosen = (
            LoginTokenRow.token_sha256 == token_sha256(secret),
            LoginTokenRow.kind == LinkKind.PROVIDER,
            LoginTokenRow.expires_at > database.now(session),
        )
        deleted = sa.delete(LoginTokenRow).where(*chosen).returning(LoginTokenRow.token_sha256)
        return begun if session.scalar(deleted) is not None else None
