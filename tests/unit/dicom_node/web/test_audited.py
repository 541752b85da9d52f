"""Every request of panel and viewer has its line in the table of the audit trail, and is recorded as that says."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, Route

from dicom_node.access.tokens import add_token
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.app import panel_app
from dicom_node.web.audit_table import PANEL, VIEWER, Kind, RouteTable
from dicom_node.web.audited import without_names
from dicom_node.web.viewer import viewer_app
from tests.support.audit_schema import recorded
from tests.support.canary import CANARIES, leaks, mark
from tests.support.panel_client import ADMINISTRATOR, logged_in, new_login_link
from tests.support.viewer_port import node_services, served
from tests.support.viewer_study import ViewerStudy, hold, make_study
from tests.support.waiting import ANSWER_S


@pytest.fixture(scope="module")
def study() -> ViewerStudy:
    made = make_study("audited")
    for ds in (*made.mr, made.seg):
        mark(ds)
    return made


@pytest.fixture
def held(database: Database, folder: Path, study: ViewerStudy) -> str:
    """Hold the study, and return its key."""
    hold(database, folder, study)
    (one,) = Holdings(database, folder).studies()
    return one.key


@pytest.fixture
def client(database: Database, folder: Path) -> Iterator[httpx.Client]:
    with logged_in(database, folder) as opened:
        yield opened


@pytest.fixture
def viewer(database: Database, folder: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    app = viewer_app(
        Holdings(database, folder), tmp_path / "ohif", login=None, services=node_services(database, folder)
    )
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as opened:
        yield opened


def _routes(app: object) -> set[tuple[str, str]]:
    """Return method and path of every route of an application, however it is wrapped."""
    while not hasattr(app, "routes"):
        app = app._app  # type: ignore[attr-defined]
    found: set[tuple[str, str]] = set()
    for route in app.routes:
        found |= _paths(route)
    return found


def _paths(route: object, prefix: str = "") -> set[tuple[str, str]]:
    if isinstance(route, Mount):
        return {("GET", f"{route.path}/{{path:path}}")}
    if hasattr(route, "effective_route_contexts"):
        return {
            (method, context.path)
            for context in route.effective_route_contexts()
            for method in context.methods
            if method != "HEAD"
        }
    assert isinstance(route, Route)
    return {(method, prefix + route.path) for method in route.methods or () if method != "HEAD"}


def test_every_route_of_the_panel_has_its_line(database: Database, folder: Path) -> None:
    app = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)}), database)
    routes = _routes(app)
    assert len(routes) > 40
    assert routes - set(PANEL) == set(), "add a line to dicom_node/web/audit_table.py"
    assert set(PANEL) - routes == set(), "there is no such route any more"


def test_every_route_of_the_viewer_has_its_line(database: Database, folder: Path, tmp_path: Path) -> None:
    routes = _routes(
        viewer_app(Holdings(database, folder), tmp_path, login=None, services=node_services(database, folder))
    )
    assert routes == set(VIEWER)


@pytest.mark.parametrize("line", [*PANEL.items(), *VIEWER.items()], ids=str)
def test_who_records_nothing_says_why(line: tuple[tuple[str, str], object]) -> None:
    (_, rule) = line
    assert rule.what or rule.kind in (Kind.LOGIN, Kind.LOGOUT)  # type: ignore[attr-defined]


def test_a_route_that_nobody_described_is_recorded_as_a_change() -> None:
    table = RouteTable(PANEL)
    assert table.rule_of("POST", "/invented/thing")[0].kind is Kind.CHANGE
    assert table.rule_of("GET", "/invented/thing")[0].kind is Kind.NOTHING


def test_a_look_at_a_study_is_recorded_once_with_its_patient(
    client: httpx.Client, database: Database, folder: Path, held: str, study: ViewerStudy
) -> None:
    for _ in range(3):
        client.get(f"/studies/{held}").raise_for_status()
    assert client.get("/studies/none").status_code == 404
    (look,) = recorded(folder, database, "accessed")
    assert (look.action, look.outcome, look.users[0]) == ("R", "0", ADMINISTRATOR)
    assert (look.studies, look.patients) == ((study.study_uid,), (CANARIES["PatientID"],))
    assert (look.about, look.addresses[0]) == ((held, "withheld"), "127.0.0.1")


def test_what_a_header_states_as_an_address_is_not_recorded(
    client: httpx.Client, database: Database, folder: Path, held: str
) -> None:
    for stated in (CANARIES["PatientName"], "10.1.2.3"):
        client.get(f"/studies/{held}", headers={"X-Forwarded-For": stated}).raise_for_status()
    found = recorded(folder, database, "accessed")
    assert [one.addresses[0] for one in found] == ["127.0.0.1"], "no proxy is declared"
    assert leaks(found[0].xml.replace(CANARIES["PatientID"], "")) == []


def test_what_a_person_does_to_a_study_is_recorded_each_time(
    client: httpx.Client, database: Database, folder: Path, held: str
) -> None:
    for action in ("stat", "routine"):
        assert client.post(f"/studies/{held}/{action}").status_code == 303
    found = recorded(folder, database, "accessed")
    assert [(one.action, one.description) for one in found] == [("U", "run stat"), ("U", "run routine")]


def test_a_search_is_recorded_without_what_was_searched_for(
    client: httpx.Client, database: Database, folder: Path, held: str
) -> None:
    assert held
    client.post("/studies", data={"text": CANARIES["PatientName"]}).raise_for_status()
    client.get("/studies").raise_for_status()
    (search,) = recorded(folder, database, "query")
    assert search.users[0] == ADMINISTRATOR
    assert leaks(search.xml) == []


def test_changes_of_the_configuration_are_alerts_of_their_kind(
    client: httpx.Client, database: Database, folder: Path
) -> None:
    form = {"name": "A", "ae_title": "A", "may_send": "on"}
    assert client.post("/peers", data=form).status_code == 303
    assert client.post("/peers", data={}).status_code == 422  # changes nothing
    assert client.post("/peers/A/disable").status_code == 303
    assert client.post("/rules", data={"name": "R", "kind": "T1", "description": "x"}).status_code == 303
    assert client.post("/maintenance/on").status_code == 303
    found = recorded(folder, database, "alert")
    assert [(one.types, one.about) for one in found] == [
        (("Network Configuration",), ("peers",)),
        (("Network Configuration",), ("peers",)),
        (("Software Configuration",), ("site rules",)),
        (("Software Configuration",), ("maintenance",)),
    ]
    assert {one.users[0] for one in found} == {ADMINISTRATOR}


def test_who_logs_in_and_out_or_fails_to_is_recorded(database: Database, folder: Path) -> None:
    app = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)}), database)
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        token = httpx.URL(new_login_link(database, url)).params["token"]
        assert client.post("/login", data={"token": "guessed"}).status_code == 403
        assert client.post("/login", data={"token": token}).status_code == 303
        assert client.post("/logout").status_code == 303
        assert client.get("/api/peers").status_code == 401
    found = recorded(folder, database, "authentication")
    assert [(one.types[0], one.outcome, one.users[0]) for one in found] == [
        ("Login", "4", "unknown"),
        ("Login", "0", ADMINISTRATOR),
        ("Logout", "0", ADMINISTRATOR),
    ]
    assert "guessed" not in "".join(one.xml for one in found)
    (denied,) = recorded(folder, database, "alert")
    assert (denied.types, denied.outcome) == (("Use of Restricted Function",), "4")


def test_what_the_viewer_shows_is_one_look_for_hundreds_of_slices(
    viewer: httpx.Client, database: Database, folder: Path, held: str, study: ViewerStudy
) -> None:
    root = f"/dicom-web/studies/{study.study_uid}"
    for ds in study.mr[:4]:
        address = f"{root}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
        viewer.get(f"{address}/frames/1", headers={"Accept": "multipart/related; type=*"}).raise_for_status()
    viewer.get(f"{root}/metadata").raise_for_status()
    (look,) = recorded(folder, database, "accessed")
    assert (look.studies, look.users[0]) == ((study.study_uid,), "anyone")
    assert viewer.get(f"/open/{held}").status_code == 303
    assert len(recorded(folder, database, "accessed")) == 2  # by its key, which is another way to it


def test_a_query_of_the_viewer_is_recorded_without_names(
    viewer: httpx.Client, database: Database, folder: Path, held: str
) -> None:
    assert held
    name, number = CANARIES["PatientName"], CANARIES["PatientID"]
    viewer.get("/dicom-web/studies", params={"PatientName": name, "limit": "5"}).raise_for_status()
    viewer.get("/dicom-web/studies", params={"00100020": number}).raise_for_status()
    found = recorded(folder, database, "query")
    assert len(found) == 2
    assert leaks(found[0].xml) == []


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("PatientName=Doe^Jane&StudyDate=2026", "?PatientName=withheld&StudyDate=2026"),
        ("00100010=Doe&0020000D=1.2", "?00100010=withheld&0020000D=1.2"),
        ("PatientID=77&limit=3", "?PatientID=77&limit=3"),
        ("StudyDescription=Doe&Doe=Jane&AccessionNumber=Doe", "?StudyDescription=withheld&AccessionNumber=withheld"),
        ("", ""),
    ],
)
def test_of_a_query_only_what_names_nobody_is_kept(query: str, kept: str) -> None:
    assert without_names("/dicom-web/studies", query) == f"/dicom-web/studies{kept}"


def test_what_cannot_be_recorded_is_not_shown_or_changed_but_one_can_still_log_in(
    client: httpx.Client, viewer: httpx.Client, database: Database, folder: Path, held: str, study: ViewerStudy
) -> None:
    for path in (folder / "audit").iterdir():
        path.unlink()
    (folder / "audit").rmdir()
    (folder / "audit").write_text("in the way", "utf-8")
    for address in (f"/studies/{held}", "/studies"):
        answer = client.get(address)
        assert answer.status_code == 503
        assert "cannot be recorded" in answer.text
        assert leaks(answer.text) == []
    assert client.post("/maintenance/on").status_code == 503
    assert viewer.get(f"/dicom-web/studies/{study.study_uid}/metadata").status_code == 503
    assert client.get("/help").status_code == 200
    assert client.get("/peers").status_code == 200
    assert client.post("/logout").status_code == 303
    token = httpx.URL(new_login_link(database, str(client.base_url))).params["token"]
    assert client.post("/login", data={"token": token}).status_code == 303
    assert "maintenance" not in client.get("/help").headers


def test_the_trail_names_no_patient(
    client: httpx.Client, viewer: httpx.Client, folder: Path, held: str, study: ViewerStudy
) -> None:
    client.get(f"/studies/{held}").raise_for_status()
    client.post("/studies", data={"text": " ".join(CANARIES.values())[:200]}).raise_for_status()
    client.post(f"/studies/{held}/opinion", data={"verdict": "agree", "comment": CANARIES["PatientComments"]})
    viewer.get(f"/dicom-web/studies/{study.study_uid}/series").raise_for_status()
    found = leaks(*(path.read_bytes() for path in (folder / "audit").iterdir()))
    assert [leak for leak in found if leak.partition(" (")[0] not in CANARIES["PatientID"]] == []


def test_what_a_program_does_is_recorded_with_the_name_of_its_token(
    client: httpx.Client, database: Database, folder: Path
) -> None:
    owners = {"export": "anna", "own": ""}
    given = {name: add_token(database, name, [TokenScope.PEERS], user=user) for name, user in owners.items()}
    peer = {"name": "Archive", "ae_title": "ARCHIVE"}
    with httpx.Client(base_url=client.base_url, timeout=ANSWER_S) as program:
        for token in given.values():
            program.post("/api/v1/peers", json=peer, headers={"Authorization": f"Bearer {token}"})
            program.delete("/api/v1/peers/Archive", headers={"Authorization": f"Bearer {token}"})
    found = recorded(folder, database, "Security Alert")
    tokens = [re.findall(r'AlternativeUserID="(token:[^"]*)"', one.xml) for one in found]
    assert [(one.users[0], *name) for one, name in zip(found, tokens, strict=True)][:4] == [
        ("anna", "token:export"),
        ("anna", "token:export"),
        ("own", "token:own"),
        ("own", "token:own"),
    ]
    assert not any(token in one.xml for token in given.values() for one in found)
