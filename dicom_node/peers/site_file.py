"""Peers as TOML: what a site file states, what is exported, and what an import would change."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from dicom_node.invalid_entry import FieldProblem
from dicom_node.peers.peer import Peer, PeerError
from dicom_node.toml_text import toml_value

__all__ = ["Changed", "FieldChange", "Import", "compare", "peers_as_toml", "peers_of_tables", "read_peers"]


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One setting of a peer that an import would change; both values as TOML."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A peer that an import would change."""

    name: str
    changes: tuple[FieldChange, ...]


@dataclass(frozen=True, kw_only=True)
class Import:
    """What an import would do; the peers that the file does not name stay as they are.

    Attributes
    ----------
    peers
        Those that the file states.
    added, unchanged, left
        Names: of new peers, of peers that are as the file states, and of peers that it does not name.
    """

    peers: tuple[Peer, ...]
    added: tuple[str, ...]
    changed: tuple[Changed, ...]
    unchanged: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def does_nothing(self) -> bool:
        """Whether the peers are already as the file states."""
        return not self.added and not self.changed


def compare(wanted: Sequence[Peer], present: Sequence[Peer]) -> Import:
    """Return what an import of `wanted` would change in `present`."""
    now = {peer.name: peer for peer in present}
    known = [peer for peer in wanted if peer.name in now]
    return Import(
        peers=tuple(wanted),
        added=tuple(peer.name for peer in wanted if peer.name not in now),
        changed=tuple(_changed(now[peer.name], peer) for peer in known if now[peer.name] != peer),
        unchanged=tuple(peer.name for peer in known if now[peer.name] == peer),
        left=tuple(sorted(set(now) - {peer.name for peer in wanted})),
    )


def _changed(before: Peer, after: Peer) -> Changed:
    changes = [
        FieldChange(field=one.name, before=toml_value(old), after=toml_value(new))
        for one in fields(Peer)
        if (old := getattr(before, one.name)) != (new := getattr(after, one.name))
    ]
    return Changed(name=after.name, changes=tuple(changes))


def peers_as_toml(peers: Sequence[Peer]) -> str:
    """Return peers as TOML that `read_peers` reads; a peer has no secrets (see `Peer.web_headers`)."""
    return "\n".join(_toml(peer) for peer in peers)


def _toml(peer: Peer) -> str:
    lines = [f"{field.name} = {toml_value(getattr(peer, field.name))}" for field in fields(Peer)]
    return "\n".join(("[[peer]]", *lines)) + "\n"


def read_peers(text: str, origin: str) -> list[Peer]:
    """Return the peers that a text states.

    Parameters
    ----------
    text
        TOML with one ``[[peer]]`` table for each peer; ``[[rule]]`` tables are left to `dicom_node.rules`.
    origin
        Where it comes from, with which each sentence begins.

    Raises
    ------
    PeerError
        For a text that is not TOML, an unknown key, or an invalid peer.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        sentence = str(error) or "too deeply nested"
        raise PeerError(FieldProblem(field="file", sentence=f"{origin}: {sentence}.")) from error
    tables = document.get("peer", [])
    unknown = [key for key in document if key not in ("peer", "rule")]
    if unknown or not isinstance(tables, list):
        sentence = f"{origin}: only [[peer]] tables are allowed here, not {', '.join(unknown) or 'this form'}."
        raise PeerError(FieldProblem(field="file", sentence=sentence))
    return peers_of_tables(tables, origin)


def peers_of_tables(tables: Sequence[Any], origin: str) -> list[Peer]:
    """Return the peers of ``[[peer]]`` tables that were parsed already; otherwise as `read_peers`."""
    peers = [_read_table(table, f"{origin}, peer {number}") for number, table in enumerate(tables, start=1)]
    if len({peer.name for peer in peers}) != len(peers):
        raise PeerError(FieldProblem(field="name", sentence=f"{origin}: two peers have the same name."))
    return peers


def _read_table(table: Any, origin: str) -> Peer:  # noqa: ANN401 - any TOML value
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Peer)}
    if not isinstance(table, dict):
        raise PeerError(FieldProblem(field="file", sentence=f"{origin}: must be a table."))
    for key, value in table.items():
        if key not in kinds:
            sentence = f"{origin}: unknown key {key!r}; known keys: {', '.join(kinds)}."
            raise PeerError(FieldProblem(field=key, sentence=sentence))
        if type(value) is not kinds[key]:
            sentence = f"{origin}: {key} = {value!r}, but must be of type {kinds[key].__name__}."
            raise PeerError(FieldProblem(field=key, sentence=sentence))
    missing = [key for key in ("name", "ae_title") if key not in table]
    if missing:
        raise PeerError(FieldProblem(field=missing[0], sentence=f"{origin}: {' and '.join(missing)} must be given."))
    try:
        return Peer(**table)
    except PeerError as error:
        problems = (FieldProblem(field=each.field, sentence=f"{origin}: {each.sentence}") for each in error.problems)
        raise PeerError(*problems) from error
