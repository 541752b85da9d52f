"""What the node keeps of a study is its user's alone, whichever of its processes wrote it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.peers.registry import put_peer
from tests.support.node import SENDER, Node
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Run a node that was started where new files are open to everybody."""
    before = os.umask(0o077)
    try:
        node = Node(tmp_path, {})  # opens the books, in this process
        put_peer(node.database, SENDER)
        os.umask(0o000)
        node.start()
        yield node
    finally:
        os.umask(before)
        node.stop()
        node.database.engine.dispose()


def test_images_results_and_all_between_are_closed_to_others(node: Node) -> None:
    study = make_small_study("private", ["FLAIR"])
    assert set(store([instance_of(ds) for ds in study], node.settings.node.dicom_port)) == {0x0000}
    assert node.wait_for_state(str(study[0].StudyInstanceUID), {"stored", "failed", "rejected"}).state == "stored"
    folder = node.settings.node.folder
    kept = [folder, *folder.rglob("*")]
    assert {"inbox", "results"} <= {path.name for path in kept}
    assert [str(path) for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
