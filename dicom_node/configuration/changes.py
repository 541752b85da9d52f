"""What an import of a configuration would change, and doing it: all of it in one transaction, or nothing."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from dicom_node.configuration.document import (
    ConfigurationError,
    NamedModel,
    SiteConfiguration,
    as_toml,
    present,
    read_document,
)
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import FieldProblem
from dicom_node.models.changes import usable_model
from dicom_node.models.roles import ModelRole, add_choice
from dicom_node.peers.registry import merge_peers
from dicom_node.peers.site_file import Import, compare
from dicom_node.routing.versions import add_version, check_models, refuse_unknown
from dicom_node.rules.site_rules import write_rules
from dicom_node.settings import Settings
from inference.errors import UnusableModel
from inference.registry import Registry, StoredModel

__all__ = ["ListChange", "ModelChange", "Plan", "fingerprint", "import_configuration", "plan_configuration"]

_log = structlog.get_logger()


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class ListChange:
    """What becomes of a list of rules that is replaced; names of rules, and whether the order of others changes."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    reordered: bool

    @property
    def does_nothing(self) -> bool:
        """Whether the list stays as it is."""
        return not (self.added or self.changed or self.removed or self.reordered)


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """Another model for a role; `before` is None where none was chosen."""

    role: ModelRole
    before: NamedModel | None
    after: NamedModel


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What an import would change; None for a part that the document does not state."""

    peers: Import | None
    series_rules: ListChange | None
    routes: ListChange | None
    models: tuple[ModelChange, ...]

    @property
    def does_nothing(self) -> bool:
        """Whether everything is already as the document states."""
        parts = (self.peers, self.series_rules, self.routes)
        return not self.models and all(part is None or part.does_nothing for part in parts)


def fingerprint(database: Database) -> str:
    """Return a hash of the configuration in force: a preview is outdated once it is another one."""
    return hashlib.sha256(as_toml(present(database)).encode()).hexdigest()


def plan_configuration(database: Database, settings: Settings, text: str) -> Plan:
    """Return what an import would change.

    Raises
    ------
    InvalidEntryError
        For a document that cannot be used on this node.
    """
    wanted, now = read_document(text), present(database)
    _check(settings, wanted, now)
    return _plan(wanted, now)


def import_configuration(database: Database, settings: Settings, text: str, who: str) -> Plan:
    """Change the configuration as a document states, all or nothing; return what was changed.

    Raises
    ------
    InvalidEntryError
        For a document that cannot be used on this node; nothing is changed then.
    """
    wanted, now = read_document(text), present(database)
    _check(settings, wanted, now)
    plan = _plan(wanted, now)
    models = {change.role: _tried(settings, change.after) for change in plan.models}
    with database.session() as session:
        if plan.peers is not None:
            merge_peers(session, plan.peers.peers)
        if wanted.series_rules is not None and plan.series_rules and not plan.series_rules.does_nothing:
            write_rules(session, wanted.series_rules)
        if wanted.routes is not None and plan.routes and not plan.routes.does_nothing:
            add_version(session, wanted.routes, who, "imported with the configuration")
        for role, model in models.items():
            add_choice(session, role, model, who)
    _log.info("configuration_imported", who=who, models=len(models))
    return plan


def _check(settings: Settings, wanted: SiteConfiguration, now: SiteConfiguration) -> None:
    """Refuse rules that lead to peers or models that there will not be, and models that are not on the node."""
    peers = {peer.name: peer for peer in (*(now.peers or ()), *(wanted.peers or ()))}
    receiving = {name for name, peer in peers.items() if peer.is_destination}
    routes = now.routes if wanted.routes is None else wanted.routes
    refuse_unknown(receiving, routes or ())
    check_models(settings.node.folder, wanted.routes or ())
    for model in wanted.models.values():
        _found(settings, model)


def _found(settings: Settings, wanted: NamedModel) -> StoredModel:
    try:
        model = Registry(settings.node.folder).find(wanted.name, wanted.version)
    except UnusableModel as error:
        raise ConfigurationError(FieldProblem(field="models", sentence=f"{error}.")) from error
    if model.sha256 != wanted.sha256:
        sentence = f"Model {wanted.name} {wanted.version} on this node is not the one that the file names."
        raise ConfigurationError(FieldProblem(field="models", sentence=sentence))
    return model


def _tried(settings: Settings, wanted: NamedModel) -> StoredModel:
    try:
        return usable_model(settings, wanted.name, wanted.version)
    except UnusableModel as error:
        raise ConfigurationError(FieldProblem(field="models", sentence=f"{error}.")) from error


def _plan(wanted: SiteConfiguration, now: SiteConfiguration) -> Plan:
    return Plan(
        peers=None if wanted.peers is None else compare(wanted.peers, now.peers or ()),
        series_rules=_list_change(wanted.series_rules, now.series_rules or ()),
        routes=_list_change(wanted.routes, now.routes or ()),
        models=tuple(
            ModelChange(role=role, before=now.models.get(role), after=model)
            for role, model in wanted.models.items()
            if now.models.get(role) != model
        ),
    )


def _list_change(wanted: Sequence[_Named] | None, now: Sequence[_Named]) -> ListChange | None:
    if wanted is None:
        return None
    before, after = {rule.name: rule for rule in now}, {rule.name: rule for rule in wanted}
    return ListChange(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name, rule in after.items() if name in before and before[name] != rule),
        removed=tuple(name for name in before if name not in after),
        reordered=[name for name in before if name in after] != [name for name in after if name in before],
    )
