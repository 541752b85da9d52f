"""The address that opens a study in OHIF, over real HTTP, and where it leads."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import ResultRow
from dicom_node.studies.holdings import Holdings
from dicom_node.web.viewer import viewer_app
from tests.support.viewer_pair import ViewerPair, hold_pair, make_pair
from tests.support.viewer_port import served
from tests.support.viewer_study import hold, make_study
from tests.support.waiting import ANSWER_S


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")


@pytest.fixture
def pair(database: Database, tmp_path: Path) -> ViewerPair:
    made = make_pair()
    hold_pair(database, tmp_path, made)
    return made


@pytest.fixture
def leads_to(database: Database, tmp_path: Path) -> Callable[[], dict[str, str]]:
    """Return what opens the one study that is held, and returns the query of the address to which it leads."""

    def opened() -> dict[str, str]:
        holdings = Holdings(database, tmp_path)
        (study,) = holdings.studies()
        with served(viewer_app(holdings, tmp_path / "ohif", login=None)) as url:
            answer = httpx.get(f"{url}/open/{study.key}", timeout=ANSWER_S)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (303, "no-store")
        target = urlsplit(answer.headers["Location"])
        assert (target.netloc, target.path) == ("", "/viewer")
        return {name: value for name, (value,) in parse_qs(target.query, strict_parsing=True).items()}

    return opened


def test_both_series_the_overlay_and_the_largest_slice_are_named(
    pair: ViewerPair, leads_to: Callable[[], dict[str, str]]
) -> None:
    found = leads_to()
    assert found.pop("at").endswith(",12.000")
    assert found == {
        "StudyInstanceUIDs": pair.study.study_uid,
        "hangingProtocolId": "glionode",
        "reference": pair.study.mr[0].SeriesInstanceUID,
        "overlay": pair.study.seg.SeriesInstanceUID,
        "beside": pair.flair[0].SeriesInstanceUID,
        "initialSOPInstanceUID": pair.study.mr[pair.fullest()].SOPInstanceUID,
        "frame": pair.study.mr[0].FrameOfReferenceUID,
    }


def test_a_series_alone_is_shown_alone(
    database: Database, tmp_path: Path, leads_to: Callable[[], dict[str, str]]
) -> None:
    study = make_study()
    hold(database, tmp_path, study)
    found = leads_to()
    assert "beside" not in found
    assert (found["reference"], found["overlay"]) == (study.mr[0].SeriesInstanceUID, study.seg.SeriesInstanceUID)


@pytest.mark.usefixtures("pair")
def test_a_broken_segmentation_does_not_hide_the_images(
    database: Database, tmp_path: Path, leads_to: Callable[[], dict[str, str]]
) -> None:
    with database.session() as session:
        path = session.scalars(sa.select(ResultRow.path).where(ResultRow.kind == "SEG")).one()
    (tmp_path / path).write_bytes(b"not DICOM")
    assert {"reference", "beside", "overlay", "at"} & set(leads_to()) == {"reference", "beside"}


def test_without_a_segmentation_the_series_are_shown(
    pair: ViewerPair, database: Database, leads_to: Callable[[], dict[str, str]]
) -> None:
    with database.session() as session:
        session.execute(sa.delete(ResultRow).where(ResultRow.kind == "SEG"))
    found = leads_to()
    assert (found["reference"], found["beside"]) == (
        pair.study.mr[0].SeriesInstanceUID,
        pair.flair[0].SeriesInstanceUID,
    )
    assert "overlay" not in found


def test_a_study_without_a_result_opens_as_it_is(
    pair: ViewerPair, database: Database, leads_to: Callable[[], dict[str, str]]
) -> None:
    with database.session() as session:
        session.execute(sa.delete(ResultRow))
    assert leads_to() == {"StudyInstanceUIDs": pair.study.study_uid}


@pytest.mark.usefixtures("pair")
def test_segment_numbers_in_one_plane_are_not_drawn(database: Database, leads_to: Callable[[], dict[str, str]]) -> None:
    """OHIF draws a LABELMAP in wrong colours, so it is no overlay."""
    with database.session() as session:
        row = session.scalars(sa.select(ResultRow).where(ResultRow.kind == "SEG")).one()
        row.sop_class_uid = "1.2.840.10008.5.1.4.1.1.66.7"
    assert "overlay" not in leads_to()


def test_an_unknown_study_is_not_found(database: Database, tmp_path: Path) -> None:
    with served(viewer_app(Holdings(database, tmp_path), tmp_path / "ohif", login=None)) as url:
        answer = httpx.get(f"{url}/open/0123", timeout=ANSWER_S)
    assert (answer.status_code, "no such study" in answer.text) == (404, True)
