"""Corrections by STOW-RS: who may store, what is answered, and what the viewer then shows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from pydicom import Dataset, dcmwrite

from dicom_node.access.sessions import begin_session
from dicom_node.access.tokens import add_token
from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import TokenScope, UserRole
from dicom_node.database.tables import InstanceRow
from dicom_node.reception.corrections import MOST_OBJECTS
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.auth import SESSION_COOKIE, session_limits
from dicom_node.web.stow import STORE_ADDRESSES
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_door import ViewerLogin
from tests.support.panel_client import ADMINISTRATOR, new_login_link
from tests.support.viewer_port import node_services, served
from tests.support.viewer_study import ViewerStudy, hold_images, make_study
from tests.support.waiting import ANSWER_S
from viewer_integration.transport.stow import store_over_web

STUDIES = "/dicom-web/studies"


@pytest.fixture
def study(database: Database, folder: Path) -> ViewerStudy:
    made = make_study()
    hold_images(database, folder, made)
    with database.session() as session:
        session.execute(sa.update(InstanceRow).values(patient_key=KeyedHash(database)("SYNTHETIC-1")))
    return made


@pytest.fixture
def address(database: Database, folder: Path, study: ViewerStudy) -> Iterator[str]:
    """Serve the viewer's port as `glionode web` does."""
    del study
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})
    app = viewer_app(
        Holdings(database, folder),
        folder / "ohif",
        login=ViewerLogin(settings=settings, database=database),
        services=node_services(database, folder),
    )
    with served(app, uploads=STORE_ADDRESSES) as url:
        yield url


def _client(database: Database, address: str, who: UserRole | TokenScope | None) -> httpx.Client:
    headers, cookies = {}, None
    if isinstance(who, TokenScope):
        headers = {"Authorization": f"Bearer {add_token(database, 'a program', scopes={who})}"}
    elif who is not None:
        new_login_link(database, address, who)  # adds the user
        cookies = {SESSION_COOKIE: begin_session(database, ADMINISTRATOR, session_limits(read_settings().web))}
    return httpx.Client(base_url=address, headers=headers, cookies=cookies, timeout=ANSWER_S)


def _body(*objects: Dataset | bytes) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(b"--next\r\nContent-Type: application/dicom\r\n\r\n" + _bytes(one) + b"\r\n" for one in objects)
    return parts + b"--next--\r\n", {"Content-Type": 'multipart/related; type="application/dicom"; boundary=next'}


def _bytes(ds: Dataset | bytes) -> bytes:
    if isinstance(ds, bytes):
        return ds
    file = BytesIO()
    dcmwrite(file, ds, enforce_file_format=True)
    return file.getvalue()


def _store(client: httpx.Client, *objects: Dataset | bytes, path: str = STUDIES) -> httpx.Response:
    content, headers = _body(*objects)
    return client.post(path, content=content, headers=headers)


def _stored(database: Database) -> int:
    with database.session() as session:
        query = sa.select(sa.func.count()).select_from(InstanceRow).where(InstanceRow.calling_ae == "(STOW-RS)")
        return session.scalar(query) or 0


def _uids(answer: httpx.Response, tag: str) -> Sequence[str]:
    return [item["00081155"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])]


@pytest.mark.parametrize(
    ("who", "status"),
    [
        (None, 401),
        (UserRole.VIEWER, 403),
        (UserRole.OPERATOR, 200),
        (UserRole.ADMINISTRATOR, 200),
        (TokenScope.DICOMWEB_STORE, 200),
        (TokenScope.DICOMWEB_READ, 403),
        (TokenScope.WORKBENCH, 403),
    ],
    ids=str,
)
def test_operators_and_their_tokens_store(
    database: Database, address: str, study: ViewerStudy, who: UserRole | TokenScope | None, status: int
) -> None:
    with _client(database, address, who) as client:
        assert _store(client, study.seg).status_code == status
    assert _stored(database) == (status == 200)


