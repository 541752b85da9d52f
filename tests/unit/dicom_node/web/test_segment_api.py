"""The workbench as programs use it: files over a real port, computed in a real child process, fetched again."""

import io
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread

from conversion.nifti import read_nifti, write_nifti
from conversion.reading import dicom_files
from conversion.volume import Grid, ImageVolume
from dicom_node.access.tokens import add_token
from dicom_node.database.engine import Database, open_database
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.http_server import Deadlines
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.example import make_example
from dicom_node.workbench.ground_truth import read_ground_truth
from dicom_node.workbench.job_input import DicomInput
from dicom_node.workbench.jobs import claim_job, files_of, input_folder
from dicom_node.workbench.spare_work import Uploads
from inference.regions import Region
from tests.support.detector_model import SHIFT_ROWS, write_detector
from tests.support.panel_client import new_login_link
from tests.support.small_study import make_small_study
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S, wait_until

pytestmark = pytest.mark.torch

WORKER = "here/0"
SIZE = 96


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give a node a folder of its own; its child processes read the same variables."""
    for name, value in {
        "NODE_FOLDER": str(tmp_path / "node"),
        "PROCESSING_MODEL": str(write_detector(tmp_path / "detector")),
        "PROCESSING_THREADS": "1",
        "WORKBENCH_NICENESS": "0",  # beside other tests it would wait for ever
        "PROCESSING_ADMIT": "not_a_brain",  # what is drawn here is a disc in a disc
        "WORKBENCH_UPLOAD_MIB": "8",
        "WORKBENCH_WAITING": "2",
        "WORKBENCH_FILES": "200",
    }.items():
        monkeypatch.setenv(f"GLIONODE_{name}", value)
    return read_settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def address(settings: Settings, database: Database) -> Iterator[str]:
    with served(panel_app(settings, database), Deadlines(request_s=3.0), UPLOAD_PATH) as url:
        yield url


@pytest.fixture
def program(address: str, database: Database) -> Iterator[httpx.Client]:
    """Give a program with a token."""
    headers = {"Authorization": f"Bearer {add_token(database, 'program')}"}
    with httpx.Client(base_url=address, headers=headers, timeout=ANSWER_S) as client:
        yield client


@pytest.fixture
def uploads(settings: Settings, database: Database) -> Iterator[Uploads]:
    work = Uploads(settings, database)
    yield work
    work.stop()


def _volume(path: Path, *, bright: bool) -> Path:
    """Write slices of a round head, with or without a bright disc in the middle three."""
    k, row, column = np.indices((8, SIZE, SIZE))
    voxels = np.where(np.hypot(row - SIZE / 2, column - SIZE / 2) < 44, 100.0, 0.0)
    if bright:
        voxels[(np.hypot(row - 40, column - 52) < 9) & (abs(k - 4) <= 1)] = 400.0
    axial = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [6.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = Grid(shape=(8, SIZE, SIZE), affine=axial, frame_of_reference_uid="drawn")
    write_nifti(ImageVolume(grid=grid, voxels=voxels.astype(np.float32)), path)
    return path


def test_volumes_come_back_as_masks_with_their_findings(
    program: httpx.Client, uploads: Uploads, tmp_path: Path
) -> None:
    flair = _volume(tmp_path / "Patient_flair.nii.gz", bright=True)
    sent = program.post(UPLOAD_PATH, files=[("files", (flair.name, flair.read_bytes()))])
    assert sent.status_code == 202
    job = sent.json()
    assert (job["state"], job["place"], job["sent"]) == ("waiting", 1, [{"name": flair.name, "role": ""}])
    assert program.get(job["links"]["result"]).status_code == 409

    assert uploads.do_next(WORKER)
    assert not uploads.do_next(WORKER)

    done = program.get(job["links"]["status"]).json()
    assert (done["state"], done["reason"], done["step"]) == ("done", "", "")
    names = {"segmentation.nii.gz", "probability_wt.nii.gz", "image_flair.nii.gz", "findings.json", "overlay.png"}
    assert names < set(done["files"])
    answer = program.get(f"{job['links']['status']}/files/segmentation.nii.gz")
    (tmp_path / "mask.nii.gz").write_bytes(answer.content)
    found = np.argwhere(read_nifti(tmp_path / "mask.nii.gz").voxels > 0)
    assert np.allclose(found.mean(axis=0), (4, 40 + SHIFT_ROWS, 52), atol=1.0)
    with zipfile.ZipFile(io.BytesIO(program.get(job["links"]["result"]).content)) as archive:
        assert set(archive.namelist()) == set(done["files"]) - {"result.zip"}
        assert json.loads(archive.read("findings.json"))["sequences"] == ["FLAIR"]


def test_the_sequence_that_the_sender_states_counts_more_than_the_name(
    program: httpx.Client, uploads: Uploads, tmp_path: Path
) -> None:
    volume = _volume(tmp_path / "t2.nii.gz", bright=True)
    job = program.post(UPLOAD_PATH, files={"flair": (volume.name, volume.read_bytes())}).json()
    uploads.do_next(WORKER)
    findings = program.get(f"{UPLOAD_PATH}/{job['id']}/files/findings.json").json()
    assert findings["sequences"] == ["FLAIR"]


def test_a_dicom_archive_comes_back_with_its_objects(program: httpx.Client, uploads: Uploads, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, ds in enumerate(make_small_study("api")):
            ds.save_as(tmp_path / "one.dcm", enforce_file_format=True)
            archive.write(tmp_path / "one.dcm", f"study/{number}")
    job = program.post(UPLOAD_PATH, files={"files": ("study.zip", packed.getvalue())}).json()
    uploads.do_next(WORKER)
    done = program.get(job["links"]["status"]).json()
    assert (done["state"], done["reason"]) == ("done", "")
    assert {"SEG.dcm", "SR.dcm", "segmentation.nii.gz"} < set(done["files"])


def test_an_image_slice_has_an_overlay(program: httpx.Client, uploads: Uploads, tmp_path: Path) -> None:
    pixels = read_nifti(_volume(tmp_path / "v.nii.gz", bright=True)).voxels[4]
    sitk.WriteImage(sitk.GetImageFromArray((pixels / 2).astype(np.uint8)), str(tmp_path / "slice.png"))
    job = program.post(UPLOAD_PATH, files={"flair": ("slice.png", (tmp_path / "slice.png").read_bytes())}).json()
    uploads.do_next(WORKER)
    overlay = program.get(f"{UPLOAD_PATH}/{job['id']}/files/overlay.png")
    assert (overlay.status_code, overlay.content[:4]) == (200, b"\x89PNG")


def test_a_slice_has_an_area_where_its_pixels_have_a_size_and_figures_where_there_is_a_ground_truth(
    program: httpx.Client, uploads: Uploads, tmp_path: Path
) -> None:
    pixels = read_nifti(_volume(tmp_path / "v.nii.gz", bright=True)).voxels[4]
    Image.fromarray((pixels / 2).astype(np.uint8)).save(tmp_path / "slice.png")
    Image.fromarray((pixels > 200).astype(np.uint8) * 255).save(tmp_path / "mine.png")
    sent = {
        name: (file, (tmp_path / file).read_bytes()) for name, file in (("flair", "slice.png"), ("truth", "mine.png"))
    }
    job = program.post(UPLOAD_PATH, files=sent, data={"pixel_mm": "2,0"}).json()
    assert [file["role"] for file in job["sent"]] == ["FLAIR", "truth"]
    uploads.do_next(WORKER)
    files = f"{UPLOAD_PATH}/{job['id']}/files"
    whole = program.get(f"{files}/findings.json").json()["regions"]["WT"]
    assert whole["area_mm2"] == pytest.approx(whole["voxels"] * 4.0, abs=0.1)
    assert whole["volume_ml"] is None
    figures = program.get(f"{files}/comparison.json").json()["regions"]["WT"]
    assert figures["reference_voxels"] == (pixels > 200).sum()
    assert 0.5 < figures["dice"] < 1
    assert figures["hd95_mm"] is None


@pytest.fixture
def open_address(settings: Settings, database: Database) -> Iterator[str]:
    """Serve a panel whose workbench needs no login."""
    opened = replace(settings, workbench=replace(settings.workbench, open=True))
    with served(panel_app(opened, database), Deadlines(request_s=3.0), UPLOAD_PATH) as url:
        yield url


def test_strangers_use_an_open_workbench_and_each_sees_their_own(open_address: str) -> None:
    with (
        httpx.Client(base_url=open_address, timeout=ANSWER_S) as one,
        httpx.Client(base_url=open_address, timeout=ANSWER_S) as other,
    ):
        page = one.get("/workbench")
        assert page.status_code == 200
        cookie = page.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("glionode_visitor=", "httponly", "samesite=strict", "max-age=86400"))
        job = one.post(UPLOAD_PATH, files={"files": ("a.txt", b"a")}).json()
        assert [found["id"] for found in one.get(UPLOAD_PATH).json()] == [job["id"]]
        assert one.get(f"/workbench/{job['id']}").status_code == 200
        assert other.get(UPLOAD_PATH).json() == []
        assert other.get(job["links"]["status"]).status_code == 404
        assert other.get(f"/workbench/{job['id']}").status_code == 404


def test_an_open_workbench_opens_nothing_else(open_address: str) -> None:
    with httpx.Client(base_url=open_address, timeout=ANSWER_S) as stranger:
        page = stranger.get("/workbench").text
        assert "Log in" in page
        assert "/studies" not in page
        for path in ("/studies", "/peers", "/rules", "/fetch", "/"):
            assert stranger.get(path).headers["location"] == "/login"
        assert stranger.get("/api/peers").status_code == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert stranger.get(UPLOAD_PATH, headers=wrong).status_code == 401


def test_a_closed_workbench_knows_no_strangers(address: str) -> None:
    cookies = {"glionode_visitor": "x" * 43}
    with httpx.Client(base_url=address, cookies=cookies, timeout=ANSWER_S) as stranger:
        assert stranger.get(UPLOAD_PATH).status_code == 401
        assert stranger.get("/workbench").headers["location"] == "/login"


def test_the_example_waits_like_an_upload(program: httpx.Client) -> None:
    first = program.post(f"{UPLOAD_PATH}/example")
    assert first.status_code == 202
    assert first.json()["sent"] == [{"name": "Synthetic example", "role": "example"}]
    assert program.post(f"{UPLOAD_PATH}/example").json()["place"] == 2
    full = program.post(f"{UPLOAD_PATH}/example")
    assert (full.status_code, full.headers["retry-after"]) == (429, "60")
    assert "2 uploads are waiting already" in full.json()["detail"]


def test_the_example_is_a_study_with_its_tumour(tmp_path: Path) -> None:
    given = make_example(tmp_path)
    assert isinstance(given.images, DicomInput)
    series = {dcmread(path, stop_before_pixels=True).SeriesDescription for path in dicom_files(given.images.folder)}
    assert len(series) == 4
    assert given.truth is not None
    truth = read_ground_truth(given.truth)
    assert truth.grid is not None
    for region, volume_ml in make_phantom(DEMO_PLAN).true_volume_ml.items():
        if region in truth.regions:
            found_ml = truth.regions[Region(region)].sum() * truth.grid.voxel_volume_ml
            assert found_ml == pytest.approx(volume_ml, rel=0.05), region
    assert set(truth.regions) == {Region.WT, Region.TC, Region.ET}


@pytest.mark.parametrize("entered", ["a", "0", "-1", "nan", "1e9", "1" * 100])
def test_pixels_of_no_size_are_refused(program: httpx.Client, entered: str) -> None:
    answer = program.post(UPLOAD_PATH, files={"flair": ("a.png", b"a")}, data={"pixel_mm": entered})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The size of a pixel is a number of mm, from 0.05 to 10."


def test_what_cannot_be_used_is_explained_to_its_sender(program: httpx.Client, uploads: Uploads) -> None:
    job = program.post(UPLOAD_PATH, files={"files": ("letter.txt", b"Dear colleague")}).json()
    uploads.do_next(WORKER)
    failed = program.get(job["links"]["status"]).json()
    assert failed["state"] == "failed"
    assert failed["reason"].startswith("letter.txt: neither DICOM, NIfTI nor an image. Send a DICOM study")
    refused = program.get(job["links"]["result"])
    assert (refused.status_code, refused.json()["detail"]) == (409, failed["reason"])


def test_an_upload_is_seen_by_its_owner_alone(program: httpx.Client, address: str, database: Database) -> None:
    job = program.post(UPLOAD_PATH, files={"files": ("a.txt", b"a")}).json()
    other = {"Authorization": f"Bearer {add_token(database, 'other')}"}
    status = f"{address}{job['links']['status']}"
    for way in (status, f"{status}/result", f"{status}/files/overlay.png"):
        assert httpx.get(way, headers=other, timeout=ANSWER_S).status_code == 404
        assert httpx.get(way, timeout=ANSWER_S).status_code == 401
    assert httpx.delete(status, headers=other, timeout=ANSWER_S).status_code == 404
    assert httpx.get(f"{address}{UPLOAD_PATH}", headers=other, timeout=ANSWER_S).json() == []
    assert [one["id"] for one in program.get(UPLOAD_PATH).json()] == [job["id"]]
    assert program.delete(job["links"]["status"]).status_code == 204
    assert program.get(job["links"]["status"]).status_code == 404


def test_a_token_opens_the_workbench_and_nothing_else(program: httpx.Client, address: str, database: Database) -> None:
    assert program.get(UPLOAD_PATH).status_code == 200
    for path in ("/api/peers", "/studies", f"{UPLOAD_PATH}s"):
        assert program.get(path).status_code in (401, 403, 303)
    stranger = {"Authorization": "Bearer no-such-token"}
    wrong = httpx.get(f"{address}{UPLOAD_PATH}", headers=stranger, timeout=ANSWER_S)
    assert wrong.status_code == 401
    with httpx.Client(base_url=address, timeout=ANSWER_S) as person:
        token = httpx.URL(new_login_link(database, address)).params["token"]
        person.post("/login", data={"token": token})
        assert person.get(UPLOAD_PATH).json() == []


def test_a_full_queue_refuses_what_does_not_fit_and_keeps_what_waits(program: httpx.Client, settings: Settings) -> None:
    places = [program.post(UPLOAD_PATH, files={"files": ("a", b"a")}).json()["place"] for _ in range(2)]
    refused = program.post(UPLOAD_PATH, files={"files": ("a", b"a")})
    assert (places, refused.status_code, refused.headers["retry-after"]) == ([1, 2], 429, "60")
    assert "2 uploads are waiting" in refused.json()["detail"]
    assert len(program.get(UPLOAD_PATH).json()) == len(list((settings.node.folder / "workbench").iterdir())) == 2


@pytest.mark.parametrize(
    ("headers", "content", "status", "sentence"),
    [
        ({"Content-Type": "application/json"}, b"{}", 415, "multipart/form-data"),
        ({"Content-Type": "multipart/form-data"}, b"", 415, "multipart/form-data"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"no form at all", 422, "damaged"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b--\r\n", 422, "no file"),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * (9 << 20),
            413,
            "8 MiB",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n' * 201 + b"--b--\r\n",
            413,
            "200 files",
        ),
    ],
)
def test_forms_that_are_none_or_too_large_are_refused_and_leave_nothing(
    program: httpx.Client, settings: Settings, headers: dict[str, str], content: bytes, status: int, sentence: str
) -> None:
    answer = program.post(UPLOAD_PATH, content=content, headers=headers)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True)
    assert not any((settings.node.folder / "workbench").glob("*")) or not settings.node.folder.exists()


def test_names_of_files_choose_no_place_on_the_disk(program: httpx.Client, settings: Settings, tmp_path: Path) -> None:
    job = program.post(UPLOAD_PATH, files={"files": ("../../../escaped.nii", b"x")}).json()
    assert job["sent"] == [{"name": "escaped.nii", "role": ""}]
    stored = [path.relative_to(settings.node.folder) for path in settings.node.folder.rglob("*") if path.is_file()]
    assert Path("workbench", job["id"], "input", "00000") in stored
    assert not list(tmp_path.rglob("escaped*"))


def test_a_long_upload_is_taken_as_long_as_it_goes_on(address: str, database: Database) -> None:
    """The port ends a request that takes three seconds here; an upload may take longer, but no piece of it."""
    token = add_token(database, "slow")
    host, port = httpx.URL(address).host, httpx.URL(address).port
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabcdefgh\r\n--b--\r\n'
    head = (
        f"POST {UPLOAD_PATH} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert port is not None
    with socket.create_connection((host, port), timeout=ANSWER_S) as line:
        line.sendall(head.encode())
        for start in range(0, len(body), 16):  # six pieces, one each second
            line.sendall(body[start : start + 16])
            time.sleep(1.0)
        assert b"202 Accepted" in line.recv(4096)
    with socket.create_connection((host, port), timeout=ANSWER_S) as line:
        line.sendall(head.encode() + body[:40])
        assert line.recv(4096) == b"", "an upload that stops is given up"


def test_an_upload_that_is_computed_can_be_cancelled_and_the_next_is_taken(
    program: httpx.Client, uploads: Uploads, settings: Settings, database: Database, tmp_path: Path
) -> None:
    flair = _volume(tmp_path / "flair.nii.gz", bright=True)
    job, after = (program.post(UPLOAD_PATH, files={"files": (flair.name, flair.read_bytes())}).json() for _ in range(2))
    stored = input_folder(settings.node.folder, job["id"]) / "00000"
    stored.unlink()
    os.mkfifo(stored)  # the child that opens it waits for ever
    book = WorkerBook(database)
    worker = threading.Thread(target=uploads.do_next, args=[book.executor])
    worker.start()
    status = job["links"]["status"]
    wait_until(lambda: program.get(status).json()["step"] == "read")
    book.beat()
    stopped = program.delete(status)
    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopping")
    began = time.monotonic()
    worker.join(ANSWER_S)
    assert time.monotonic() - began < 10.0
    assert program.get(status).status_code == 404
    assert program.delete(status).status_code == 404
    assert [path.name for path in (settings.node.folder / "workbench").iterdir()] == [after["id"]]

    assert uploads.do_next(WORKER)
    assert program.get(after["links"]["status"]).json()["state"] == "done"


def test_what_a_dead_worker_was_to_stop_is_removed_by_the_next(
    program: httpx.Client, uploads: Uploads, settings: Settings, database: Database
) -> None:
    job = program.post(UPLOAD_PATH, files={"files": ("a", b"a")}).json()
    executor = WorkerBook(database).executor
    claim_job(database, executor)
    assert program.delete(job["links"]["status"]).status_code == 202
    uploads.give_back([executor])
    assert program.get(job["links"]["status"]).status_code == 404
    assert list((settings.node.folder / "workbench").iterdir()) == []


def test_folders_in_a_name_are_kept_for_guessing_alone(
    program: httpx.Client, settings: Settings, database: Database, tmp_path: Path
) -> None:
    names = ["case/flair/a.nii", "..\\..\\T1\\b.nii", "/etc/c.nii", "d" * 400 + "/t2/d.nii"]
    job = program.post(UPLOAD_PATH, files=[("files", (name, b"x")) for name in names]).json()
    assert [file["name"] for file in job["sent"]] == ["a.nii", "b.nii", "c.nii", "d.nii"]
    kept = files_of(database, job["id"])
    assert [file.folder for file in kept] == ["case/flair", "../../T1", "/etc", "d" * 252 + "/t2"]
    stored = sorted(path for path in (settings.node.folder / "workbench").rglob("*") if path.is_file())
    assert [path.name for path in stored] == ["00000", "00001", "00002", "00003"]
    assert {path.parent for path in stored} == {input_folder(settings.node.folder, job["id"])}
    told = program.post(f"{UPLOAD_PATH}/roles", json={"names": [names[0], "img.nii", "T1ce/vol.nii"]}).json()
    assert told == ["FLAIR", "", "T1CE"]
    assert not list(tmp_path.rglob("?.nii"))
