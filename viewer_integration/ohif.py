"""Defines the pinned OHIF release, its configuration and the links into it.

OHIF is served at the root of its own port, since its bundle has absolute paths. A DICOMweb origin on the same port
answers only GET and HEAD.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "OHIF_INTEGRITY",
    "OHIF_PACKAGE",
    "OHIF_VERSION",
    "DataSource",
    "app_config",
    "study_link",
]

OHIF_PACKAGE = "@ohif/app"
OHIF_VERSION = "3.13.2"
OHIF_INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""Subresource integrity of the package's archive, as the npm registry states it."""

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'self'"
)
"""Allows only what OHIF needs: it can send requests to no host but its own."""

_NOTICE = "Research use only, not a medical device"

# OHIF calls the first function with its own React, which shows the notice in the header of every page. It calls the
# second for each failed request; without it, an unreadable image would cause another error.
_FUNCTIONS = """window.config.whiteLabeling = {
  createLogoComponentFn: React => React.createElement(
    'div',
    {style: {color: '#fff', fontSize: '13px', lineHeight: '16px', whiteSpace: 'nowrap'}},
    React.createElement('div', {}, TITLE),
    React.createElement('div', {style: {fontSize: '11px', opacity: 0.8}}, NOTICE),
  ),
};
window.config.httpErrorHandler = error => console.warn('request failed', (error && error.status) || error);
"""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One DICOMweb origin as configured in OHIF; roots are absolute URLs or paths on OHIF's own port."""

    name: str = "glionode"
    title: str = "GlioNode"
    dicomweb_root: str = "/dicom-web"
    wado_root: str = "/wado"


def app_config(source: DataSource) -> str:
    """Return ``app-config.js``.

    SEG and SR are loaded without a confirmation. Nothing can be uploaded, changed or stored back. OHIF's own notice of
    investigational use is kept.

    Parameters
    ----------
    source
        The one data source that the page shows.
    """
    settings = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "showLoadingIndicator": True,
        "showWarningMessageForCrossOrigin": True,
        "disableConfirmationPrompts": True,
        "investigationalUseDialog": {"option": "always"},
        "maxNumberOfWebWorkers": 3,
        "defaultDataSourceName": source.name,
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": source.name,
                "configuration": _dicomweb(source),
            }
        ],
    }
    functions = _FUNCTIONS.replace("TITLE", json.dumps(source.title)).replace("NOTICE", json.dumps(_NOTICE))
    return f"window.config = {json.dumps(settings, indent=2)};\n{functions}"


def _dicomweb(source: DataSource) -> dict[str, object]:
    return {
        "friendlyName": source.title,
        "name": source.name,
        "qidoRoot": source.dicomweb_root,
        "wadoRoot": source.dicomweb_root,
        "wadoUriRoot": source.wado_root,
        "qidoSupportsIncludeField": True,
        "supportsReject": False,
        "supportsStow": False,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "dicomUploadEnabled": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
        # When OHIF reads a complete SEG whose rows x columns are not a multiple of 8, it splits it into frames with the
        # bits of each byte in the wrong order (dcmjs, readUncompressedBitFrame): a wrong overlay, without a warning.
        "loadMultiframeAsPart10": False,
    }


def study_link(base_url: str, study_uid: str, seg_series_uid: str | None = None) -> str:
    """Return the link that opens a study, with its overlay when the SEG series is given.

    Parameters
    ----------
    base_url
        Address of OHIF, such as ``http://127.0.0.1:8041``.
    study_uid
        Study Instance UID.
    seg_series_uid
        Series Instance UID of the SEG to show first.
    """
    query = {"StudyInstanceUIDs": study_uid}
    if seg_series_uid is not None:
        query["initialSeriesInstanceUID"] = seg_series_uid
    return f"{base_url.rstrip('/')}/viewer?{urlencode(query)}"
