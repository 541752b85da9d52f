"""A segmentation is corrected in OHIF with its brush, stored in the node, and read again voxel by voxel."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page
from pydicom import dcmread

from conversion.segmentation_reading import segment_masks
from dicom_node.access.sessions import begin_session
from dicom_node.database.engine import Database, open_database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import UserRole
from dicom_node.database.tables import InstanceRow
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.studies.received_corrections import corrections_of
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.stow import STORE_ADDRESSES
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_assets import ohif_folder
from dicom_node.web.viewer_door import ViewerLogin
from tests.support.browser import Watched, box_of, chromium, open_study, overlay_mask, shown_images
from tests.support.panel_client import ADMINISTRATOR, new_login_link
from tests.support.viewer_pair import ViewerPair, hold_pair, make_pair
from tests.support.viewer_port import node_services, served
from tests.support.viewer_study import SEGMENTS, SPACING_MM, THICKNESS_MM
from tests.support.waiting import ANSWER_S
from viewer_integration.ohif import open_link

pytestmark = pytest.mark.browser


@pytest.fixture
def pair() -> ViewerPair:
    return make_pair()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'glionode.sqlite'}")
    yield opened
    opened.engine.dispose()


@contextmanager
def _link(database: Database, folder: Path, pair: ViewerPair) -> Iterator[str]:
    """Serve the viewer's port, and give the link by which the study is corrected."""
    key = hold_pair(database, folder, pair)
    with database.session() as session:
        session.execute(sa.update(InstanceRow).values(patient_key=KeyedHash(database)("SYNTHETIC-1")))
    login = ViewerLogin(settings=read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)}), database=database)
    services = node_services(database, folder)
    app = viewer_app(Holdings(database, folder), ohif_folder(read_settings()), login=login, services=services)
    with served(app, uploads=STORE_ADDRESSES) as url:
        yield open_link(url, key, to_correct=True)


def _cookie(database: Database, role: UserRole) -> str:
    new_login_link(database, "http://node", role)  # adds the user
    return begin_session(database, ADMINISTRATOR, session_limits(read_settings().web))


def test_only_those_who_may_store_are_led_to_the_tools(database: Database, tmp_path: Path, pair: ViewerPair) -> None:
    with _link(database, tmp_path, pair) as link:
        cookies = {SESSION_COOKIE: _cookie(database, UserRole.VIEWER)}
        answer = httpx.get(link, cookies=cookies, timeout=ANSWER_S)
    assert answer.status_code == 403
    assert answer.text.startswith("Segmentations and reports are stored by operators and administrators")


def test_what_is_drawn_in_ohif_is_stored_where_it_was_drawn(
    database: Database, tmp_path: Path, pair: ViewerPair
) -> None:
    watched = Watched()
    with chromium() as browser, _link(database, tmp_path, pair) as link:
        page = _opened(browser, link, _cookie(database, UserRole.OPERATOR), watched)
        _paint_the_right_side(page, pair)
        _save(page)
        page.context.close()
    assert (watched.hosts, watched.errors) == ({"127.0.0.1"}, [])
    assert [(one.kind, one.sender) for one in corrections_of(database, pair.study.study_uid)] == [("SEG", "(STOW-RS)")]
    _assert_painted(_stored(database, tmp_path), pair)


def _opened(browser: Browser, link: str, cookie: str, watched: Watched) -> Page:
    answer = httpx.get(link, cookies={SESSION_COOKIE: cookie}, timeout=ANSWER_S)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/segmentation")
    return open_study(browser, link, segments=len(SEGMENTS), watched=watched, cookies={SESSION_COOKIE: cookie})


def _paint_the_right_side(page: Page, pair: ViewerPair) -> None:
    """Press the brush once, left of the middle: OHIF begins with the first segment."""
    k = pair.fullest()
    shown = [str(ds.SOPInstanceUID) for ds in (pair.study.mr[k], pair.flair[pair.nearest_flair(k)])]
    assert shown_images(page, shown) == shown
    colour = SEGMENTS[0][1]
    before = overlay_mask(page, colour).sum()
    page.locator("[data-cy=Brush-btn]").click()
    box = box_of(page, "canvas.cornerstone-canvas >> nth=0")
    deadline = time.monotonic() + 30
    while overlay_mask(page, colour).sum() <= 1.2 * before:  # OHIF takes a while until its brush is ready
        assert time.monotonic() < deadline, "the brush does not paint"
        page.mouse.move(box["x"] + 0.35 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.up()


def _save(page: Page) -> None:
    page.locator("[data-cy=segmentation-collapsed-more-btn-Labelmap]").click()
    page.get_by_role("menuitem", name="Export").hover()
    page.get_by_role("menuitem", name="DICOM SEG").click()
    with page.expect_response(lambda answer: answer.request.method == "POST") as stored:
        page.get_by_role("dialog").get_by_role("button", name="Save").click()
    assert stored.value.status == 200


def _stored(database: Database, folder: Path) -> Path:
    with database.session() as session:
        query = sa.select(InstanceRow.path).where(InstanceRow.calling_ae == "(STOW-RS)")
        return folder / session.scalars(query).one()


def _assert_painted(path: Path, pair: ViewerPair) -> None:
    read = segment_masks(dcmread(path))
    ours = pair.study.masks.astype(bool)
    theirs = np.zeros_like(ours)
    first = round(float(read.grid.affine[2, 3] - pair.study.mr[0].ImagePositionPatient[2]) / THICKNESS_MM)
    for number, mask in read.masks.items():
        theirs[first : first + len(mask), ..., number - 1] = mask
    k = pair.fullest()
    others = np.arange(len(ours)) != k
    np.testing.assert_array_equal(theirs[others], ours[others])
    painted = theirs[k, ..., 0] & ~ours[k, ..., 0]
    x_mm = -90.0 + np.argwhere(painted)[:, 1] * SPACING_MM
    assert painted.sum() > 50
    assert x_mm.max() < 4.5, "the brush was on the left of the picture, which is the patient's right"
    assert not (theirs[k, ..., 1] & ~ours[k, ..., 1]).any(), "nothing is painted as the other segment"
