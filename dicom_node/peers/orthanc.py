"""Connects the node with an Orthanc: registers each with the other, and sets up auto-routing over Orthanc's REST API.

DICOM cannot do this, so pyorthanc is used; everything else between the two is plain DICOM.
"""

import ipaddress
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx
from pyorthanc import Orthanc

from dicom_node.database.engine import Database
from dicom_node.peers.check import Check
from dicom_node.peers.echo import echo
from dicom_node.peers.peer import Peer, PeerError
from dicom_node.peers.registry import add_peer, list_peers, remove_peer
from dicom_node.settings import Settings, config_folder

__all__ = ["OrthancTarget", "connect_orthanc", "disconnect_orthanc", "lasting_configuration", "routing_script"]

_MODALITY = "glionode"  # the node's name in Orthanc; the routing script uses it too
_TIMEOUT_S = 10.0
_ECHO_TIMEOUT_S = 5
_STOP_ROUTING = "if GlioNode then GlioNode.route = function(study) end end"


class _OrthancError(Exception):
    """Orthanc cannot be used as requested; the text is one sentence for the user."""


@dataclass(frozen=True, kw_only=True)
class OrthancTarget:
    """Where Orthanc is, and how it and the node reach each other.

    Parameters
    ----------
    url
        Root of the REST API, such as ``http://127.0.0.1:8042``.
    node_host
        Host at which Orthanc reaches the node; empty: this machine's address on the route to Orthanc.
    orthanc_dicom_host
        Host at which the node reaches Orthanc; empty: the host of `url`.
    username, password
        Of the REST API, if it requires them.
    """

    url: str
    node_host: str = ""
    orthanc_dicom_host: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


def connect_orthanc(target: OrthancTarget, settings: Settings, database: Database) -> list[Check]:
    """Register both sides, send C-ECHO both ways and set up auto-routing; repeating it changes nothing more.

    Parameters
    ----------
    target
        Orthanc and the addresses.
    settings
        Effective settings of the node, which should be running (the echo from Orthanc needs it).
    database
        The node's database; Orthanc becomes a peer there, sender and destination.

    Returns
    -------
    list of Check
        One for each step. The list ends after a step without which the others are pointless.
    """
    checks: list[Check] = []
    try:
        with _Rest(target) as rest:
            orthanc = _orthanc_as_peer(rest, target, database)
            checks.append(Check(name="orthanc", ok=True, detail=f"Orthanc {rest.version} answers at {rest.url}."))
            node = _node_as_modality(target, settings)
            rest.put_modality(node)
            where = f"{node['AET']} at {node['Host']}:{node['Port']}"
            detail = f"The node is registered in Orthanc as {_MODALITY}: {where}."
            checks.append(Check(name="modality", ok=True, detail=detail))
            _add_if_new(database, orthanc)
            address = f"{orthanc.ae_title} at {orthanc.host}:{orthanc.port}"
            detail = f"Orthanc is registered in the node as {orthanc.name}: {address}."
            checks.append(Check(name="peer", ok=True, detail=detail))
            result = echo(orthanc, settings.node.ae_title, _ECHO_TIMEOUT_S)
            checks.append(Check(name="echo to Orthanc", ok=result.ok, detail=result.sentence))
            checks.append(_step("echo from Orthanc", lambda: rest.echo(where)))
            checks.append(_step("routing", lambda: rest.run_script(routing_script())))
    except (_OrthancError, PeerError) as error:
        checks.append(Check(name="orthanc", ok=False, detail=str(error)))
    return checks


