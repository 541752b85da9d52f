"""One broken file hides nothing but itself, on no page and in no search, and leaves a line in the log."""

from collections.abc import Iterator

import httpx
import pytest
import sqlalchemy as sa

from dicom_node.database.tables import StudyRow
from tests.support.broken_files import BROKEN_TAILS, write_broken
from tests.support.viewer_study import ViewerStudy, hold, make_study
from tests.support.web_child import WebChild, web_child

_PATIENT = "SECRET-7"


@pytest.fixture(scope="module")
def broken() -> dict[str, ViewerStudy]:
    return {name: make_study(name, patient_id=_PATIENT) for name in BROKEN_TAILS}


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory, broken: dict[str, ViewerStudy]) -> Iterator[WebChild]:
    folder = tmp_path_factory.mktemp("node")
    with web_child(folder) as running:
        hold(running.database, folder, make_study("good"))
        for name, study in broken.items():
            hold(running.database, folder, study)
            for ds in study.mr:
                write_broken(folder / "received" / f"{ds.SOPInstanceUID}.dcm", ds, BROKEN_TAILS[name])
        yield running


def _get(child: WebChild, path: str) -> httpx.Response:
    return httpx.get(f"{child.viewer}/dicom-web{path}", timeout=60)


@pytest.mark.parametrize("query", ["", "?includefield=all", "?ModalitiesInStudy=MR", "?PatientID=*"])
def test_every_study_is_found(child: WebChild, broken: dict[str, ViewerStudy], query: str) -> None:
    answer = _get(child, f"/studies{query}").raise_for_status()
    found = {study["0020000D"]["Value"][0] for study in answer.json()}
    assert make_study("good").study_uid in found
    assert found >= {study.study_uid for study in broken.values()} or "ModalitiesInStudy" in query  # by their results
    assert "cannot be read" in answer.headers["Warning"]
    kinds = {event["error"] for event in child.events("held_file_unreadable")}
    assert kinds & {"InvalidDicomError", "RecursionError"}
    assert _PATIENT not in child.log_text()


@pytest.mark.parametrize("name", BROKEN_TAILS)
def test_whatever_is_asked_of_a_broken_study_is_answered(
    child: WebChild, broken: dict[str, ViewerStudy], name: str
) -> None:
    study = broken[name]
    below = f"/studies/{study.study_uid}"
    mr = study.mr[0]
    instance = f"{below}/series/{mr.SeriesInstanceUID}/instances/{mr.SOPInstanceUID}"
    for path in ("/series", "/instances", "/metadata"):
        assert _get(child, below + path).raise_for_status().json()
    for path in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010"):
        assert _get(child, instance + path).status_code in (200, 404)
    assert not child.events("web_defect")


@pytest.mark.parametrize("name", BROKEN_TAILS)
def test_the_pages_answer_with_a_sentence(child: WebChild, broken: dict[str, ViewerStudy], name: str) -> None:
    with child.database.session() as session:
        key = session.scalar(sa.select(StudyRow.key).where(StudyRow.study_uid == broken[name].study_uid))
    with child.logged_in() as client:
        page = client.get(f"/studies/{key}").raise_for_status().text
        assert "cannot be shown" in page or "T1 after contrast" in page
        assert client.get("/studies").is_success
        assert client.get("/rules").is_success
        rule = {"name": "A", "kind": "T1", "description": "*contrast*"}
        trial = client.post("/rules/preview", data=rule).raise_for_status().text
        assert "What the rule would change" in trial
    assert not child.events("web_defect")
    assert _PATIENT not in child.log_text()
