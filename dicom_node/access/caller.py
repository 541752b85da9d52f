"""Who calls: the user of a session, a program by its token, or a visitor of an open workbench."""

import enum
from dataclasses import dataclass

from dicom_node.database.states import TokenScope, UserRole

__all__ = ["VISITOR", "Caller", "Credential"]


class Credential(enum.StrEnum):
    """By what a caller is known."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - the word, not a secret
    VISITOR = "visitor"  # a cookie of someone who has not logged in
    OPEN = "open"  # by nothing: the viewer's port needs no login


VISITOR = "visitor:"
"""How the name of someone begins who has not logged in."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls. Pages and the audit trail read it as ``request.state.user``.

    Attributes
    ----------
    name
        Of the user; of a token that no user made, its own; of a visitor, a hash.
    role
        Of the user. A visitor has none; neither has a token, which may do only what its scopes say.
    scopes
        Of a token.
    owner
        Whom uploads to the workbench belong to.
    token
        Name of the token, which is never its value; empty without one.
    session
        SHA-256 of a session's cookie.
    has_password
        Whether the user can log in by a password.
    is_provided
        Whether the user logs in by OpenID Connect.
    """

    name: str
    kind: Credential
    owner: str
    role: UserRole | None = None
    scopes: frozenset[TokenScope] = frozenset()
    token: str = ""
    session: str = ""
    has_password: bool = False
    is_provided: bool = False

    @property
    def may_store(self) -> bool:
        """Whether the user may store segmentations and reports about studies; for a token its scopes tell."""
        return self.role is not None and self.role.covers(TokenScope.DICOMWEB_STORE.needs)
