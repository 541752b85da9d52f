"""Opens a study in OHIF: T1 after contrast and FLAIR side by side in one plane, where the tumour is largest."""

from collections.abc import Callable
from functools import lru_cache, partial

import structlog
from pydicom.errors import InvalidDicomError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dicom_node.access.visible import sees
from dicom_node.studies.holdings import HeldInstance, HeldResult, Holdings
from viewer_integration.largest_slice import LargestSlice, largest_slice
from viewer_integration.ohif import FirstView, first_view_path
from viewer_integration.side_by_side import SeriesPlane, reformat, series_plane

__all__ = ["opening_route"]

log = structlog.get_logger(__name__)

_SHOWN = ("T1CE", "FLAIR")
_REMEMBERED = 256

_PlaneOf = Callable[[str, str], SeriesPlane | None]


def opening_route(holdings: Holdings) -> Route:
    """Return the route ``/open/<key>``, which redirects to a study by the key that stands for it in pages and logs."""

    @lru_cache(maxsize=_REMEMBERED)
    def largest(segmentation: HeldInstance) -> LargestSlice | None:  # other content would have another UID
        return largest_slice(holdings.whole(segmentation.path))

    def slice_of(result: HeldResult, key: str) -> LargestSlice | None:
        if result.segmentation is None:
            return None
        try:
            return largest(result.segmentation)
        except (OSError, InvalidDicomError) as error:  # the images are still shown
            log.warning("segmentation_unreadable", study=key, error=type(error).__name__)
            return None

    def open_study(request: Request) -> Response:
        key = request.path_params["key"]
        result = holdings.result(key)
        if result is None or not sees(request.state.user, result.study_uid):
            raise HTTPException(404, "The node holds no such study.")
        address = first_view_path(_first_view(result, slice_of(result, key), partial(_plane, holdings)))
        return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})

    return Route("/open/{key}", open_study, methods=["GET"])


def _plane(holdings: Holdings, study_uid: str, series_uid: str) -> SeriesPlane | None:
    held = holdings.instances(study_uid, series_uid)
    try:
        return series_plane(holdings.header(held[0].path)) if held else None
    except (OSError, InvalidDicomError):  # both series open as they are, and OHIF names the image it cannot read
        return None


def _first_view(result: HeldResult, at: LargestSlice | None, plane_of: _PlaneOf) -> FirstView:
    used = [uid for uid in map(result.series_uids.get, _SHOWN) if uid]
    reference = at.series_uid if at else next(iter(used), "")
    beside = next((uid for uid in used if uid != reference), "")
    planes = [plane_of(result.study_uid, uid) for uid in (reference, beside)] if beside else [None, None]
    return FirstView(
        study_uid=result.study_uid,
        reference=reference,
        overlay=result.segmentation.series_uid if at and result.segmentation else "",
        beside=beside,
        at=at,
        reformat=reformat(*planes),
    )
