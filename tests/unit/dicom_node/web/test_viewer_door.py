"""The viewer's port asks for the panel's session or a token, on every address and for every way of asking."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from starlette.routing import Mount, Route

from dicom_node.access.caller import Caller
from dicom_node.access.tokens import add_token, remove_token
from dicom_node.access.users import set_enabled
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope, UserRole
from dicom_node.database.tables import StudyRow
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.app import panel_app
from dicom_node.web.dicomweb_origin import DicomwebOrigin
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_door import ViewerLogin
from tests.support.orthanc import free_port
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.viewer_study import ViewerStudy, hold, make_study
from tests.support.waiting import ANSWER_S

JSON = {"Accept": "application/dicom+json"}


@pytest.fixture
def study(database: Database, tmp_path: Path) -> ViewerStudy:
    made = make_study()
    hold(database, tmp_path, made)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_WEB_PORT": str(free_port())})


@pytest.fixture
def viewer(database: Database, tmp_path: Path, settings: Settings) -> Iterator[str]:
    (tmp_path / "ohif").mkdir()
    (tmp_path / "ohif" / "index.html").write_text("<html><head></head><body>OHIF</body></html>")
    (tmp_path / "ohif" / "manifest.json").write_text("{}")
    (tmp_path / "ohif" / "app.js").write_text("app")
    login = ViewerLogin(settings=settings, database=database)
    with served(viewer_app(Holdings(database, tmp_path), tmp_path / "ohif", login=login)) as url:
        yield url


@pytest.fixture
def panel(database: Database, settings: Settings) -> Iterator[httpx.Client]:
    with served(panel_app(settings, database)) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


def _addresses(study: ViewerStudy) -> list[str]:
    """Return each address of the DICOMweb origin, of the study that is held."""
    ds = study.mr[0]
    values = {
        "{study}": study.study_uid,
        "{series}": str(ds.SeriesInstanceUID),
        "{instance}": str(ds.SOPInstanceUID),
        "{frames}": "1",
        "{path:path}": "7FE00010",
    }
    found = []
    for route in DicomwebOrigin.__new__(DicomwebOrigin).routes():
        path = route.path
        for name, value in values.items():
            path = path.replace(name, value)
        found.append(path)
    query = (
        f"requestType=WADO&studyUID={study.study_uid}&seriesUID={ds.SeriesInstanceUID}&objectUID={ds.SOPInstanceUID}"
    )
    return [f"{path}?{query}" if path == "/wado" else path for path in found]


def test_no_image_and_no_name_goes_to_a_stranger(viewer: str, study: ViewerStudy) -> None:
    addresses = _addresses(study)
    assert len(addresses) > 10
    for path in [
        *addresses,
        "/dicom-web",
        "/dicom-web/",
        "/dicom-web/none",
        "/wadox",
        "/dicom-web/../dicom-web/studies",
    ]:
        answer = httpx.get(f"{viewer}{path}", headers=JSON, timeout=ANSWER_S)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="GlioNode"'), path
        assert study.study_uid not in answer.text


@pytest.mark.parametrize(
    "credential", ["Basic YW5uYTphbm5h", "Bearer", "Bearer guessed", "guessed", "Cookie", "session"]
)
def test_a_wrong_credential_is_none(viewer: str, study: ViewerStudy, credential: str) -> None:
    del study
    headers = (
        {**JSON, "Authorization": credential} if credential != "Cookie" else {**JSON, "Cookie": "glionode_session=x"}
    )
    assert httpx.get(f"{viewer}/dicom-web/studies", headers=headers, timeout=ANSWER_S).status_code == 401


@pytest.mark.parametrize("path", ["/", "/viewer?StudyInstanceUIDs=1.2", "/open/abc", "/app-config.js", "/app.js", "/x"])
def test_a_page_leads_a_stranger_to_the_panel_s_login_and_back(viewer: str, settings: Settings, path: str) -> None:
    answer = httpx.get(f"{viewer}{path}", timeout=ANSWER_S)
    location = httpx.URL(answer.headers["location"])
    assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
    assert (location.scheme, location.host, location.port, location.path) == (
        "http",
        "127.0.0.1",
        settings.web.port,
        "/login",
    )
    assert location.params["next"] == f"{viewer}{path}"


def test_the_manifest_that_browsers_fetch_without_cookies_is_open(viewer: str) -> None:
    assert httpx.get(f"{viewer}/manifest.json", timeout=ANSWER_S).text == "{}"


@pytest.mark.parametrize("role", list(UserRole))
def test_the_panel_s_session_opens_it_until_it_ends(
    viewer: str, panel: httpx.Client, database: Database, study: ViewerStudy, role: UserRole
) -> None:
    log_in(panel, database, role, "vera")
    with httpx.Client(base_url=viewer, timeout=ANSWER_S, headers=JSON, cookies=dict(panel.cookies)) as client:
        (listed,) = client.get("/dicom-web/studies").json()
        assert listed["0020000D"]["Value"] == [study.study_uid]
        assert "OHIF" in client.get("/").text
        with database.session() as session:
            key = session.scalar(sa.select(StudyRow.key))
        assert client.get(f"/open/{key}").headers["location"].startswith("/viewer?")
        set_enabled(database, "vera", "test", enabled=False)
        assert client.get("/dicom-web/studies").status_code == 401
        assert client.get("/").status_code == 303


@pytest.mark.parametrize("scope", list(TokenScope))
def test_a_token_needs_the_scope(viewer: str, database: Database, study: ViewerStudy, scope: TokenScope) -> None:
    token = add_token(database, "program", [scope])
    with httpx.Client(
        base_url=viewer, timeout=ANSWER_S, headers={**JSON, "Authorization": f"Bearer {token}"}
    ) as program:
        answers = [
            program.get(path) for path in ("/dicom-web/studies", f"/dicom-web/studies/{study.study_uid}/metadata")
        ]
        if scope is TokenScope.DICOMWEB_READ:
            assert [answer.status_code for answer in answers] == [200, 200]
            remove_token(database, "program")
            assert program.get("/dicom-web/studies").status_code == 401
        else:
            assert [answer.status_code for answer in answers] == [403, 403]
            assert 'error="insufficient_scope"' in answers[0].headers["www-authenticate"]
            assert program.get("/").status_code == 403


def test_another_page_is_still_kept_out_with_the_cookie(viewer: str, panel: httpx.Client, database: Database) -> None:
    log_in(panel, database)
    with httpx.Client(base_url=viewer, timeout=ANSWER_S, cookies=dict(panel.cookies)) as client:
        for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
            assert client.get("/dicom-web/studies", headers=headers).status_code == 403


def test_what_a_rule_hides_is_hidden_in_list_search_images_and_opening(
    database: Database, tmp_path: Path, study: ViewerStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every address asks the one function that would know of a rule."""
    import dicom_node.web.dicomweb_origin as origin  # noqa: PLC0415 - the function is exchanged in it
    from dicom_node.web import opening  # noqa: PLC0415

    asked: list[tuple[Caller | None, str]] = []

    def sees(caller: Caller | None, study_uid: str) -> bool:
        asked.append((caller, study_uid))
        return False

    for module in (origin, opening):
        monkeypatch.setattr(module, "sees", sees)
    with database.session() as session:
        key = session.scalar(sa.select(StudyRow.key))
    with (
        served(viewer_app(Holdings(database, tmp_path), tmp_path / "ohif", login=None)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S, headers=JSON) as client,
    ):
        addresses = _addresses(study)
        listing, others = addresses[0], addresses[1:]
        assert (client.get(listing).status_code, client.get(listing).text) in ((200, "[]"), (204, ""))
        assert {client.get(path).status_code for path in others} == {404}
        assert client.get(f"/open/{key}").status_code == 404
    assert {uid for _, uid in asked} == {study.study_uid}


def test_the_table_of_addresses_covers_the_origin(study: ViewerStudy) -> None:
    routes = DicomwebOrigin.__new__(DicomwebOrigin).routes()
    assert all(isinstance(route, Route) and not isinstance(route, Mount) for route in routes)
    assert not any("{" in path for path in _addresses(study))
