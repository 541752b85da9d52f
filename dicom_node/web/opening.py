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
from dicom_node.web.viewer_door import MAY_NOT_STORE
from viewer_integration.largest_slice import LargestSlice, largest_slice
from viewer_integration.ohif import FirstView, first_view_path
from viewer_integration.side_by_side import SeriesPlane, reformat, series_plane

__all__ = ["opening_routes"]

log = structlog.get_logger(__name__)

_SHOWN = ("T1CE", "FLAIR")
_REMEMBERED = 256

_PlaneOf = Callable[[str, str], SeriesPlane | None]


def opening_routes(holdings: Holdings) -> list[Route]:
    """Return the routes that redirect to a study by the key that stands for it in pages and logs.

    ``/open/<key>`` shows it, ``/correct/<key>`` opens it to change its segmentation.
    """
    views = _FirstViews(holdings)

    def open_study(request: Request) -> Response:
        return _redirect(first_view_path(views.of(request)))

    def correct_study(request: Request) -> Response:
        if not request.state.user.may_store:  # said before anything is drawn that could not be stored
            raise HTTPException(403, MAY_NOT_STORE)
        return _redirect(first_view_path(views.of(request), to_correct=True))

    return [
        Route("/open/{key}", open_study, methods=["GET"]),
        Route("/correct/{key}", correct_study, methods=["GET"]),
    ]


def _redirect(address: str) -> Response:
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


class _FirstViews:
    """Finds how each study opens; the slices of the last ones are remembered."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._largest = lru_cache(maxsize=_REMEMBERED)(self._read_largest)  # other content would have another UID

    def of(self, request: Request) -> FirstView:
        """Return the first view of the study that a request names; raises HTTPException for one that is not held."""
        key = request.path_params["key"]
        result = self._holdings.result(key)
        if result is None or not sees(request.state.user, result.study_uid):
            raise HTTPException(404, "The node holds no such study.")
        return _first_view(result, self._slice(result, key), partial(_plane, self._holdings))

    def _slice(self, result: HeldResult, key: str) -> LargestSlice | None:
        if result.segmentation is None:
            return None
        try:
            return self._largest(result.segmentation)
        except (OSError, InvalidDicomError) as error:  # the images are still shown
            log.warning("segmentation_unreadable", study=key, error=type(error).__name__)
            return None

    def _read_largest(self, segmentation: HeldInstance) -> LargestSlice | None:
        return largest_slice(self._holdings.whole(segmentation.path))


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
