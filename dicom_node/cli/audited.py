"""Records what a command changes or shows in the audit trail: one table for all commands.

A command that changes something is refused while that cannot be recorded.
"""

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dicom_node.audit.codes import Action, EventType
from dicom_node.settings import read_settings

if TYPE_CHECKING:
    from dicom_node.audit.message import AuditMessage
    from dicom_node.audit.trail import AuditTrail

__all__ = ["COMMANDS", "NOT_RECORDED", "Change", "LogUsed", "Study", "recorded", "this_person"]


@dataclass(frozen=True)
class Change:
    """A command that changes the configuration: a Security Alert."""

    kind: EventType
    subject: str


@dataclass(frozen=True)
class Study:
    """A command about one study, given by its UID or key: DICOM Instances Accessed."""

    action: Action
    what: str


@dataclass(frozen=True)
class LogUsed:
    """A command that reads the trail: Audit Log Used."""


_Rule = Change | Study | LogUsed

COMMANDS: Mapping[str, _Rule] = MappingProxyType(
    {
        "audit show": LogUsed(),
        "audit verify": LogUsed(),
        "cancel": Study(Action.UPDATE, "run cancelled"),
        "config import": Change(EventType.SOFTWARE_CONFIGURATION, "configuration"),
        "maintenance": Change(EventType.SOFTWARE_CONFIGURATION, "maintenance"),
        "models add": Change(EventType.SOFTWARE_CONFIGURATION, "models"),
        "models promote": Change(EventType.SOFTWARE_CONFIGURATION, "models"),
        "models rollback": Change(EventType.SOFTWARE_CONFIGURATION, "models"),
        "models shadow": Change(EventType.SOFTWARE_CONFIGURATION, "models"),
        "prioritise": Study(Action.UPDATE, "priority changed"),
        "replay": Study(Action.UPDATE, "run repeated"),
        "resend": Study(Action.UPDATE, "delivery repeated"),
        "routes import": Change(EventType.SOFTWARE_CONFIGURATION, "routing rules"),
        "routes undo": Change(EventType.SOFTWARE_CONFIGURATION, "routing rules"),
        "rules add": Change(EventType.SOFTWARE_CONFIGURATION, "site rules"),
        "rules import": Change(EventType.SOFTWARE_CONFIGURATION, "site rules"),
        "rules move": Change(EventType.SOFTWARE_CONFIGURATION, "site rules"),
        "rules remove": Change(EventType.SOFTWARE_CONFIGURATION, "site rules"),
        "doctor": Change(EventType.NETWORK_CONFIGURATION, "peers"),
        "tokens add": Change(EventType.USER_CHANGED, "tokens"),
        "tokens remove": Change(EventType.USER_CHANGED, "tokens"),
        "users add": Change(EventType.USER_CHANGED, "users"),
        "users disable": Change(EventType.USER_CHANGED, "users"),
        "users enable": Change(EventType.USER_CHANGED, "users"),
        "users remove": Change(EventType.USER_CHANGED, "users"),
        "users reset": Change(EventType.USER_CHANGED, "users"),
        "users role": Change(EventType.ROLES_CHANGED, "users"),
    }
)
"""What is recorded of a command that succeeded, by its name."""

NOT_RECORDED: Mapping[str, str] = MappingProxyType(
    {
        "check-config": "shows settings without secrets",
        "clean": "the removal itself records each study (DICOM Study Deleted)",
        "config export": "shows no patient data and no secret",
        "config preview": "changes nothing",
        "conformance": "shows what every peer can find out by asking",
        "convert": "works on the files of who calls it",
        "demo": "a synthetic study",
        "evaluate": "works on the files of who calls it",
        "export": "records each study that it wrote (Export)",
        "fetch": "records the query and each study that arrived",
        "listen": "the process records its start and its stop",
        "models combine": "works on the files of who calls it",
        "models list": "shows no patient data",
        "models show": "shows no patient data",
        "models tune": "works on the files of who calls it",
        "models verify": "shows no patient data",
        "notify list": "shows keys of studies alone",
        "notify test": "sends a sentence about the node alone",
        "routes export": "shows no patient data",
        "routes list": "shows no patient data",
        "routes try": "changes nothing, and shows keys of studies alone",
        "rules export": "shows no patient data",
        "rules list": "shows no patient data",
        "rules test": "changes nothing, and shows keys of studies alone",
        "segment": "works on the files of who calls it",
        "send": "works on the files of who calls it",
        "serve": "its processes record their start and their stop",
        "status": "shows keys and UIDs of studies, no patient",
        "support-bundle": "holds no patient data",
        "tokens list": "shows names of programs",
        "train": "works on the files of who calls it",
        "users list": "shows names of users",
        "web": "the process records its start and its stop",
        "work": "the process records its start and its stop",
        "workers": "shows no patient data",
    }
)
"""Commands of which nothing is recorded here, and why."""


@contextlib.contextmanager
def recorded(name: str, given: Mapping[str, Any]) -> Iterator[None]:
    """Record a command that is run in the block.

    Parameters
    ----------
    name
        The command as it is called, without ``glionode``.
    given
        Its parameters by name.

    Raises
    ------
    ValueError
        When the command may not be run now, because it could not be recorded.
    """
    rule = COMMANDS.get(name)
    if rule is None or (name == "doctor" and not given.get("orthanc")):
        yield
        return
    from dicom_node.audit.trail import AuditTrail  # noqa: PLC0415 - commands load only what they need
    from dicom_node.database.engine import open_database  # noqa: PLC0415

    settings = read_settings()
    database = open_database(settings.database_url)
    trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
    if isinstance(rule, LogUsed):
        try:
            yield
        finally:  # it was read also where it is found to be forged
            trail.record(_message(trail, rule, name, given))
        return
    if refused := trail.refusal():
        message = f"not done, since it could not be recorded: {refused}"
        raise ValueError(message)
    yield
    trail.record(_message(trail, rule, name, given))


def _message(trail: "AuditTrail", rule: _Rule, name: str, given: Mapping[str, Any]) -> "AuditMessage":
    from dicom_node.audit.events import Actor  # noqa: PLC0415 - as above

    actor = Actor(name=this_person(), address=socket.gethostname())
    if isinstance(rule, LogUsed):
        return trail.report.log_used(actor, trail.uri)
    if isinstance(rule, Study):
        return trail.report.accessed(actor, trail.study(str(given["study"])), rule.action, rule.what)
    return trail.report.alert(actor.participant(), rule.kind, rule.subject, f"glionode {name}")


def this_person() -> str:
    """Return who runs the command; an account without a name, as in some containers, is given by its number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
