"""What a change of the rules would do to the studies that the node holds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import StudyRow
from dicom_node.routing.route import route_of
from dicom_node.routing.rule import RoutingRule
from dicom_node.routing.study_facts import StudyFacts
from dicom_node.routing.versions import routing_rules

__all__ = ["RouteChange", "RouteTrial", "try_routes"]

LOOKED_AT = 100
"""Newest studies of which one image per series is read: about a second."""


@dataclass(frozen=True, kw_only=True)
class RouteChange:
    """One study that would have gone another way."""

    study_key: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class RouteTrial:
    """What other rules would do.

    Attributes
    ----------
    held
        Number of studies in which each rule decides something, by its name.
    """

    looked_at: int
    changes: tuple[RouteChange, ...]
    held: dict[str, int]


def try_routes(
    database: Database, folder: Path, rules: Sequence[RoutingRule], looked_at: int = LOOKED_AT
) -> RouteTrial:
    """Route the newest stored studies by the rules in force and by others, and return where they differ."""
    present, changes, held = routing_rules(database), [], Counter[str]()
    newest = sa.select(StudyRow.study_uid, StudyRow.key).order_by(StudyRow.last_received_at.desc()).limit(looked_at)
    with database.session() as session:
        studies = session.execute(newest).all()
    for study_uid, key in studies:
        facts = StudyFacts(database, folder, study_uid)
        before, after = route_of(present, facts), route_of(rules, facts)
        held.update(set(after.by.values()))
        if before.text != after.text:
            changes.append(RouteChange(study_key=key, before=before.text, after=after.text))
    return RouteTrial(
        looked_at=len(studies), changes=tuple(changes), held={rule.name: held[rule.name] for rule in rules}
    )