def test_what_was_stored_is_listed_and_can_be_retrieved(database: Database, address: str, study: ViewerStudy) -> None:
    with _client(database, address, UserRole.OPERATOR) as client:
        answer = _store(client, study.seg, study.sr, path=f"{STUDIES}/{study.study_uid}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
        assert _uids(answer, "00081199") == [study.seg.SOPInstanceUID, study.sr.SOPInstanceUID]
        assert "00081198" not in answer.json()
        assert answer.json()["00081190"]["Value"] == [f"{address}{STUDIES}/{study.study_uid}"]
        retrieve = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        found = client.get(f"{retrieve}/metadata")
        assert found.json()[0]["00080018"]["Value"] == [study.seg.SOPInstanceUID]


def test_of_several_objects_each_has_its_own_answer(database: Database, address: str, study: ViewerStudy) -> None:
    with _client(database, address, UserRole.OPERATOR) as client:
        answer = _store(client, study.mr[0], study.seg, b"GIF89a")
    assert answer.status_code == 202
    assert _uids(answer, "00081199") == [study.seg.SOPInstanceUID]
    failed = answer.json()["00081198"]["Value"]
    assert [item["00081197"]["Value"] for item in failed] == [[0x0122], [0xC000]]
    assert failed[1]["00081155"] == {"vr": "UI"}, "an unreadable object has no UID"
    assert "only segmentations and structured reports" in answer.headers["warning"]
    assert _stored(database) == 1


def test_another_patients_object_is_refused_without_naming_anybody(
    database: Database, address: str, study: ViewerStudy
) -> None:
    study.seg.PatientID = "SOMEBODY"
    with _client(database, address, UserRole.OPERATOR) as client:
        answer = _store(client, study.seg)
    assert answer.status_code == 409
    assert [item["00081197"]["Value"] for item in answer.json()["00081198"]["Value"]] == [[0xA900]]
    assert "SOMEBODY" not in answer.text + str(answer.headers)
    assert _stored(database) == 0


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "application/json", 415),
        (b"", "multipart/form-data; boundary=next", 415),
        (b"", 'multipart/related; type="application/dicom+json"; boundary=next', 415),
        (b"--next--\r\n", "multipart/related; boundary=next", 400),
        (b"--next\r\n\r\nhalf", "multipart/related; boundary=next", 400),
        (b"no part", "multipart/related; boundary=next", 400),
    ],
)
def test_what_is_no_store_request_is_explained(
    database: Database, address: str, content: bytes, content_type: str, status: int
) -> None:
    with _client(database, address, UserRole.OPERATOR) as client:
        answer = client.post(STUDIES, content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.text.strip().endswith(".")


def test_objects_beyond_the_limit_are_refused(database: Database, address: str) -> None:
    with _client(database, address, UserRole.OPERATOR) as client:
        assert _store(client, *[b"x"] * (MOST_OBJECTS + 1)).status_code == 413


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_nothing_else_can_be_changed_here(database: Database, address: str, study: ViewerStudy, method: str) -> None:
    with _client(database, address, UserRole.ADMINISTRATOR) as client:
        assert client.request(method, f"{STUDIES}/{study.study_uid}").status_code == 405
        assert client.post(f"{STUDIES}/{study.study_uid}/series").status_code == 405


def test_another_web_page_stores_nothing_in_a_users_name(database: Database, address: str, study: ViewerStudy) -> None:
    content, headers = _body(study.seg)
    with _client(database, address, UserRole.OPERATOR) as client:
        for foreign in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post(STUDIES, content=content, headers=headers | foreign).status_code == 403
    assert _stored(database) == 0


def test_the_nodes_own_sender_finds_its_objects_accepted(
    database: Database, address: str, study: ViewerStudy, tmp_path: Path
) -> None:
    paths = [tmp_path / "seg.dcm", tmp_path / "image.dcm"]
    for path, ds in zip(paths, (study.seg, study.mr[0]), strict=True):
        ds.save_as(path, enforce_file_format=True)
    token = add_token(database, "sender", scopes={TokenScope.DICOMWEB_STORE})
    headers = {"Authorization": f"Bearer {token}"}
    receipts = list(store_over_web(paths, "GlioNode", f"{address}/dicom-web", headers))
    assert [one.accepted for one in receipts] == [True, False]


def test_a_sender_that_goes_away_leaves_nothing(
    database: Database, folder: Path, address: str, study: ViewerStudy
) -> None:
    content, headers = _body(study.seg)

    def half() -> Iterator[bytes]:
        yield content[: len(content) // 2]
        raise ConnectionResetError

    with ExitStack() as stack:
        client = stack.enter_context(_client(database, address, UserRole.OPERATOR))
        with pytest.raises(ConnectionResetError):
            client.post(STUDIES, content=half(), headers=headers)
    assert _stored(database) == 0
    assert list((folder / "inbox").rglob("*.part")) == []
