"""Bad input to a real node: a clear reason, nothing lost, and the node still serves."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedSRStorage, ImplicitVRLittleEndian

from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import Instance, Pacs, instance_of, running_pacs, store
from tests.support.small_study import make_small_study, uid_of

ENDED = {"delivered", "undelivered", "stored", "rejected", "failed"}


@pytest.fixture(scope="module")
def pacs() -> Iterator[Pacs]:
    with running_pacs() as started:
        yield started


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: Pacs) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("bad input")
    with running_node(folder, [SENDER, destination(pacs)]) as started:
        yield started


@pytest.fixture(autouse=True)
def _still_serving(node: Node) -> Iterator[None]:
    """After every test the listener answers and no process of the node has ended."""
    yield
    assert node.answers()
    assert [event for event in node.events() if event["event"] == "role_ended"] == []


def _send(node: Node, instances: Sequence[Instance]) -> None:
    """Send what the node must accept, and compare what its inbox holds with every byte of it."""
    assert set(store(instances, node.settings.node.dicom_port)) == {0x0000}
    for instance in instances:
        query = "SELECT path FROM instance WHERE sop_instance_uid = ? ORDER BY id DESC"
        ((path,), *_) = node.rows("glionode.sqlite", query, instance.sop_instance_uid)
        content = (node.settings.node.folder / path).read_bytes()
        assert content[128:132] == b"DICM"
        assert content[144 + int.from_bytes(content[140:144], "little") :] == instance.data_set


def _encoded(study: Sequence[Dataset]) -> list[Instance]:
    return [instance_of(ds) for ds in study]


def _told(node: Node, study: Sequence[Dataset]) -> dict[str, Any]:
    """Wait until the node has ended its work on a study; return what the real command says of it."""
    study_uid = str(study[0].StudyInstanceUID)
    node.wait_for_state(study_uid, ENDED)
    studies: list[dict[str, Any]] = _status(node)["studies"]
    (found,) = [one for one in studies if one["study_uid"] == study_uid]
    text = node.command("status").stdout
    assert f"{study_uid}  {found['state']}" in text
    assert found["reason"] in text
    return found


def _status(node: Node) -> dict[str, Any]:
    done = node.command("status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _refusals(node: Node, code: str) -> list[str]:
    """Return the reasons of refusals with a code, each of which the text shows too."""
    reasons = [refusal["reason"] for refusal in _status(node)["refusals"] if refusal["code"] == code]
    text = node.command("status").stdout
    assert all(reason in text for reason in reasons)
    return reasons


def _times_refused(node: Node, codes: set[str]) -> int:
    return sum(int(refusal["count"]) for refusal in _status(node)["refusals"] if refusal["code"] in codes)


def test_bytes_that_are_no_dicom(node: Node) -> None:
    (image, *_) = _encoded(make_small_study("no dicom", roles=["FLAIR"]))
    content = b"These are the minutes of the meeting of 1 April.\n" * 40
    assert store([replace(image, data_set=content)], node.settings.node.dicom_port) == [0xC000]
    assert any(
        "damaged" in reason for reason in _refusals(node, "unreadable_data_set") + _refusals(node, "invalid_uid")
    )


def test_a_text_file_is_not_sent_and_said_so(node: Node, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no image")
    address = f"GLIONODE@127.0.0.1:{node.settings.node.dicom_port}"
    done = node.command("send", str(tmp_path), "--to", address, "--from", "SENDER", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["accepted"] == 0
    assert done.stderr == f"glionode: {tmp_path / 'letter.txt'}: not a DICOM file; not sent\n"


def test_an_image_that_is_cut_within_its_pixels_is_kept_and_its_study_rejected(node: Node) -> None:
    study = make_small_study("cut pixels", roles=["FLAIR"])
    instances = _encoded(study)
    instances[4] = replace(instances[4], data_set=instances[4].data_set[:-500])
    _send(node, instances)
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert "image 5: its pixels end too early" in told["reason"]
    assert "send it again" in told["reason"]


def test_a_study_is_mended_by_sending_the_cut_image_again(node: Node) -> None:
    study = make_small_study("mended", roles=["FLAIR"])
    instances = _encoded(study)
    _send(node, [replace(instances[0], data_set=instances[0].data_set[:-500]), *instances[1:]])
    assert _told(node, study)["state"] == "rejected"
    _send(node, instances[:1])
    node.wait_for_state(str(study[0].StudyInstanceUID), {"delivered"})
    told = _told(node, study)
    assert told["revision"] == 2
    assert any("OTHER PIXELS" in d["reason"] for d in told["decisions"] if d["code"] == "pixels_differ")


def test_an_image_that_is_cut_within_its_header_stays_with_the_sender(node: Node) -> None:
    (image, *_) = _encoded(make_small_study("cut header", roles=["FLAIR"]))
    before = _times_refused(node, {"unreadable_data_set", "invalid_uid"})
    assert store([replace(image, data_set=image.data_set[:60])], node.settings.node.dicom_port) == [0xC000]
    assert _times_refused(node, {"unreadable_data_set", "invalid_uid"}) == before + 1


def test_ae_titles_that_are_not_known_here(node: Node) -> None:
    assert not node.answers(calling_ae="STRANGER")
    assert not node.answers(called_ae="ELSEWHERE")
    (calling,) = _refusals(node, "calling_ae_title")
    assert calling == "calling AE title 'STRANGER' is not an enabled peer that may send; add it on the AE titles page"
    (called,) = _refusals(node, "called_ae_title")
    assert called == "called AE title 'ELSEWHERE' is not that of this node ('GLIONODE')"


def test_a_study_without_mr(node: Node) -> None:
    study = make_small_study("no mr", roles=["T1", "T2"])
    for ds in study:
        is_image = ds.SeriesDescription == "T1"
        ds.SOPClassUID, ds.Modality = (CTImageStorage, "CT") if is_image else (EnhancedSRStorage, "SR")
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert "no MR image series in the study" in told["reason"]
    assert "modality CT" in told["reason"]
    assert "modality SR" in told["reason"]
    assert told["instances"] == len(study)


def test_a_t2_alone(node: Node) -> None:
    study = make_small_study("t2 alone", roles=["T2"])
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert "neither T1 after contrast nor FLAIR was recognised" in told["reason"]


def test_a_child_gets_no_result_and_the_pacs_is_told_why(node: Node, pacs: Pacs) -> None:
    study = make_small_study("child", roles=["FLAIR"])
    for ds in study:
        ds.PatientBirthDate = "20140601"
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert told["reason"].startswith("the result is withheld: the patient is under 18")
    assert "under_18" in [decision["code"] for decision in told["decisions"]]
    assert told["summary"]["volumes_ml"] == {}
    ((kind, uid, _),) = told["results"]
    assert kind == "SR"
    assert told["deliveries"] == [[uid, "PACS", "accepted", 0, ""]]
    (sent,) = pacs.received[uid]
    assert f"No result - {told['reason']}".encode() in sent
    assert b"GlioNode withheld - research use only" in sent


def test_a_flair_alone_gives_the_whole_tumour(node: Node) -> None:
    study = make_small_study("flair alone", roles=["FLAIR"])
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "delivered"
    assert list(told["summary"]["volumes_ml"]) == ["WT"]
    codes = [decision["code"] for decision in told["decisions"]]
    assert "whole_tumour_only" in codes
    assert codes.count("missing_sequence") == 3


def test_two_patients_in_one_association_are_processed_apart(node: Node) -> None:
    studies = [make_small_study(f"patient {number}", ["FLAIR"], patient_id=f"P{number}") for number in range(2)]
    mixed = [ds for pair in zip(*studies, strict=True) for ds in pair]
    _send(node, _encoded(mixed))
    for study in studies:
        told = _told(node, study)
        assert (told["state"], told["instances"]) == ("delivered", len(study))


def test_two_patients_in_one_study_are_rejected(node: Node) -> None:
    study = make_small_study("mixed", roles=["FLAIR"])
    for ds in study[::2]:
        ds.PatientID = "ANOTHER"
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert "2 different patients" in told["reason"]
    query = "SELECT code FROM run WHERE study_uid = ?"
    assert node.rows("glionode.sqlite", query, str(study[0].StudyInstanceUID)) == [("patients_mixed",)]


def test_a_missing_slice(node: Node) -> None:
    study = make_small_study("missing slice", roles=["FLAIR"])
    del study[5]
    _send(node, _encoded(study))
    told = _told(node, study)
    assert told["state"] == "rejected"
    assert "1 slice(s) missing after slice 5" in told["reason"]


def test_a_disk_that_cannot_take_the_results(node: Node) -> None:
    study = make_small_study("no room", roles=["FLAIR"])
    blocked = node.settings.node.folder / "results" / str(study[0].StudyInstanceUID)
    blocked.parent.mkdir(exist_ok=True)
    blocked.write_text("a file where a folder should be")
    _send(node, _encoded(study))
    told = _told(node, study)
    assert (told["state"], told["step"]) == ("failed", "encode")
    assert told["reason"] == "NotADirectoryError: see the node's log for the details (given up after 4 attempts)"


def test_no_log_names_a_patient_or_a_study(node: Node) -> None:
    study = make_small_study("telltale", ["FLAIR"], patient_id="TELLTALE-ID", patient_name="TELLTALE^NAME")
    broken = make_small_study("telltale broken", ["FLAIR"], patient_id="TELLTALE-ID", patient_name="TELLTALE^NAME")
    for ds in (*study, *broken):
        ds.StudyDescription = ds.SeriesDescription = "TELLTALE flair"
        ds.AccessionNumber, ds.ReferringPhysicianName = "TELLTALE", "TELLTALE^DOCTOR"
        for keyword in ("PatientBirthDate", "StudyTime"):
            ds[keyword].VR = "LO"  # of which pydicom believes anything
            setattr(ds, keyword, "TELLTALE")
    for ds in broken:
        ds.add_new("RescaleSlope", "LO", "TELLTALE")
    _send(node, [instance_of(ds, ImplicitVRLittleEndian) for ds in (*study, *broken)])
    _told(node, study)
    assert _told(node, broken)["state"] in {"rejected", "failed"}
    logs = [node.log_file, *node.settings.node.folder.rglob("*.log*")]
    text = "".join(path.read_text(encoding="utf-8") for path in logs)
    assert "study_ready" in text
    assert "TELLTALE" not in text
    for told in node.status().studies:
        assert told.study_uid not in text
        assert told.key in text
    assert uid_of("telltale", "FLAIR", "0") not in text
