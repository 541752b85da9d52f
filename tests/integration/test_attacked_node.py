"""A whole node under attack, by PDUs and by headers that nobody should send: a real study is delivered meanwhile."""

import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom import dcmread

from benchmarks.fuzz_headers import header_fuzz
from conversion.values import text
from dicom_node.database.tables import InstanceRow
from tests.support.attacked_listener import is_held, speak_all
from tests.support.dicom_series import STUDY, uid_of
from tests.support.header_fuzz import file_of
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import Instance, instance_of, running_pacs, store
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

PDUS = int(os.environ.get("GLIONODE_FUZZ_NODE_PDUS", "300"))
VARIANTS = int(os.environ.get("GLIONODE_FUZZ_NODE_HEADERS", "20"))
PIXELS = bytes(8 * 10 * 2)
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PATIENCE_S = 120.0 + 5.0 * VARIANTS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def _instance(content: bytes, number: int) -> Instance:
    """Return a variant as a sender sends it, in a study of its own, named by its own UIDs where they can be read."""
    uid = uid_of(STUDY)
    content = content.replace(uid.encode(), f"{uid[:-4]}1{number:03d}".encode())
    try:
        header = dcmread(io.BytesIO(content), stop_before_pixels=True)
        said = text(header, "SOPInstanceUID"), text(header, "SOPClassUID")
    except Exception:  # noqa: BLE001 - a sender that cannot read its own file names some UID
        said = "", ""
    return Instance(
        sop_class_uid=MR_IMAGE if said[1].count(".") < 2 else said[1],
        sop_instance_uid=said[0] or "1.2.3",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        data_set=content[len(file_of([])) :],
    )


def _send_variants(port: int) -> int:
    """Send variants of headers, each over an association of its own; return how many images were taken."""
    fuzz, taken = header_fuzz(seed=21), 0
    for number in range(VARIANTS):
        for content in fuzz.variant(number, PIXELS):
            try:
                taken += store([_instance(content, number)], port) == [0x0000]
            except (ConnectionRefusedError, ValueError):  # of what pynetdicom does not even ask for
                continue
    return taken


def _send_all(port: int, instances: Sequence[Instance]) -> None:
    """Send as a PACS does: again, where it was not let in or not answered."""
    left, deadline = list(instances), time.monotonic() + PATIENCE_S
    while left:
        assert time.monotonic() < deadline
        try:
            statuses = store(left, port)
        except ConnectionRefusedError:  # the attackers come from the same address
            continue
        assert set(statuses) <= {0x0000, None}
        left = [one for one, status in zip(left, statuses, strict=True) if status is None]


def _is_settled(node: Node) -> bool:
    """Tell whether each study has come to an end, or says what it waits for."""
    studies = node.status().studies
    return not any(
        one.state in ("queued", "running") or (one.state == "receiving" and not one.awaited) for one in studies
    )


def test_an_attacked_node_delivers_what_is_real_and_keeps_its_word(tmp_path: Path) -> None:
    real = make_small_study("real")
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        port = node.settings.node.dicom_port
        with ThreadPoolExecutor(2) as pool:
            attacks = pool.submit(speak_all, port, PDUS, 20261129, lambda _sentence: None)
            variants = pool.submit(_send_variants, port)
            _send_all(port, [instance_of(ds) for ds in real])
            study = node.wait_for_state(
                str(real[0].StudyInstanceUID), {"delivered", "failed", "rejected"}, deadline_s=PATIENCE_S
            )
            thanks, taken = attacks.result(), variants.result()
        assert (study.state, study.reason) == ("delivered", "")
        assert {uid for _, uid, _ in study.results} <= set(pacs.received)
        assert taken > VARIANTS / 2
        with node.database.session() as session:
            rows = {row.sha256: (row.sop_instance_uid, row.path) for row in session.scalars(sa.select(InstanceRow))}
        folder = node.settings.node.folder
        assert [one for one in thanks if not any(is_held(folder, rows, sha256) for sha256 in one)] == []
        wait_until(lambda: _is_settled(node), PATIENCE_S)
        assert node.answers()
        assert node.times("role_ended") == 0
        assert [event for event in node.events() if event["level"] == "error"] == []
