"""Strange headers at a real node: each study ends with a reason, others go on, and no process names a patient."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from pydicom import Dataset

from tests.support.node import Node, running_node
from tests.support.pacs import Instance, instance_of, store
from tests.support.panel_client import new_login_link
from tests.support.raw_values import put_raw, reread, with_second_study_uid
from tests.support.small_study import make_small_study

TELLTALE = "TELLTALE"
ENDED = {"delivered", "undelivered", "stored", "rejected", "failed"}
TEXTS = {"LO", "SH", "PN", "LT", "ST", "UT", "DA", "TM", "DT", "AS"}

Change = Callable[[Dataset], None]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("strange headers")) as started:
        yield started


def _put(keyword: str, vr: str, value: bytes) -> Change:
    return lambda ds: put_raw(ds, keyword, vr, value)


STRANGE: dict[str, Change] = {
    "rows of three bytes": _put("Rows", "US", b"\1\2\3"),
    "a double of seven bytes": _put("EchoTime", "FD", b"TELLTAL"),
    "an image type of numbers": _put("ImageType", "US", b"\1\0\2\0"),
    "functional groups of text": _put("PerFrameFunctionalGroupsSequence", "LO", b"TELLTALE"),
    "a position of text": _put("ImagePositionPatient", "LO", b"TELLTALE"),
}


def _marked(name: str) -> list[Dataset]:
    """Return a study whose every text carries the mark."""
    study = make_small_study(name, ["FLAIR"], patient_id="TELLTALE-ID", patient_name="TELLTALE^NAME")
    for ds in study:
        for element in ds:
            if element.VR in TEXTS and element.keyword not in ("SeriesDescription", "PatientID", "PatientName"):
                ds.add_new(element.tag, "LO", TELLTALE)
        ds.AccessionNumber, ds.ReferringPhysicianName, ds.SeriesDescription = TELLTALE, "TELLTALE^D", "TELLTALE flair"
    return study


def _strange(name: str, change: Change) -> list[Instance]:
    first, *others = (reread(ds) for ds in _marked(name))
    change(first)
    return [instance_of(ds) for ds in (first, *others)]


def _with_two_study_uids(name: str) -> list[Instance]:
    study = _marked(name)
    buffer = io.BytesIO()
    study[0].save_as(buffer, enforce_file_format=True)
    before = buffer.getvalue()
    plain = instance_of(study[0])
    changed = with_second_study_uid(before)
    doubled = changed[changed.index(plain.data_set[:16]) :]
    return [replace(plain, data_set=doubled), *(instance_of(ds) for ds in study[1:])]


def test_studies_with_strange_headers_end_with_a_reason_and_others_go_on(node: Node) -> None:
    studies = {name: _strange(name, change) for name, change in STRANGE.items()}
    studies["two study UIDs"] = _with_two_study_uids("two study UIDs")
    for instances in studies.values():
        assert set(store(instances, node.settings.node.dicom_port)) == {0x0000}
    good = make_small_study("good", ["FLAIR"])
    assert set(store([instance_of(ds) for ds in good], node.settings.node.dicom_port)) == {0x0000}
    assert node.wait_for_state(str(good[0].StudyInstanceUID), ENDED).state == "stored"
    for name in studies:
        told = node.wait_for_state(str(make_small_study(name, ["FLAIR"])[0].StudyInstanceUID), ENDED)
        assert told.state == "stored" or (told.state == "rejected" and told.reason), (name, told.state, told.reason)
        assert "TELLTALE-ID" not in told.reason  # what is wrong in the file may be quoted; who the patient is, never
        assert "^NAME" not in told.reason
    assert [event for event in node.events() if event["event"] == "role_ended"] == []
    _pages_answer(node)
    _no_process_names_a_patient(node)


def _pages_answer(node: Node) -> None:
    base = f"http://127.0.0.1:{node.settings.web.port}"
    node.wait_for_page(f"{base}/healthz")
    with httpx.Client(base_url=base, follow_redirects=True, timeout=30.0) as browser:
        token = httpx.URL(new_login_link(node.database, base)).params["token"]
        assert browser.post("/login", data={"token": token}).status_code == 200
        pages = ["/", "/rules", *(f"/studies/{told.key}" for told in node.status().studies)]
        assert {page: browser.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)
        viewer = f"http://127.0.0.1:{node.settings.viewer.port}/dicom-web/studies"
        listed = browser.get(viewer, headers={"Accept": "application/dicom+json"})
    assert listed.status_code == 200
    assert len(listed.json()) == len(node.status().studies)


def _no_process_names_a_patient(node: Node) -> None:
    metrics = httpx.get(f"http://127.0.0.1:{node.settings.web.port}/metrics", timeout=30.0)
    text = node.log_file.read_text("utf-8")
    assert "study_ready" in text
    assert TELLTALE not in text + metrics.text
