"""Self-test: checks what the node needs, one by one, each with a sentence that states what to do."""

import os
import shutil
import tempfile
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.database.engine import Database
from dicom_node.models.roles import production_model
from dicom_node.peers.check import Check
from dicom_node.peers.echo import EchoOutcome, EchoResult, echo
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import accepted_calling_ae_titles, list_peers
from dicom_node.settings import Settings
from dicom_node.storage.durable import make_folder
from dicom_node.storage.private_folder import open_to_others
from dicom_node.web.secure_login import NOBODY_ELSEWHERE, nobody_elsewhere, unusable_certificate
from dicom_node.web.viewer_assets import ohif_folder
from inference.errors import InferenceError

__all__ = ["diagnose"]

_NEEDED_FREE_BYTES = 2 * 2**30
_ECHO_TIMEOUT_S = 5.0
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def diagnose(settings: Settings, database: Database, peer: Peer | None = None) -> list[Check]:
    """Check everything that the node needs; nothing raises, and only the node's folder is made.

    Parameters
    ----------
    settings
        Effective settings.
    database
        The node's database.
    peer
        One more application entity to call, known to the node or not.
    """
    checks = [
        _folder(settings.node.folder),
        _disk(settings.node.folder),
        _model(database, settings),
        _viewer(ohif_folder(settings)),
        _https(settings),
        _database(database),
    ]
    if not checks[-1].ok:
        return checks
    checks.append(_listener(settings, database))
    called = [each for each in list_peers(database) if each.enabled and each.host]
    if peer is not None and peer not in called:
        called.append(peer)
    return [*checks, *(_peer(each, settings.node.ae_title) for each in called)]


def _folder(folder: Path) -> Check:
    try:
        make_folder(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"glionode")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        detail = f"{folder} cannot be written to: {error.strerror}. Change its owner, or the setting node.folder."
        return Check(name="folder", ok=False, detail=detail)
    if mode := open_to_others(folder):
        detail = f"Other users of this machine can read {folder} ({mode:04o}): start the node again, or `chmod 700` it."
        return Check(name="folder", ok=False, detail=detail)
    return Check(name="folder", ok=True, detail=f"{folder} can be written to, and only this user can read it.")


def _disk(folder: Path) -> Check:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(name="disk", ok=False, detail=f"The free space at {folder} cannot be read: {error.strerror}.")
    detail = f"{free / 2**30:.1f} GiB free at {folder}; at least {_NEEDED_FREE_BYTES / 2**30:.0f} GiB are needed."
    return Check(name="disk", ok=free >= _NEEDED_FREE_BYTES, detail=detail)


def _database(database: Database) -> Check:
    kind = database.engine.dialect.name
    try:
        with database.session() as session:
            session.execute(sa.text("SELECT 1"))
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or type(error).__name__
        return Check(name="database", ok=False, detail=f"The {kind} database does not answer: {cause}.")
    return Check(name="database", ok=True, detail=f"The {kind} database answers.")


def _model(database: Database, settings: Settings) -> Check:
    try:
        model = production_model(database, settings)
    except (InferenceError, SQLAlchemyError) as error:
        detail = f"{error}: promote a model, or correct the setting processing.model."
        return Check(name="model", ok=False, detail=detail)
    return Check(name="model", ok=True, detail=f"{model.manifest.name} {model.manifest.version} is available.")


def _viewer(folder: Path) -> Check:
    if not (folder / "index.html").is_file():
        return Check(name="viewer", ok=False, detail=f"OHIF is not installed at {folder}: run `make setup`.")
    return Check(name="viewer", ok=True, detail=f"OHIF is installed at {folder}.")


def _https(settings: Settings) -> Check:
    """Check whether people on other hosts can log in, where the panel listens for them."""
    if problem := unusable_certificate(settings.web):
        return Check(name="https", ok=False, detail=f"{problem}.")
    if nobody_elsewhere(settings):
        return Check(name="https", ok=False, detail=NOBODY_ELSEWHERE)
    if settings.web.certificate:
        detail = "Panel and viewer are served by HTTPS with a certificate of the node's own."
    elif settings.web.proxies:
        detail = (
            f"Logins from other hosts come through the declared proxy {settings.web.proxy}, which has to use HTTPS."
        )
    else:
        detail = "The panel is served on this machine alone, so that plain HTTP will do."
    return Check(name="https", ok=True, detail=detail)


def _listener(settings: Settings, database: Database) -> Check:
    """Send a C-ECHO to the node's own port, with a calling AE title that it accepts, if there is one."""
    node = settings.node
    host = _LOOPBACK.get(node.bind, node.bind)
    known = sorted(accepted_calling_ae_titles(database))
    itself = Peer(name="node", ae_title=node.ae_title, host=host, port=node.dicom_port)
    result = echo(itself, known[0] if known else node.ae_title, _ECHO_TIMEOUT_S)
    if result.outcome is EchoOutcome.CONNECTION_REFUSED:
        detail = f"No node is running at {host}:{node.dicom_port}; start it with `glionode serve`."
        return Check(name="listener", ok=True, detail=detail)
    if result.calling_ae_unknown and not known:
        detail = f"A node is running at {host}:{node.dicom_port}, but no peer may send to it: add one in the panel."
        return Check(name="listener", ok=True, detail=detail)
    return Check(name="listener", ok=result.ok, detail=result.sentence)


def _peer(peer: Peer, calling_ae: str) -> Check:
    result: EchoResult = echo(peer, calling_ae, _ECHO_TIMEOUT_S)
    return Check(name=f"peer {peer.name}", ok=result.ok, detail=result.sentence)
