"""Why a login by OpenID Connect was refused: a word for the log, and a sentence for the person."""

import enum

__all__ = ["Problem", "ProviderLoginRefused"]


class Problem(enum.StrEnum):
    """What went wrong."""

    NOT_BEGUN = "not begun here"
    BUSY = "too many at once"
    UNREACHABLE = "provider unreachable"
    UNUSABLE = "provider not understood"
    DECLINED = "declined"
    REFUSED = "refused by provider"
    CODE = "code not valid"
    CLIENT = "client not accepted"
    SIGNATURE = "wrong signature"
    ISSUER = "wrong issuer"
    AUDIENCE = "wrong audience"
    NONCE = "wrong nonce"
    EXPIRED = "expired"
    CLOCK = "from the future"
    TOKEN = "token not usable"  # noqa: S105 - a reason, not a secret
    NO_NAME = "no usable name"
    NAME_TAKEN = "name taken"
    NO_ROLE = "no role"
    DISABLED = "disabled"

    def sentence(self, provider: str) -> str:
        """Return what to tell the person, with what would help."""
        return _SENTENCES[self].replace("PROVIDER", provider)


class ProviderLoginRefused(Exception):  # noqa: N818 - named for what happened
    """A login by OpenID Connect that was refused.

    Parameters
    ----------
    who
        The user of this node; empty where it is none.
    """

    def __init__(self, problem: Problem, who: str = "") -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.who = who


_ADMINISTRATOR = "Tell the administrator of this node."
_SENTENCES = {
    Problem.NOT_BEGUN: "This login was not begun in this browser, was used before, or took too long. Try again.",
    Problem.BUSY: "Many people log in at this moment. Try again in a few seconds.",
    Problem.UNREACHABLE: (
        "PROVIDER cannot be reached at the moment. Try again later; an administrator can log in with a password."
    ),
    Problem.UNUSABLE: f"PROVIDER answered in a way that this node does not understand. {_ADMINISTRATOR}",
    Problem.DECLINED: "The login was declined at PROVIDER. Try again, and agree to it.",
    Problem.REFUSED: f"PROVIDER refused the login. {_ADMINISTRATOR}",
    Problem.CODE: "PROVIDER no longer accepts this login: it took too long, or was used before. Try again.",
    Problem.CLIENT: f"PROVIDER does not accept this node: its client ID or secret is wrong. {_ADMINISTRATOR}",
    Problem.SIGNATURE: f"The answer of PROVIDER is not signed by PROVIDER. {_ADMINISTRATOR}",
    Problem.ISSUER: f"The answer comes from another provider than PROVIDER. {_ADMINISTRATOR}",
    Problem.AUDIENCE: f"The answer of PROVIDER is meant for another program. {_ADMINISTRATOR}",
    Problem.NONCE: "The answer of PROVIDER belongs to another login. Try again.",
    Problem.EXPIRED: (
        f"The answer of PROVIDER has expired. Try again; if that does not help, a clock is wrong. {_ADMINISTRATOR}"
    ),
    Problem.CLOCK: f"The clocks of PROVIDER and of this node differ by more than a minute. {_ADMINISTRATOR}",
    Problem.TOKEN: f"The answer of PROVIDER lacks something that a login needs. {_ADMINISTRATOR}",
    Problem.NO_NAME: f"PROVIDER states no name for you that this node can use. {_ADMINISTRATOR}",
    Problem.NAME_TAKEN: f"There is another user of your name on this node already. {_ADMINISTRATOR}",
    Problem.NO_ROLE: (
        "PROVIDER knows you, but gives you no role on this node. Ask for a group that may use it, and log in again."
    ),
    Problem.DISABLED: "You are disabled on this node. An administrator of the node can change that.",
}
