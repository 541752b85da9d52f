"""The stored configuration as one TOML document: peers, series rules, routing rules and the choice of models.

Users, tokens and secrets never stand in it. A peer has no secrets (see `dicom_node.peers.peer.Peer.web_headers`).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import Database
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from dicom_node.models.roles import ModelRole, chosen
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import list_peers
from dicom_node.peers.site_file import peers_as_toml, peers_of_tables
from dicom_node.routing.rule import RoutingRule, read_rules
from dicom_node.routing.rules_toml import rules_as_toml
from dicom_node.routing.versions import routing_rules
from dicom_node.rules.site_rules import export_rules, rules_of_tables, site_rules
from dicom_node.toml_text import toml_value

__all__ = ["ConfigurationError", "NamedModel", "SiteConfiguration", "as_toml", "present", "read_document"]

HEAD = "# Configuration of a GlioNode: peers, series rules, routing rules and the choice of models. No secrets.\n"
_LISTS = ("peer", "rule", "route")
_ORIGIN = "The file"


class ConfigurationError(InvalidEntryError):
    """A document that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model by its identity; `sha256` is that of its manifest."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SiteConfiguration:
    """What a document states; None, or a missing role, where it leaves a part as it is."""

    peers: tuple[Peer, ...] | None
    series_rules: tuple[SiteRule, ...] | None
    routes: tuple[RoutingRule, ...] | None
    models: Mapping[ModelRole, NamedModel]


def present(database: Database) -> SiteConfiguration:
    """Return the configuration in force."""
    choices = {role: choice for role in ModelRole if (choice := chosen(database, role)) is not None}
    return SiteConfiguration(
        peers=tuple(list_peers(database)),
        series_rules=site_rules(database),
        routes=routing_rules(database),
        models=MappingProxyType(
            {
                role: NamedModel(name=choice.name, version=choice.version, sha256=choice.sha256)
                for role, choice in choices.items()
            }
        ),
    )


def as_toml(configuration: SiteConfiguration) -> str:
    """Return a configuration as TOML that `read_document` reads; equal configurations give equal texts."""
    models = [
        f"[models.{role}]\nname = {toml_value(model.name)}\nversion = {toml_value(model.version)}\n"
        f"sha256 = {toml_value(model.sha256)}\n"
        for role, model in configuration.models.items()
    ]
    parts = [
        peers_as_toml(configuration.peers or ()),
        export_rules(configuration.series_rules or ()),
        rules_as_toml(configuration.routes or ()),
        *models,
    ]
    return "\n".join([HEAD, *filter(None, parts)])


def read_document(text: str) -> SiteConfiguration:
    """Read a document.

    Raises
    ------
    InvalidEntryError
        For a text that is not TOML, an unknown table or key, or a value that cannot be used.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _refused(str(error) or "too deeply nested") from error
    if unknown := sorted(set(document) - {*_LISTS, "models"}):
        raise _refused(f"unknown tables {', '.join(unknown)}; known: {', '.join((*_LISTS, 'models'))}")
    lists = {key: _tables(document, key) for key in _LISTS}
    if not document:
        raise _refused("it states nothing")
    return SiteConfiguration(
        peers=tuple(peers_of_tables(lists["peer"], _ORIGIN)) if "peer" in document else None,
        series_rules=rules_of_tables(lists["rule"], _ORIGIN) if "rule" in document else None,
        routes=read_rules(lists["route"]) if "route" in document else None,
        models=_models(document.get("models", {})),
    )


def _tables(document: Mapping[str, Any], key: str) -> Sequence[Any]:
    tables = document.get(key, [])
    if not isinstance(tables, list):
        raise _refused(f"{key} must be written as [[{key}]]")
    return tables


def _models(tables: object) -> Mapping[ModelRole, NamedModel]:
    if not isinstance(tables, dict) or not set(tables) <= set(ModelRole):
        raise _refused(f"models may have the tables {' and '.join(f'[models.{role}]' for role in ModelRole)}")
    found = {}
    for role, table in tables.items():
        if not isinstance(table, dict) or set(table) != {"name", "version", "sha256"}:
            raise _refused(f"[models.{role}] needs name, version and sha256, and nothing else")
        if not all(isinstance(value, str) for value in table.values()):
            raise _refused(f"[models.{role}] needs texts in quotes")
        found[ModelRole(role)] = NamedModel(**table)
    return MappingProxyType(found)


def _refused(sentence: str) -> ConfigurationError:
    return ConfigurationError(FieldProblem(field="file", sentence=f"{_ORIGIN}: {sentence}."))
