"""Defines the pinned OHIF release, its configuration and the links into it.

OHIF is served at the root of its own port, since its bundle has absolute paths. A DICOMweb origin on the same port
is read, and takes the segmentations that are corrected in OHIF.
"""

import json
from dataclasses import dataclass
from urllib.parse import urlencode

from viewer_integration.largest_slice import LargestSlice
from viewer_integration.side_by_side import Reformat

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "OHIF_INTEGRITY",
    "OHIF_PACKAGE",
    "OHIF_VERSION",
    "DataSource",
    "FirstView",
    "app_config",
    "first_view_path",
    "open_link",
    "study_link",
    "with_notice",
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

_NOTICE = "Research use only. Not a medical device."
_NOTICE_PX = 22

# OHIF takes the whole height of the window: 100vh in its list of studies, 100vh less its header of 52 pixels, as the
# style of an element, in its viewer. Both end above the line here, so it never covers an image or a tool.
_NOTICE_HTML = f"""<style>
.h-screen {{ height: calc(100vh - {_NOTICE_PX}px) !important; }}
#root div[style*="100vh"][style*="52px"] {{ height: calc(100vh - {52 + _NOTICE_PX}px) !important; }}
#research-use {{ position: fixed; inset: auto 0 0 0; height: {_NOTICE_PX}px; z-index: 2147483647;
  background: #0b1a42; color: #fff; font: 12px/{_NOTICE_PX}px system-ui, sans-serif; text-align: center;
  white-space: nowrap; overflow: hidden; pointer-events: none; }}
</style>
<div id="research-use" role="note">{_NOTICE}</div>
"""

# OHIF calls the first function with its own React, and shows what it returns in the header of every page. It calls the
# second for each failed request; without it, an unreadable image would cause another error.
_FUNCTIONS = """window.config.whiteLabeling = {
  createLogoComponentFn: React => React.createElement(
    'div', {style: {color: '#fff', fontSize: '14px', whiteSpace: 'nowrap'}}, TITLE),
};
window.config.httpErrorHandler = error => console.warn('request failed', (error && error.status) || error);
"""


@dataclass(frozen=True, kw_only=True)
class FirstView:
    """How a study opens: one series, or two side by side, and the slice.

    Attributes
    ----------
    reference
        Series UID of the images on the left, on which the segmentation was made; empty if there is no result.
    overlay
        Series UID of the segmentation over them; empty if there is none.
    beside
        Series UID of the images on the right; empty for one viewport.
    at
        The slice at which the series open; None: their first.
    reformat
        Which of the two is shown in the plane of the other one; None: both as they were acquired.
    """

    study_uid: str
    reference: str = ""
    overlay: str = ""
    beside: str = ""
    at: LargestSlice | None = None
    reformat: Reformat | None = None


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """One DICOMweb origin as configured in OHIF; roots are absolute URLs or paths on OHIF's own port."""

    name: str = "glionode"
    title: str = "GlioNode"
    dicomweb_root: str = "/dicom-web"
    wado_root: str = "/wado"


def app_config(source: DataSource) -> str:
    """Return ``app-config.js``.

    SEG and SR are loaded without a confirmation. No images can be uploaded, changed or rejected. OHIF's tour and its
    dialog of investigational use, which cover the images, are off: the line of `with_notice` stays instead.

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
        "activateViewportBeforeInteraction": False,  # else the first turn of the wheel over a viewport is lost
        "investigationalUseDialog": {"option": "never"},
        "customizationService": {"ohif.tours": {"$set": []}},
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
    functions = _FUNCTIONS.replace("TITLE", json.dumps(source.title))
    return f"window.config = {json.dumps(settings, indent=2)};\n{functions}"


def with_notice(page: str) -> str:
    """Return OHIF's page with a permanent line at the bottom that states research use.

    Parameters
    ----------
    page
        The ``index.html`` of the package.
    """
    before, end, after = page.rpartition("</body>")
    return f"{before or after}{_NOTICE_HTML}{end}{after if end else ''}"


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


def first_view_path(view: FirstView, *, to_correct: bool = False) -> str:
    """Return the path and query that open a study as `dicom_node/web/static/ohif_first_view.js` reads them.

    Parameters
    ----------
    to_correct
        Whether OHIF opens in its mode for segmentations, in which they are drawn, changed and stored by STOW-RS.
    """
    query = {"StudyInstanceUIDs": view.study_uid}
    if view.reference:
        series = {"reference": view.reference, "overlay": view.overlay, "beside": view.beside}
        query |= {"hangingProtocolId": "glionode"} | {name: uid for name, uid in series.items() if uid}
    if view.reformat is not None:
        plane = (*view.reformat.row, *view.reformat.column)
        query |= {"reformat": view.reformat.place, "plane": ",".join(f"{value:.6f}" for value in plane)}
    if view.at is not None:
        query |= {
            "initialSOPInstanceUID": view.at.sop_instance_uid,
            "at": ",".join(f"{value:.3f}" for value in view.at.centre_mm),
            "frame": view.at.frame_of_reference_uid,
        }
    return f"/{'segmentation' if to_correct else 'viewer'}?{urlencode(query, safe=',')}"


def open_link(base_url: str, study_key: str, *, to_correct: bool = False) -> str:
    """Return the link that opens a study as `FirstView` describes, by the key that stands for it in logs and pages.

    Parameters
    ----------
    base_url
        Address of OHIF, such as ``http://127.0.0.1:8041``.
    study_key
        Key of the study.
    to_correct
        As for `first_view_path`.
    """
    return f"{base_url.rstrip('/')}/{'correct' if to_correct else 'open'}/{study_key}"
