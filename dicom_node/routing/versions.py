"""The rules in the database: every save is a version, and the last one is in force."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.connection_tables import RoutingVersionRow
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import FieldProblem
from dicom_node.peers.registry import list_peers
from dicom_node.routing.rule import RoutingError, RoutingRule, as_documents, read_rules
from inference.errors import UnusableModel
from inference.registry import Registry

__all__ = [
    "RoutingVersion",
    "UnknownVersion",
    "add_version",
    "check_destinations",
    "check_models",
    "refuse_unknown",
    "restore",
    "routing_rules",
    "save_rules",
    "versions",
]

SHOWN = 50

_MOST_VERSIONS = 2**31
"""Limit of a column of integers on PostgreSQL."""

_log = structlog.get_logger()


class UnknownVersion(RoutingError):  # noqa: N818 - named for what happened
    """There is no such version."""

    def __init__(self, number: int) -> None:
        super().__init__(FieldProblem(field="version", sentence=f"There is no version {number} of the routing rules."))


@dataclass(frozen=True, kw_only=True)
class RoutingVersion:
    """The rules as one save left them."""

    number: int
    at: datetime
    who: str
    note: str
    rules: tuple[RoutingRule, ...]


def routing_rules(database: Database) -> tuple[RoutingRule, ...]:
    """Return the rules in force, in their order."""
    newest = sa.select(RoutingVersionRow).order_by(RoutingVersionRow.id.desc()).limit(1)
    with database.session() as session:
        row = session.scalar(newest)
        return read_rules(row.rules) if row is not None else ()


def versions(database: Database) -> Sequence[RoutingVersion]:
    """Return the newest versions, newest first."""
    newest = sa.select(RoutingVersionRow).order_by(RoutingVersionRow.id.desc()).limit(SHOWN)
    with database.session() as session:
        return [_version(row) for row in session.scalars(newest)]


def save_rules(database: Database, rules: Sequence[RoutingRule], who: str, note: str = "") -> int:
    """Save the rules as a new version, which is in force for studies that become complete from now on.

    Returns
    -------
    int
        Its number.

    Raises
    ------
    RoutingError
        When two rules have the same name, or one names a destination that does not exist.
    """
    checked = read_rules(as_documents(rules))
    check_destinations(database, checked)
    with database.session() as session:
        number = add_version(session, checked, who, note)
    _log.info("routing_rules_saved", version=number, rules=len(checked))
    return number


def add_version(session: Session, rules: Sequence[RoutingRule], who: str, note: str) -> int:
    """Add a version within a transaction of the caller, who has checked the rules; return its number."""
    row = RoutingVersionRow(who=who[:80], note=note, rules=as_documents(rules))
    session.add(row)
    session.flush()
    return row.id


def restore(database: Database, number: int, who: str) -> int:
    """Save an earlier version again, which undoes what came after it.

    Raises
    ------
    UnknownVersion
        When there is none of this number.
    RoutingError
        When it names a destination that does not exist any more.
    """
    with database.session() as session:
        row = session.get(RoutingVersionRow, number) if 0 < number < _MOST_VERSIONS else None
        if row is None:
            raise UnknownVersion(number)
        rules = read_rules(row.rules)
    return save_rules(database, rules, who, f"version {number} restored")


def check_destinations(database: Database, rules: Sequence[RoutingRule]) -> None:
    """Refuse rules that name a peer that receives no results."""
    refuse_unknown({peer.name for peer in list_peers(database) if peer.is_destination}, rules)


def refuse_unknown(known: Collection[str], rules: Sequence[RoutingRule]) -> None:
    """Refuse rules that name a destination that is not among the known ones."""
    unknown = sorted({name for rule in rules for name in rule.destinations} - set(known))
    if unknown:
        sentence = f"No peer that receives results is called {', '.join(map(repr, unknown))}."
        raise RoutingError(FieldProblem(field="destinations", sentence=sentence))


def check_models(folder: Path, rules: Sequence[RoutingRule]) -> None:
    """Refuse rules that name a model that the node does not have.

    Parameters
    ----------
    folder
        The node's folder.
    """
    for name in sorted({rule.model for rule in rules} - {""}):
        try:
            Registry(folder).resolve(name)
        except UnusableModel as error:
            raise RoutingError(FieldProblem(field="model", sentence=f"{error}.")) from error


def _version(row: RoutingVersionRow) -> RoutingVersion:
    return RoutingVersion(number=row.id, at=row.at, who=row.who, note=row.note, rules=read_rules(row.rules))
