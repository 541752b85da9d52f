"""The DICOM peers of the node: who may send and who receives results."""

import json
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from dicom_node.database import Database
from dicom_node.entries import EntryError, EntryProblem
from dicom_node.tables import PeerRow
from viewer_integration.association import RemoteEntity

__all__ = [
    "Peer",
    "PeerError",
    "UnknownPeer",
    "accepted_calling_ae_titles",
    "add_peer",
    "destinations",
    "export_peers",
    "get_peer",
    "list_peers",
    "put_peer",
    "remove_peer",
    "seed_peers",
    "set_enabled",
    "sources",
    "urgent_ae_titles",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_DICOMWEB = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?")
_HIGHEST_PORT = 65535

_log = structlog.get_logger()


class PeerError(EntryError):
    """A peer that cannot be used."""


class UnknownPeer(PeerError):  # noqa: N818 - named by what happened
    """No peer has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(EntryProblem(field="name", sentence=f"No peer is called {name!r}."))


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One application entity that the node knows; surrounding spaces are not significant and are removed.

    Parameters
    ----------
    name
        What people call it, 1 to 64 characters.
    ae_title
        AE title, PS3.5 6.2 VR AE.
    host, port
        Where it listens; both empty for a sender that is never called.
    may_send
        Accepted as a calling AE title.
    is_destination
        Receives the results by C-STORE.
    is_urgent
        What it sends goes before all other studies (STAT).
    is_source
        Asked what it holds of a study, by QIDO-RS where it has an address for that, else by C-FIND.
    dicomweb_url
        Base address of its DICOMweb services, such as ``https://pacs.example.org/dicom-web``; empty for none.
    enabled
        A disabled peer is kept, but neither accepted nor called.

    Raises
    ------
    PeerError
        With every field that cannot be used.
    """

    name: str
    ae_title: str
    host: str = ""
    port: int = 0
    may_send: bool = True
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    enabled: bool = True

    @property
    def remote(self) -> RemoteEntity:
        """Where to call it by DICOM."""
        return RemoteEntity(name=self.name, ae_title=self.ae_title, host=self.host, port=self.port)

    def __post_init__(self) -> None:
        """Remove surrounding spaces, then check every field."""
        for key in ("name", "ae_title", "host", "dicomweb_url"):
            object.__setattr__(self, key, getattr(self, key).strip(" "))
        object.__setattr__(self, "dicomweb_url", self.dicomweb_url.rstrip("/"))
        problems = [*self._identity_problems(), *self._address_problems()]
        if problems:
            raise PeerError(*problems)

    def _identity_problems(self) -> list[EntryProblem]:
        found = []
        if not _NAME.fullmatch(self.name):
            sentence = (
                "A name has 1 to 64 letters, digits, spaces, dots, hyphens or underscores and begins with a letter "
                "or a digit."
            )
            found.append(EntryProblem(field="name", sentence=sentence))
        title = self.ae_title
        if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            sentence = "An AE title has 1 to 16 printable ASCII characters and no backslash."
            found.append(EntryProblem(field="ae_title", sentence=sentence))
        return found

    def _address_problems(self) -> list[EntryProblem]:
        found = []
        if self.host and not _HOST.fullmatch(self.host):
            sentence = "A host is a name such as pacs.example.org or an address such as 192.0.2.10, without spaces."
            found.append(EntryProblem(field="host", sentence=sentence))
        if self.is_destination and not self.host:
            found.append(EntryProblem(field="host", sentence="A destination needs a host to send to."))
        elif self.is_source and not self.host and not self.dicomweb_url:
            sentence = "A peer that is asked what it holds needs a host to ask at, or a DICOMweb address."
            found.append(EntryProblem(field="host", sentence=sentence))
        elif self.port and not self.host:
            found.append(EntryProblem(field="host", sentence="A port alone is of no use: give the host too."))
        if not self.host and not 0 <= self.port <= _HIGHEST_PORT:
            found.append(EntryProblem(field="port", sentence="A port is a number from 1 to 65535."))
        if self.host and not 1 <= self.port <= _HIGHEST_PORT:
            sentence = "A host needs its port, a number from 1 to 65535 (104 and 11112 are usual)."
            found.append(EntryProblem(field="port", sentence=sentence))
        if self.dicomweb_url and not _DICOMWEB.fullmatch(self.dicomweb_url):
            sentence = "A DICOMweb address begins with http:// or https:// and holds no user, password or query."
            found.append(EntryProblem(field="dicomweb_url", sentence=sentence))
        return found


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
    """Return the AE titles whose studies go before all others."""
    return frozenset(peer.ae_title for peer in list_peers(database) if peer.enabled and peer.is_urgent)


def sources(database: Database, calling_ae: str = "") -> list[Peer]:
    """Return the enabled peers that are asked what they hold, those that call under an AE title first."""
    found = [peer for peer in list_peers(database) if peer.enabled and peer.is_source]
    return sorted(found, key=lambda peer: peer.ae_title != calling_ae)


def accepted_calling_ae_titles(database: Database) -> frozenset[str]:
    """Return the calling AE titles that may send at this moment, without surrounding spaces."""
    chosen = sa.select(PeerRow.ae_title).where(PeerRow.enabled, PeerRow.may_send)
    with database.session() as session:
        return frozenset(title.strip(" ") for title in session.scalars(chosen))


def add_peer(database: Database, peer: Peer) -> None:
    """Add a peer.

    Raises
    ------
    PeerError
        When a peer has that name already.
    """
    with database.session() as session:
        if session.get(PeerRow, peer.name) is not None:
            sentence = f"A peer is called {peer.name!r} already: choose another name."
            raise PeerError(EntryProblem(field="name", sentence=sentence))
        session.add(_row(peer))
    _log.info("peer_added", peer=peer.name)


def put_peer(database: Database, peer: Peer) -> None:
    """Add a peer, or replace the one of the same name."""
    with database.session() as session:
        session.merge(_row(peer))
    _log.info("peer_put", peer=peer.name)


def set_enabled(database: Database, name: str, *, enabled: bool) -> None:
    """Enable or disable a peer; a listener that runs obeys at its next association.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        _found(session.get(PeerRow, name), name).enabled = enabled
    _log.info("peer_changed", peer=name, enabled=enabled)


def remove_peer(database: Database, name: str) -> None:
    """Remove a peer; what it sent and received stays.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    """
    with database.session() as session:
        session.delete(_found(session.get(PeerRow, name), name))
    _log.info("peer_removed", peer=name)


def seed_peers(database: Database, path: Path) -> int:
    """Fill an empty table from a site file; do nothing when there are peers already.

    Parameters
    ----------
    path
        TOML with one ``[[peer]]`` table for each peer, see ``config/site.example.toml``.

    Returns
    -------
    int
        How many peers were added.

    Raises
    ------
    PeerError
        For an unreadable file, an unknown key, or a peer that cannot be used.
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
    lines = [f"{field.name} = {json.dumps(getattr(peer, field.name))}" for field in fields(Peer)]
    return "\n".join(("[[peer]]", *lines)) + "\n"


def _read_site(path: Path) -> list[Peer]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PeerError(EntryProblem(field="file", sentence=f"Site file {path}: {error}.")) from error
    tables = document.get("peer", [])
    unknown = [key for key in document if key not in ("peer", "rule")]  # rules: dicom_node.site_rules
    if unknown or not isinstance(tables, list):
        sentence = f"Site file {path}: only [[peer]] tables are known here, not {', '.join(unknown) or 'this form'}."
        raise PeerError(EntryProblem(field="file", sentence=sentence))
    found = [_read_table(table, f"Site file {path}, peer {number}") for number, table in enumerate(tables, start=1)]
    if len({peer.name for peer in found}) != len(found):
        raise PeerError(EntryProblem(field="name", sentence=f"Site file {path}: two peers have the same name."))
    return found


def _read_table(table: Any, origin: str) -> Peer:  # noqa: ANN401 - whatever TOML holds at that place
    kinds: dict[str, Any] = {field.name: field.type for field in fields(Peer)}
    if not isinstance(table, dict):
        raise PeerError(EntryProblem(field="file", sentence=f"{origin}: a table is needed."))
    for key, value in table.items():
        if key not in kinds:
            sentence = f"{origin}: unknown key {key!r}; known: {', '.join(kinds)}."
            raise PeerError(EntryProblem(field=key, sentence=sentence))
        if type(value) is not kinds[key]:
            sentence = f"{origin}: {key} = {value!r}, but a {kinds[key].__name__} is needed."
            raise PeerError(EntryProblem(field=key, sentence=sentence))
    missing = [key for key in ("name", "ae_title") if key not in table]
    if missing:
        raise PeerError(EntryProblem(field=missing[0], sentence=f"{origin}: {' and '.join(missing)} must be given."))
    try:
        return Peer(**table)
    except PeerError as error:
        told = (EntryProblem(field=each.field, sentence=f"{origin}: {each.sentence}") for each in error.problems)
        raise PeerError(*told) from error
