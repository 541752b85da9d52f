"""The peers as JSON under ``/api/peers``."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from dicom_node.database.engine import Database
from dicom_node.peers.echo import EchoOutcome, echo
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import add_peer, get_peer, list_peers, remove_peer, set_enabled
from dicom_node.settings import Settings
from dicom_node.web.api_document import TOKEN, refusals

__all__ = ["api_routes"]


class PeerModel(BaseModel):
    """A peer."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    name: str
    ae_title: str
    host: str = ""
    port: int = 0
    may_send: bool = True
    is_destination: bool = False
    is_urgent: bool = False
    is_source: bool = False
    dicomweb_url: str = ""
    send_by: str = "c-store"
    objects: str = "SEG,SR"
    transfer_syntax: str = "explicit"
    seg_form: str = "binary"
    seg_series: int = 7701
    sr_series: int = 7702
    proof: str = "auto"
    enabled: bool = True


class PeerChange(BaseModel):
    """A change of a peer."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool


class EchoModel(BaseModel):
    """The result of a C-ECHO."""

    model_config = ConfigDict(from_attributes=True)

    ok: bool
    outcome: EchoOutcome
    sentence: str


def api_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the API; the application answers an unknown name with 404 and an invalid peer with 422."""
    routes = APIRouter(prefix="/api/peers", tags=["peers"], responses=refusals(401, 403), dependencies=[TOKEN])
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No peer has this name."}}

    @routes.get("", summary="List the peers")
    def list_all() -> list[PeerModel]:
        """Return all peers, by name."""
        return [PeerModel.model_validate(peer) for peer in list_peers(database)]

    @routes.post("", status_code=201, summary="Add a peer")
    def add(body: PeerModel) -> PeerModel:
        """Add a peer; what is not stated has the value that the form of the panel suggests."""
        peer = Peer(**body.model_dump())
        add_peer(database, peer)
        return PeerModel.model_validate(peer)

    @routes.patch("/{name}", summary="Enable or disable a peer", responses=unknown)
    def change(name: str, body: PeerChange) -> PeerModel:
        """Enable or disable a peer."""
        set_enabled(database, name, enabled=body.enabled)
        return PeerModel.model_validate(get_peer(database, name))

    @routes.delete("/{name}", status_code=204, summary="Remove a peer", responses=unknown)
    def remove(name: str) -> None:
        """Remove a peer."""
        remove_peer(database, name)

    @routes.post("/{name}/echo", summary="Call a peer by C-ECHO", responses=unknown)
    def call(name: str) -> EchoModel:
        """Call a peer by C-ECHO, and return what came of it in a sentence."""
        return EchoModel.model_validate(echo(get_peer(database, name), settings.node.ae_title))

    return routes