def disconnect_orthanc(target: OrthancTarget, database: Database) -> list[Check]:
    """Stop the routing, and remove the node from Orthanc and Orthanc from the node.

    Entries in Orthanc's own configuration file have to be removed there.
    """
    checks: list[Check] = []
    try:
        with _Rest(target) as rest:
            orthanc = _orthanc_as_peer(rest, target, database)
            rest.delete_modality()
            detail = f"{_MODALITY} is no longer registered in Orthanc."
            checks.append(Check(name="modality", ok=True, detail=detail))
            checks.append(_step("routing", lambda: rest.run_script(_STOP_ROUTING)))
    except (_OrthancError, PeerError) as error:
        return [*checks, Check(name="orthanc", ok=False, detail=str(error))]
    if any(peer.name == orthanc.name for peer in list_peers(database)):
        remove_peer(database, orthanc.name)
    return [*checks, Check(name="peer", ok=True, detail="This Orthanc is no longer registered in the node.")]


def routing_script() -> str:
    """Return the Lua script that sends each MR instance to the node once."""
    return _script_path().read_text(encoding="utf-8")


def lasting_configuration(target: OrthancTarget, settings: Settings) -> str:
    """Return instructions that keep the registration and the routing after a restart of Orthanc."""
    fragment = json.loads((config_folder() / "orthanc" / "orthanc.json").read_text(encoding="utf-8"))
    fragment["DicomModalities"] = {_MODALITY: _node_as_modality(target, settings)}
    return (
        f"To keep this after a restart of Orthanc, copy {_script_path()} beside Orthanc's configuration file,\n"
        f"add these keys to that file, and restart Orthanc:\n{json.dumps(fragment, indent=2)}\n"
    )


def _script_path() -> Path:
    return config_folder() / "orthanc" / "route-to-glionode.lua"


def _step(name: str, action: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=action())
    except _OrthancError as error:
        return Check(name=name, ok=False, detail=str(error))


