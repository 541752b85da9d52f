"""The DICOM peers of the node in the database: which may send, which receive results, which are queried."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.tables import PeerRow
from dicom_node.invalid_entry import FieldProblem
from dicom_node.peers.peer import Peer, PeerError, UnknownPeer
from dicom_node.peers.site_file import Import, compare, peers_as_toml, read_peers

__all__ = [
    "accepted_calling_ae_titles",
    "add_peer",
    "change_peer",
    "destinations",
    "disabled_destinations",
    "export_peers",
    "get_peer",
    "import_peers",
    "list_peers",
    "may_send",
    "merge_peers",
    "plan_import",
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


def disabled_destinations(database: Database) -> list[Peer]:
    """Return the peers that receive results but are disabled: what is for them waits until they are enabled."""
    return [peer for peer in list_peers(database) if not peer.enabled and peer.is_destination]


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


def change_peer(database: Database, peer: Peer) -> None:
    """Replace the peer of the same name; whether it is enabled is left as it is.

    A name never changes, because deliveries, requests and logs refer to it.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        row = _found(session.get(PeerRow, peer.name), peer.name)
        for field in fields(Peer):
            if field.name != "enabled":
                setattr(row, field.name, getattr(peer, field.name))
    _log.info("peer_changed", peer=peer.name)


def plan_import(database: Database, text: str) -> Import:
    """Return what an import of peers as TOML would change.

    Raises
    ------
    PeerError
        For a text that cannot be used.
    """
    return compare(read_peers(text, "The file"), list_peers(database))


def import_peers(database: Database, text: str) -> Import:
    """Add and change peers as a TOML text states, all or none; return what was changed.

    Raises
    ------
    PeerError
        For a text that cannot be used; nothing is changed then.
    """
    done = plan_import(database, text)
    with database.session() as session:
        merge_peers(session, done.peers)
    _log.info("peers_imported", added=len(done.added), changed=len(done.changed))
    return done


def merge_peers(session: Session, peers: Iterable[Peer]) -> None:
    """Add and replace peers within a transaction of the caller."""
    for peer in peers:
        session.merge(_row(peer))


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
    return peers_as_toml(list_peers(database))


def _found(row: PeerRow | None, name: str) -> PeerRow:
    if row is None:
        raise UnknownPeer(name)
    return row


def _peer(row: PeerRow) -> Peer:
    return Peer(**{field.name: getattr(row, field.name) for field in fields(Peer)})


def _row(peer: Peer) -> PeerRow:
    return PeerRow(**{field.name: getattr(peer, field.name) for field in fields(Peer)})


def _read_site(path: Path) -> list[Peer]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(FieldProblem(field="file", sentence=f"Site file {path}: {error}.")) from error
    return read_peers(text, f"Site file {path}")
