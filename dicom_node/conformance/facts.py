"""What a statement is made from: the settings, the peers, and the versions of what is installed."""

from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from dicom_node.database.engine import Database
from dicom_node.database.tables import utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import list_peers
from dicom_node.settings import Settings

__all__ = ["PRODUCT", "Facts", "read_facts"]

PRODUCT = "GlioNode"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The configuration at one moment."""

    settings: Settings
    peers: tuple[Peer, ...]
    product_version: str
    implementation_uid: str
    implementation_version: str
    at: datetime

    @property
    def destinations(self) -> tuple[Peer, ...]:
        """Enabled peers that receive results."""
        return tuple(peer for peer in self.peers if peer.enabled and peer.is_destination)

    @property
    def sources(self) -> tuple[Peer, ...]:
        """Enabled peers that are queried."""
        return tuple(peer for peer in self.peers if peer.enabled and peer.is_source)


def read_facts(settings: Settings, database: Database) -> Facts:
    """Read the configuration as it is now."""
    return Facts(
        settings=settings,
        peers=tuple(list_peers(database)),
        product_version=version("glionode"),
        implementation_uid=str(PYNETDICOM_IMPLEMENTATION_UID),
        implementation_version=PYNETDICOM_IMPLEMENTATION_VERSION,
        at=utc_now(),
    )
