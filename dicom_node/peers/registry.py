"""The DICOM peers of the node in the database: which may send, which receive results, which are queried."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from dicom_node.database.engine import Database
from dicom_node.database.tables import PeerRow
from dicom_node.invalid_entry import FieldProblem
from dicom_node.peers.peer import Peer, PeerError, UnknownPeer
from dicom_node.toml_text import toml_value

__all__ = [
    "accepted_calling_ae_titles",
    "add_peer",
    "destinations",
    "export_peers",
    "get_peer",
    "list_peers",
    "may_send",
    "put_peer",
    "remove_peer",
    "seed_peers",
    "set_enabled",
    "sources",
    "urgent_ae_titles",
]

_log = structlog.get_logger()


def list_peers(database: Database) -> list[Peer]:
    """Return every peer by name."""
    with database.session() as session:
        rows = session.scalars(sa.select(PeerRow).order_by(PeerRow.name)).all()
    return [_peer(row) for row in rows]


def get_peer(database: Database, name: str) -> Peer:
    """Return one peer.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        return _peer(_found(session.get(PeerRow, name), name))


def destinations(database: Database) -> list[Peer]:
    """Return the enabled peers that receive results."""
    return [peer for peer in list_peers(database) if peer.enabled and peer.is_destination]


def urgent_ae_titles(database: Database) -> frozenset[str]:
    """Return the AE titles whose studies are processed before all others."""
    return frozenset(peer.ae_title for peer in list_peers(database) if peer.enabled and peer.is_urgent)


def sources(database: Database, calling_ae: str = "") -> list[Peer]:
    """Return the enabled peers that are queried, those with the given calling AE title first."""
    found = [peer for peer in list_peers(database) if peer.enabled and peer.is_source]
    return sorted(found, key=lambda peer: peer.ae_title != calling_ae)


def accepted_calling_ae_titles(database: Database) -> frozenset[str]:
    """Return the calling AE titles that are accepted now, without surrounding spaces.

    These are the peers that may send, and destinations that open associations to send storage commitment results.
    """
    uses_commitment = sa.or_(PeerRow.proof == "commitment", sa.and_(PeerRow.proof == "auto", PeerRow.host != ""))
    answers = sa.and_(PeerRow.is_destination, uses_commitment)
    accepted = sa.select(PeerRow.ae_title).where(PeerRow.enabled, sa.or_(PeerRow.may_send, answers))
    with database.session() as session:
        return frozenset(title.strip(" ") for title in session.scalars(accepted))


def may_send(database: Database, ae_title: str) -> bool:
    """Return whether a calling AE title may send images."""
    senders = sa.select(PeerRow.ae_title).where(PeerRow.enabled, PeerRow.may_send)
    with database.session() as session:
        return any(title.strip(" ") == ae_title for title in session.scalars(senders))


def add_peer(database: Database, peer: Peer) -> None:
    """Add a peer.

    Raises
    ------
    PeerError
        When a peer has that name already.
    """
    with database.session() as session:
        if session.get(PeerRow, peer.name) is not None:
            sentence = f"There is already a peer called {peer.name!r}: choose another name."
            raise PeerError(FieldProblem(field="name", sentence=sentence))
        session.add(_row(peer))
    _log.info("peer_added", peer=peer.name)


def put_peer(database: Database, peer: Peer) -> None:
    """Add a peer, or replace the one of the same name."""
    with database.session() as session:
        session.merge(_row(peer))
    _log.info("peer_put", peer=peer.name)


def set_enabled(database: Database, name: str, *, enabled: bool) -> None:
    """Enable or disable a peer; a running listener applies this from its next association.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        _found(session.get(PeerRow, name), name).enabled = enabled
    _log.info("peer_changed", peer=name, enabled=enabled)


def remove_peer(database: Database, name: str) -> None:
    """Remove a peer; keep everything that it sent and received.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        session.delete(_found(session.get(PeerRow, name), name))
    _log.info("peer_removed", peer=name)


def seed_peers(database: Database, path: Path) -> int:
    """Add the peers of a site file to an empty table; do nothing when there are peers already.

    Parameters
    ----------
    path
        TOML with one ``[[peer]]`` table for each peer, see ``config/site.example.toml``.

    Returns
    -------
    int
        Number of peers added.

    Raises
    ------
    PeerError
        For an unreadable file, an unknown key, or an invalid peer.
    """
    wanted = _read_site(path)
    with database.session() as session:
        if session.scalar(sa.select(sa.func.count()).select_from(PeerRow)):
            return 0
        session.add_all(_row(peer) for peer in wanted)
    _log.info("peers_seeded", peers=len(wanted))
    return len(wanted)


def export_peers(database: Database) -> str:
    """Return every peer as TOML that `seed_peers` reads."""
    return "\n".join(_toml(peer) for peer in list_peers(database))


def _found(row: PeerRow | None, name: str) -> PeerRow:
    if row is None:
        raise UnknownPeer(name)
    return row


def _peer(row: PeerRow) -> Peer:
    return Peer(**{field.name: getattr(row, field.name) for field in fields(Peer)})


def _row(peer: Peer) -> PeerRow:
    return PeerRow(**{field.name: getattr(peer, field.name) for field in fields(Peer)})


def _toml(peer: Peer) -> str:
    lines = [f"{field.name} = {toml_value(getattr(peer, field.name))}" for field in fields(Peer)]
    return "\n".join(("[[peer]]", *lines)) + "\n"


def _read_site(path: Path) -> list[Peer]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PeerError(FieldProblem(field="file", sentence=f"Site file {path}: {error}.")) from error
    tables = document.get("peer", [])
    unknown = [key for key in document if key not in ("peer", "rule")]  # rules: dicom_node.rules.site_rules
    if unknown or not isinstance(tables, list):
        sentence = f"Site file {path}: only [[peer]] tables are allowed here, not {', '.join(unknown) or 'this form'}."
        raise PeerError(FieldProblem(field="file", sentence=sentence))
    peers = [_read_table(table, f"Site file {path}, peer {number}") for number, table in enumerate(tables, start=1)]
    if len({peer.name for peer in peers}) != len(peers):
        raise PeerError(FieldProblem(field="name", sentence=f"Site file {path}: two peers have the same name."))
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
