"""What each role may do, in words: on the pages Users and Help, and in a README; a test holds it against the rights."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dicom_node.database.states import UserRole

__all__ = ["DUTIES", "Duty", "duty_words"]


@dataclass(frozen=True)
class Duty:
    """One thing that a role may do, and the beginnings of the paths in `dicom_node.web.rights` that it is done by."""

    words: str
    paths: tuple[str, ...]


DUTIES: Mapping[UserRole, tuple[Duty, ...]] = MappingProxyType(
    {
        UserRole.VIEWER: (
            Duty("look at studies and pictures", ("/studies", "/work", "/niivue/")),
            Duty("use the viewer and the workbench", ("/workbench", "/api/v1/segment")),
            Duty("say an opinion", ("/studies/{key}/opinion",)),
        ),
        UserRole.OPERATOR: (
            Duty("fetch, replay, cancel, resend and prioritise studies", ("/fetch", "/studies/{key}/{action}")),
            Duty("set series rules", ("/rules",)),
            Duty("read the Conformance Statement", ("/system/conformance",)),
        ),
        UserRole.ADMINISTRATOR: (
            Duty("change AE titles", ("/peers", "/api/v1/peers", "/api/peers", "/setup")),
            Duty("change routing rules", ("/routing", "/api/v1/routes")),
            Duty("change users and tokens", ("/users", "/tokens")),
            Duty("see the page System", ("/system", "/metrics")),
            Duty("change models and the configuration", ("/system/models", "/system/configuration")),
            Duty("drain the node", ("/maintenance",)),
        ),
    }
)
"""By the least role; the roles above it may do the same."""


def duty_words(role: UserRole) -> str:
    """Return what a role may do, as the end of a sentence that begins with who may."""
    *others, last = [duty.words for duty in DUTIES[role]]
    return ("" if role is UserRole.VIEWER else "also ") + ", ".join(others) + f", and {last}"