class _Rest:
    """The few calls to Orthanc that are needed, each failing with one clear sentence."""

    def __init__(self, target: OrthancTarget) -> None:
        try:
            url = httpx.URL(target.url)
        except httpx.InvalidURL as error:
            message = "The URL of Orthanc cannot be read; it should look like http://127.0.0.1:8042."
            raise _OrthancError(message) from error
        if url.scheme not in ("http", "https") or not url.host:
            message = "The URL of Orthanc should look like http://127.0.0.1:8042."
            raise _OrthancError(message)
        self.url = str(url.copy_with(username=None, password=None)).rstrip("/")
        self.version = ""
        self._client: Any = Orthanc(
            self.url,
            target.username or url.username or None,
            target.password or url.password or None,
            return_raw_response=True,
            timeout=_TIMEOUT_S,
        )

    def __enter__(self) -> Self:
        """Keep the connection open."""
        return self

    def __exit__(self, *_details: object) -> None:
        """Close the connection."""
        self._client.close()

    def identity(self) -> tuple[str, int]:
        """Return Orthanc's AE title and its DICOM port."""
        system = self._json(self._client.get_system)
        try:
            self.version = str(system["Version"])
            return str(system["DicomAet"]), int(system["DicomPort"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._no_orthanc() from error

    def put_modality(self, modality: dict[str, Any]) -> None:
        """Register the node, or change its registration."""
        self._allowed(self._client.put_modalities_id, _MODALITY, json=modality)

    def delete_modality(self) -> None:
        """Remove the node, whether it was registered or not."""
        registered = self._json(self._client.get_modalities)
        if not isinstance(registered, list):
            raise self._no_orthanc()
        if _MODALITY in registered:
            self._allowed(self._client.delete_modalities_id, _MODALITY)

    def echo(self, where: str) -> str:
        """Let Orthanc send a C-ECHO to the node."""
        answer = self._call(self._client.post_modalities_id_echo, _MODALITY, json={"Timeout": _ECHO_TIMEOUT_S})
        if answer.is_success:
            return f"Orthanc's C-ECHO was answered by {where}."
        message = (
            f"Orthanc's C-ECHO was not answered by {where}: start the node with `glionode serve`, and check that "
            f"Orthanc can reach node.bind ({_reason(answer)})."
        )
        raise _OrthancError(message)

    def run_script(self, script: str) -> str:
        """Run Lua inside Orthanc."""
        # pyorthanc's own method hands the bytes to httpx in a way that httpx has deprecated.
        answer = self._call(self._client.post, f"{self.url}/tools/execute-script", content=script.encode())
        if answer.status_code == httpx.codes.FORBIDDEN:
            message = (
                "Orthanc runs no scripts over REST (ExecuteLuaEnabled is false): set up the routing in its "
                "configuration file instead."
            )
            raise _OrthancError(message)
        if not answer.is_success or answer.text.strip():
            raise _OrthancError(f"Orthanc did not run the routing script: {_reason(answer)}.")
        return "Orthanc runs the script until it restarts."

    def _json(self, method: Callable[..., Any]) -> Any:  # noqa: ANN401 - whatever the JSON contains
        answer = self._allowed(method)
        try:
            return answer.json()
        except (ValueError, RecursionError) as error:
            raise self._no_orthanc() from error

    def _no_orthanc(self) -> _OrthancError:
        return _OrthancError(f"Something answers at {self.url}, but it is not Orthanc's REST API.")

    def _allowed(self, method: Callable[..., Any], *arguments: object, **content: object) -> httpx.Response:
        answer = self._call(method, *arguments, **content)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            message = f"Orthanc at {self.url} requires a user name and a password, and does not accept those given."
            raise _OrthancError(message)
        if answer.status_code == httpx.codes.FORBIDDEN:
            message = f"Orthanc at {self.url} does not allow its REST API to be used from here (RemoteAccessAllowed)."
            raise _OrthancError(message)
        if not answer.is_success:
            raise _OrthancError(f"Orthanc at {self.url} answered {answer.status_code}: {_reason(answer)}.")
        return answer

    def _call(self, method: Callable[..., Any], *arguments: object, **content: object) -> httpx.Response:
        try:
            answer: httpx.Response = method(*arguments, **content)
        except httpx.TimeoutException as error:
            raise _OrthancError(f"Orthanc at {self.url} did not answer within {_TIMEOUT_S:g} s.") from error
        except httpx.HTTPError as error:
            raise _OrthancError(f"Orthanc cannot be reached at {self.url}: {error}.") from error
        return answer


def _reason(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("Details") or body["Message"])
    except (ValueError, AttributeError, LookupError, RecursionError):
        return answer.text.strip()[:200] or answer.reason_phrase


def _orthanc_as_peer(rest: _Rest, target: OrthancTarget, database: Database) -> Peer:
    """Return Orthanc as a peer, with the name it already has or a free one."""
    ae_title, port = rest.identity()
    host = target.orthanc_dicom_host or httpx.URL(rest.url).host
    wanted = Peer(name="Orthanc", ae_title=ae_title, host=host, port=port, is_destination=True, is_source=True)
    peers = {peer.name: peer for peer in list_peers(database)}
    for peer in peers.values():
        if (peer.ae_title, peer.host, peer.port) == (wanted.ae_title, wanted.host, wanted.port):
            return peer  # as a person has changed it: profile, proof, urgency, whether it is enabled
    number = 1
    while wanted.name in peers:
        number += 1
        wanted = replace(wanted, name=f"Orthanc {number}")
    return wanted


def _add_if_new(database: Database, orthanc: Peer) -> None:
    if orthanc not in list_peers(database):
        add_peer(database, orthanc)


def _node_as_modality(target: OrthancTarget, settings: Settings) -> dict[str, Any]:
    return {
        "AET": settings.node.ae_title,
        "Host": target.node_host or _own_address(httpx.URL(target.url).host),
        "Port": settings.node.dicom_port,
        "AllowEcho": True,
        "AllowFind": True,
        "AllowStore": True,
    }


def _own_address(towards: str) -> str:
    """Return the address of this machine on the route to a host; nothing is sent."""
    try:
        if towards == "localhost" or ipaddress.ip_address(towards).is_loopback:
            return "127.0.0.1"
    except ValueError:
        pass  # a name
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(towards, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
