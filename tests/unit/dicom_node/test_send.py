"""`glionode send`: addresses, and what becomes of each file of a folder."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.peers.send import Sending, parse_address, send_folder
from tests.support.pacs import Pacs, running_pacs
from tests.support.small_study import make_small_study
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.delivery import DeliveryReceipt


def _write_study(folder: Path, name: str = "send") -> list[Path]:
    paths = []
    for number, ds in enumerate(make_small_study(name, roles=["FLAIR"])):
        path = folder / str(number % 2) / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _all(receipts: Iterable[DeliveryReceipt], total: int) -> Iterable[DeliveryReceipt]:
    assert total > 0
    return receipts


def _send(folder: Path, pacs: Pacs) -> Sending:
    where = RemoteEntity(name="PACS", ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)
    return send_folder(folder, where, "SENDER", _all)


@pytest.mark.parametrize(
    ("text", "ae_title", "host", "port"),
    [
        ("PACS@127.0.0.1:104", "PACS", "127.0.0.1", 104),
        ("A B@pacs.example.org:11112", "A B", "pacs.example.org", 11112),
        ("SIXTEENLETTERS16@h:65535", "SIXTEENLETTERS16", "h", 65535),
    ],
)
def test_an_address_is_read(text: str, ae_title: str, host: str, port: int) -> None:
    assert parse_address(text) == RemoteEntity(name=text, ae_title=ae_title, host=host, port=port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PACS",
        "PACS@host",
        "@host:104",
        "PACS@host:0",
        "PACS@host:65536",
        "PACS@host:\N{ARABIC-INDIC DIGIT ONE}",
        "SEVENTEENLETTERS1@h:1",
        "A@h :1",
    ],
)
def test_what_is_no_address_is_explained_by_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"for example GLIONODE@127\.0\.0\.1:11112"):
        parse_address(text)


def test_every_file_of_a_folder_is_sent(tmp_path: Path) -> None:
    paths = _write_study(tmp_path)
    with running_pacs() as pacs:
        sending = _send(tmp_path, pacs)
    assert sending == Sending(accepted=len(paths), failed=())
    assert {len(versions) for versions in pacs.received.values()} == {1}
    assert len(pacs.received) == len(paths)


def test_a_single_file_is_sent(tmp_path: Path) -> None:
    path, *_ = _write_study(tmp_path)
    with running_pacs() as pacs:
        assert _send(path, pacs).accepted == 1


def test_what_is_no_dicom_is_named_and_the_rest_is_sent(tmp_path: Path) -> None:
    paths = _write_study(tmp_path)
    (tmp_path / "letter.txt").write_text("no image")
    with running_pacs() as pacs:
        sending = _send(tmp_path, pacs)
    assert sending.accepted == len(paths)
    assert sending.failed == ((tmp_path / "letter.txt", "not a DICOM file; not sent"),)


def test_a_damaged_file_is_named_and_the_rest_is_sent(tmp_path: Path) -> None:
    paths = sorted(_write_study(tmp_path))
    ds = dcmread(paths[0])
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.save_as(paths[0])
    paths[0].write_bytes(paths[0].read_bytes()[:-100])
    with running_pacs() as pacs:
        sending = _send(tmp_path, pacs)
    assert sending.accepted == len(paths) - 1
    assert sending.failed == ((paths[0], "its deflated data set is truncated; not sent"),)


def test_a_refusal_is_told_for_each_file(tmp_path: Path) -> None:
    paths = _write_study(tmp_path)
    with running_pacs() as pacs:
        pacs.answer = 0xA700
        sending = _send(tmp_path, pacs)
    assert sending.accepted == 0
    assert sending.failed == tuple((path, "PACS answered 0xA700") for path in sorted(paths))


def test_the_progress_sees_each_receipt_as_it_comes(tmp_path: Path) -> None:
    _write_study(tmp_path)
    seen: list[str] = []

    def watch(receipts: Iterable[DeliveryReceipt], total: int) -> Iterable[DeliveryReceipt]:
        for receipt in receipts:
            seen.append(receipt.sop_instance_uid)
            assert len(pacs.received) == len(seen) <= total
            yield receipt

    with running_pacs() as pacs:
        where = RemoteEntity(name="PACS", ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)
        assert send_folder(tmp_path, where, "SENDER", watch).accepted == len(seen)
    assert seen == list(pacs.received)
