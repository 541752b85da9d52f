"""The peers as JSON under ``/api/v1/peers``; ``/api/peers`` is the same by its earlier name."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.responses import PlainTextResponse, Response

from dicom_node.database.engine import Database
from dicom_node.peers.activity import waiting_for
from dicom_node.peers.echo import echo
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import (
    add_peer,
    change_peer,
    export_peers,
    get_peer,
    import_peers,
    list_peers,
    plan_import,
    remove_peer,
    set_enabled,
)
from dicom_node.retrieval.connection_tests import newest_tests, start_test
from dicom_node.settings import Settings
from dicom_node.web.api_document import TOKEN, content, refusals
from dicom_node.web.peer_models import (
    EchoModel,
    ImportModel,
    PeerChange,
    PeerDetail,
    PeerModel,
    PeerSettings,
    TestModel,
    TestStarted,
)

__all__ = ["api_routes"]

_PATH, _EARLIER = "/api/v1/peers", "/api/peers"

_TOML = "application/toml"


def api_routes(settings: Settings, database: Database) -> APIRouter:
    """Return the API; the application answers an unknown name with 404 and an invalid peer with 422."""
    routes = APIRouter(tags=["peers"], responses=refusals(401, 403), dependencies=[TOKEN])
    for prefix, documented in ((_PATH, True), (_EARLIER, False)):
        routes.include_router(_all(database), prefix=prefix, include_in_schema=documented)
        routes.include_router(_one(settings, database), prefix=prefix, include_in_schema=documented)
    routes.include_router(_files(database), prefix=_PATH)
    routes.include_router(_tests(settings, database), prefix=_PATH)
    return routes


def _all(database: Database) -> APIRouter:
    routes = APIRouter()

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

    return routes


def _one(settings: Settings, database: Database) -> APIRouter:
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No peer has this name."}}
    routes = APIRouter(prefix="/{name}", responses=unknown)

    @routes.get("", summary="Get a peer")
    def one(name: str) -> PeerDetail:
        """Return a peer, and what would be called off if it were removed."""
        peer = get_peer(database, name)
        return PeerDetail.model_validate({**asdict(peer), "waiting": waiting_for(database, name)})

    @routes.put("", summary="Change a peer")
    def replace(name: str, body: PeerSettings) -> PeerModel:
        """Replace all settings of a peer; it stays enabled or disabled. It applies from the next association."""
        change_peer(database, Peer(name=get_peer(database, name).name, **body.model_dump()))
        return PeerModel.model_validate(get_peer(database, name))

    @routes.patch("", summary="Enable or disable a peer")
    def change(name: str, body: PeerChange) -> PeerModel:
        """Enable or disable a peer; what is for a disabled one waits."""
        set_enabled(database, name, enabled=body.enabled)
        return PeerModel.model_validate(get_peer(database, name))

    @routes.delete("", status_code=204, summary="Remove a peer")
    def remove(name: str) -> None:
        """Remove a peer; what waits for it is called off."""
        remove_peer(database, name)

    @routes.post("/echo", summary="Call a peer by C-ECHO")
    def call(name: str) -> EchoModel:
        """Call a peer by C-ECHO, and return what came of it and what to try."""
        return EchoModel.model_validate(echo(get_peer(database, name), settings.node.ae_title))

    return routes


def _files(database: Database) -> APIRouter:
    routes = APIRouter()

    @routes.get(".toml", summary="Export the peers", response_class=Response, responses=content(_TOML, "The peers."))
    def export() -> Response:
        """Return all peers as TOML, without secrets, as an import and the site file take it."""
        return PlainTextResponse(export_peers(database), media_type=_TOML)

    @routes.put(".toml", summary="Import peers")
    def import_all(text: Annotated[str, Body(media_type=_TOML)], *, preview: bool = False) -> ImportModel:
        """Add and change peers as a TOML text states, all or none; with `preview`, only say what that would change."""
        return ImportModel.model_validate((plan_import if preview else import_peers)(database, text))

    return routes


def _tests(settings: Settings, database: Database) -> APIRouter:
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No peer has this name."}}
    routes = APIRouter(prefix="/{name}/tests", responses=unknown)

    @routes.post("", status_code=202, summary="Send a synthetic study to a peer and back")
    def test(name: str) -> TestStarted:
        """Start to send a small synthetic study, fetch it back and compare it; it runs on after the answer."""
        return TestStarted(id=start_test(settings, database, name))

    @routes.get("", summary="List the tests of a peer")
    def tests(name: str) -> list[TestModel]:
        """Return the newest tests of a peer with the answer to each step, newest first."""
        return [TestModel.model_validate(one) for one in newest_tests(database, get_peer(database, name).name)]

    return routes
