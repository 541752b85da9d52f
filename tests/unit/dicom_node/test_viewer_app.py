"""The viewer's port over real HTTP: DICOMweb from the node's holdings, OHIF's files, and nothing but reading."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread

from dicom_node.database.engine import Database, open_database
from dicom_node.studies.holdings import Holdings
from dicom_node.web.viewer import viewer_app
from tests.support.viewer_port import served
from tests.support.viewer_study import UNALIGNED_COLUMNS, ViewerStudy, hold, make_study
from tests.support.waiting import ANSWER_S
from viewer_integration.frames import frame_part
from viewer_integration.ohif import CONTENT_SECURITY_POLICY

_FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("node")


@pytest.fixture(scope="module")
def study() -> ViewerStudy:
    return make_study(columns=UNALIGNED_COLUMNS)


@pytest.fixture(scope="module")
def database(folder: Path, study: ViewerStudy) -> Database:
    opened = open_database(f"sqlite:///{folder / 'node.sqlite'}")
    hold(opened, folder, study)
    hold(opened, folder, make_study("second", patient_id="SYNTHETIC-2"))
    return opened


@pytest.fixture(scope="module")
def ohif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ohif")
    (folder / "index.html").write_text("<title>OHIF</title>", encoding="utf-8")
    (folder / "app.js").write_text("1;", encoding="utf-8")
    (folder / "app-config.js").write_text("window.config = 'the one of the package';", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def page_url(database: Database, folder: Path, ohif: Path) -> Iterator[str]:
    with served(viewer_app(Holdings(database, folder), ohif, host_names=["viewer.example"], login=None)) as url:
        yield url


@pytest.fixture(scope="module")
def client(page_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=page_url, timeout=60) as opened:
        yield opened


def _address(ds: Dataset) -> str:
    series = f"/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    return f"{series}/instances/{ds.SOPInstanceUID}"


def _values(answer: httpx.Response, tag: str) -> list[object]:
    return [entity[tag]["Value"][0] for entity in answer.raise_for_status().json()]


def _parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """Cut a multipart message into content types and bodies."""
    boundary = answer.raise_for_status().headers["Content-Type"].partition("boundary=")[2].encode("ascii")
    first, *inner, last = (b"\r\n" + answer.content).split(b"\r\n--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    cut = [part.removeprefix(b"\r\nContent-Type: ").partition(b"\r\n\r\n") for part in inner]
    return [(content_type.decode("ascii"), body) for content_type, _, body in cut]


# --- QIDO-RS ---------------------------------------------------------------------------------------------------------


def test_studies_are_searched(client: httpx.Client, study: ViewerStudy) -> None:
    everything = client.get("/dicom-web/studies")
    assert everything.headers["Content-Type"] == "application/dicom+json"
    assert everything.headers["Cache-Control"] == "no-store"
    assert len(everything.json()) == 2
    found = client.get("/dicom-web/studies", params={"StudyInstanceUID": study.study_uid, "includefield": "all"})
    assert _values(found, "0020000D") == [study.study_uid]
    assert found.json()[0]["00080061"]["Value"] == ["MR", "SEG", "SR"]
    assert _values(found, "00201208") == [len(study.mr) + 2]
    assert _values(client.get("/dicom-web/studies", params={"PatientID": "*-2"}), "00100020") == ["SYNTHETIC-2"]


def test_limit_and_offset_page_through(client: httpx.Client) -> None:
    pages = [
        _values(client.get("/dicom-web/studies", params={"limit": 1, "offset": offset}), "0020000D")
        for offset in (0, 1, 2)
    ]
    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]


def test_series_and_instances_are_searched(client: httpx.Client, study: ViewerStudy) -> None:
    root = f"/dicom-web/studies/{study.study_uid}"
    assert sorted(map(str, _values(client.get(f"{root}/series"), "00080060"))) == ["MR", "SEG", "SR"]
    assert _values(client.get(f"{root}/series", params={"Modality": "SEG"}), "00201209") == [1]
    assert len(client.get(f"{root}/instances").json()) == len(study.mr) + 2
    found = client.get(f"{root}/series/{study.mr[0].SeriesInstanceUID}/instances", params={"InstanceNumber": "3"})
    assert _values(found, "00080018") == [study.mr[2].SOPInstanceUID]


def test_a_search_that_finds_nothing_is_an_empty_list(client: httpx.Client) -> None:
    for path in (
        "/dicom-web/studies?PatientID=nobody",
        "/dicom-web/studies/1.2/series",
        "/dicom-web/studies/1.2/instances",
    ):
        assert client.get(path).raise_for_status().json() == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dicom-web/studies?limit=many", 400),
        ("/dicom-web/studies?NoSuchKeyword=1", 400),
        ("/dicom-web/studies/1.2;drop/series", 400),
        ("/dicom-web/studies/..%2f..%2fetc/metadata", 404),
        ("/dicom-web/studies/1.2/metadata", 404),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/frames/1", 404),
        ("/dicom-web/studies/1.2/series/1.3/instances/1.4/rendered", 404),
        ("/dicom-web/workitems", 404),
        ("/wado", 400),
        ("/wado?requestType=WADO&studyUID=x&seriesUID=1&objectUID=1", 400),
        ("/wado?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4", 404),
        ("/wado?requestType=WADO&contentType=image/jpeg", 406),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(client: httpx.Client, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text.endswith(".\n")


# --- WADO ------------------------------------------------------------------------------------------------------------


def test_metadata_come_for_study_series_and_instance(client: httpx.Client, study: ViewerStudy) -> None:
    root = f"/dicom-web/studies/{study.study_uid}"
    assert len(client.get(f"{root}/metadata").json()) == len(study.mr) + 2
    assert len(client.get(f"{root}/series/{study.mr[0].SeriesInstanceUID}/metadata").json()) == len(study.mr)
    (found,) = client.get(f"{_address(study.seg)}/metadata").json()
    assert found["00620002"]["Value"][0]["00620005"]["Value"] == ["Edema"]
    assert found["7FE00010"]["BulkDataURI"] == str(client.base_url.join(f"{_address(study.seg)}/bulkdata/7FE00010"))


def test_bulk_data_lie_where_the_metadata_say(client: httpx.Client, study: ViewerStudy) -> None:
    (found,) = client.get(f"{_address(study.seg)}/metadata").json()
    address = found["7FE00010"]["BulkDataURI"]
    assert client.get(address, headers={"Accept": "application/octet-stream"}).content == study.seg.PixelData
    assert study.seg.PixelData in client.get(address, headers=_FRAMES).content


def test_frames_come_as_parts_in_their_order(client: httpx.Client, study: ViewerStudy) -> None:
    answer = client.get(f"{_address(study.seg)}/frames/2,5", headers=_FRAMES)
    wanted = [frame_part(study.seg, number) for number in (2, 5)]
    assert _parts(answer) == [(part.content_type, part.body) for part in wanted]


@pytest.mark.parametrize("frames", ["1,1", "1,2,01", ",".join(map(str, range(1, 1002)))])
def test_a_frame_is_given_once(client: httpx.Client, study: ViewerStudy, frames: str) -> None:
    answer = client.get(f"{_address(study.seg)}/frames/{frames}", headers=_FRAMES)
    assert (answer.status_code, "once" in answer.text) == (400, True)


def test_a_missing_frame_is_told_before_the_others_are_given(client: httpx.Client, study: ViewerStudy) -> None:
    count = int(study.seg.NumberOfFrames)
    answer = client.get(f"{_address(study.seg)}/frames/1,{count + 1}", headers=_FRAMES)
    assert (answer.status_code, f"not frame {count + 1}" in answer.text) == (404, True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
def test_other_web_pages_get_no_images(client: httpx.Client, headers: dict[str, str]) -> None:
    for path in ("/dicom-web/studies", "/wado"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.get("/viewer", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).is_success
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{client.base_url.netloc.decode()}"}
    assert client.get("/dicom-web/studies", headers=own).is_success


def test_one_frame_may_come_alone(client: httpx.Client, study: ViewerStudy) -> None:
    ds = study.mr[0]
    answer = client.get(f"{_address(ds)}/frames/1", headers={"Accept": "application/octet-stream"})
    assert answer.content == ds.PixelData
    assert client.get(f"{_address(ds)}/frames/1", headers={"Accept": "image/png"}).status_code == 406
    assert client.get(f"{_address(ds)}/frames/2").status_code == 404
    assert client.get(f"{_address(ds)}/frames/x").status_code == 400


def test_instances_come_as_they_are_stored(client: httpx.Client, study: ViewerStudy, folder: Path) -> None:
    stored = (folder / "results-1" / f"{study.seg.SOPInstanceUID}.dcm").read_bytes()
    accept = {"Accept": 'multipart/related; type="application/dicom"'}
    ((content_type, body),) = _parts(client.get(_address(study.seg), headers=accept))
    assert content_type == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert body == stored
    assert client.get(_address(study.seg), headers={"Accept": "application/dicom"}).content == stored
    names = {
        "studyUID": study.study_uid,
        "seriesUID": study.seg.SeriesInstanceUID,
        "objectUID": study.seg.SOPInstanceUID,
    }
    assert client.get("/wado", params={"requestType": "WADO", **names}).content == stored


def test_a_whole_study_comes_in_one_message(client: httpx.Client, study: ViewerStudy) -> None:
    parts = _parts(client.get(f"/dicom-web/studies/{study.study_uid}"))
    found = {dcmread(io.BytesIO(body)).SOPInstanceUID for _, body in parts}
    assert found == {ds.SOPInstanceUID for ds in (*study.mr, study.seg, study.sr)}


def test_a_lost_or_broken_file_does_not_hide_its_study(tmp_path: Path, ohif: Path) -> None:
    study = make_study()
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    hold(database, tmp_path, study)
    (tmp_path / "received" / f"{study.mr[0].SOPInstanceUID}.dcm").unlink()
    (tmp_path / "received" / f"{study.mr[1].SOPInstanceUID}.dcm").write_bytes(b"not DICOM")
    with served(viewer_app(Holdings(database, tmp_path), ohif, login=None)) as url:
        root = f"{url}/dicom-web/studies"
        assert len(httpx.get(root, timeout=ANSWER_S).json()) == 1
        assert len(httpx.get(f"{root}/{study.study_uid}/metadata", timeout=ANSWER_S).json()) == len(study.mr)
        assert httpx.get(f"{url}{_address(study.mr[0])}/frames/1", timeout=ANSWER_S).status_code == 404
        assert httpx.get(f"{url}{_address(study.mr[1])}", timeout=ANSWER_S).status_code == 404


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/index.html", "/viewer?StudyInstanceUIDs=1.2", "/viewer/dicomweb", "/local"])
def test_addresses_inside_the_page_give_the_page_with_the_line_of_research_use(client: httpx.Client, path: str) -> None:
    answer = client.get(path).raise_for_status()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "OHIF" in answer.text
    assert answer.text.count("Research use only. Not a medical device.") == 1


def test_files_are_given_and_missing_ones_are_not_the_page(client: httpx.Client) -> None:
    answer = client.get("/app.js")
    assert (answer.text, answer.headers["Cache-Control"]) == ("1;", "no-cache")
    assert answer.headers["Content-Type"].startswith("text/javascript")
    assert client.get("/missing.js").status_code == 404
    assert client.get("/..%2f..%2fetc%2fpasswd").status_code in (200, 404)
    assert "root:" not in client.get("/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd").text


def test_the_configuration_is_ours(client: httpx.Client) -> None:
    answer = client.get("/app-config.js")
    assert "window.config = {" in answer.text
    assert "window.config.extensions.push" in answer.text
    assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("path", ["/", "/app.js", "/dicom-web/studies", "/dicom-web/nothing", "/wado"])
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/dicom-web/studies", "/wado"])
def test_nothing_can_be_written(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert "C-STORE" in answer.text


def test_head_answers_without_a_body(client: httpx.Client) -> None:
    for path in ("/", "/dicom-web/studies"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8041", 200),
        ("127.0.0.1", 200),
        ("[::1]:8041", 200),
        ("viewer.example", 200),
        ("attacker.example", 421),
        ("127.0.0.1.attacker.example", 421),
        ("[::1", 421),
    ],
)
def test_only_known_host_names_are_served(client: httpx.Client, host: str, status: int) -> None:
    assert client.get("/dicom-web/studies", headers={"Host": host}).status_code == status


def test_a_missing_viewer_says_how_to_install_it(database: Database, folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "ohif"
    with served(viewer_app(Holdings(database, folder), missing, login=None)) as url:
        answer = httpx.get(f"{url}/viewer", timeout=ANSWER_S)
        assert (answer.status_code, "make viewer" in answer.text) == (503, True)
        assert httpx.get(f"{url}/dicom-web/studies", timeout=ANSWER_S).status_code == 200
        missing.mkdir()
        (missing / "index.html").write_text("now", encoding="utf-8")
        assert httpx.get(f"{url}/viewer", timeout=ANSWER_S).text.startswith("now")


def test_no_study_uid_is_logged(
    client: httpx.Client, study: ViewerStudy, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    client.get(f"/dicom-web/studies/{study.study_uid}/metadata").raise_for_status()
    captured = capfd.readouterr()
    assert study.study_uid not in captured.out + captured.err + caplog.text


# --- another origin --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def forwarding(page_url: str, ohif: Path) -> Iterator[httpx.Client]:
    """Open the page over another DICOMweb origin, here that of a second viewer port."""
    app = viewer_app(f"{page_url}/dicom-web/", ohif, login=None)
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def test_another_origin_is_read_through(forwarding: httpx.Client, client: httpx.Client, study: ViewerStudy) -> None:
    query = {"StudyInstanceUID": study.study_uid, "includefield": "00081030,00080060"}
    assert _values(forwarding.get("/dicom-web/studies", params=query), "0020000D") == [study.study_uid]
    frames = f"{_address(study.seg)}/frames/1,2"
    assert _parts(forwarding.get(frames, headers=_FRAMES)) == _parts(client.get(frames, headers=_FRAMES))
    alone = {"Accept": "application/octet-stream"}
    (found,) = forwarding.get(f"{_address(study.seg)}/metadata").json()
    address = found["7FE00010"]["BulkDataURI"]
    assert address.startswith(str(forwarding.base_url))
    assert forwarding.get(address, headers=alone).content == study.seg.PixelData
    names = {"studyUID": study.study_uid, "seriesUID": study.sr.SeriesInstanceUID, "objectUID": study.sr.SOPInstanceUID}
    answer = forwarding.get("/wado", params={"requestType": "WADO", **names})
    assert dcmread(io.BytesIO(answer.content)).SOPInstanceUID == study.sr.SOPInstanceUID


def test_another_origin_is_read_only_and_its_refusals_come_through(forwarding: httpx.Client) -> None:
    assert forwarding.post("/dicom-web/studies").status_code == 405
    assert forwarding.get("/dicom-web/studies?limit=many").status_code == 400
    assert forwarding.get("/dicom-web/studies/1.2/metadata").status_code == 404
    assert forwarding.get("/dicom-web/%2e%2e/app.js").status_code == 400
    assert forwarding.head("/dicom-web/studies").status_code == 200


def test_an_origin_that_does_not_answer_is_said(ohif: Path) -> None:
    with served(viewer_app("http://127.0.0.1:9/dicom-web", ohif, login=None)) as url:
        answer = httpx.get(f"{url}/dicom-web/studies", timeout=ANSWER_S)
        assert (answer.status_code, "does not answer" in answer.text) == (502, True)


@pytest.mark.parametrize("root", ["", "127.0.0.1:8042/dicom-web", "file:///etc"])
def test_an_origin_must_be_an_address(root: str, ohif: Path) -> None:
    with pytest.raises(ValueError, match="http or https"):
        viewer_app(root, ohif, login=None)
