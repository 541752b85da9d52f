"""The two ports of the web process, as the settings want them: the panel, and the viewer with its DICOMweb."""

import uvicorn

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.reception.corrections import Corrections
from dicom_node.reception.inbox import Inbox
from dicom_node.settings import Settings, SettingsError
from dicom_node.storage.disk_space import Disk
from dicom_node.studies.holdings import Holdings
from dicom_node.web.addresses import own_names
from dicom_node.web.app import panel_app
from dicom_node.web.http_server import Front, http_server
from dicom_node.web.provider_setup import unusable_provider
from dicom_node.web.routes_system import Diagnose, no_diagnosis
from dicom_node.web.secure_login import unusable_certificate
from dicom_node.web.stow import STORE_ADDRESSES
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.web.viewer import NodeServices, viewer_app
from dicom_node.web.viewer_assets import ohif_folder
from dicom_node.web.viewer_door import ViewerLogin

__all__ = ["panel_server", "viewer_server"]


def panel_server(settings: Settings, database: Database, diagnose: Diagnose = no_diagnosis) -> uvicorn.Server:
    """Return the server of the panel.

    Parameters
    ----------
    diagnose
        What `glionode doctor` asks.

    Raises
    ------
    SettingsError
        When its certificate, or what is set of the login by OpenID Connect, cannot be used.
    """
    if problem := unusable_provider(settings):
        raise SettingsError(problem)
    bind, port = settings.web.bind, settings.web.port
    app = panel_app(settings, database, diagnose)
    return http_server(app, bind, port, uploads=UPLOAD_PATH, front=_front(settings))


def viewer_server(settings: Settings, database: Database) -> uvicorn.Server:
    """Return the server of the viewer; otherwise as `panel_server`."""
    folder = settings.node.folder
    app = viewer_app(
        Holdings(database, folder),
        ohif_folder(settings),
        login=None if settings.viewer.open else ViewerLogin(settings=settings, database=database),
        services=NodeServices(
            corrections=Corrections(database, Inbox(database, folder), Disk(folder, settings.limits.free_disk_gib)),
            trail=AuditTrail(folder, settings.node.ae_title, database),
        ),
        host_names=own_names(settings),
    )
    bind, port = settings.viewer.bind, settings.viewer.port
    return http_server(app, bind, port, uploads=STORE_ADDRESSES, front=_front(settings))


def _front(settings: Settings) -> Front:
    web = settings.web
    if problem := unusable_certificate(web):
        raise SettingsError(problem)
    return Front(certificate=web.certificate, key=web.key, proxies=web.proxies)
