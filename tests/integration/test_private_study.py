"""What the node keeps of a study is its user's alone, whichever of its processes wrote it."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.peers.registry import put_peer
from tests.support.node import SENDER, Node
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study

DEADLINE_S = 120.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Run a node that was started where new files are open to everybody."""
    before = os.umask(0o077)
    try:
        node = Node(tmp_path, {})  # opens the database, in this process
        put_peer(node.database, SENDER)
        os.umask(0o000)
        node.start()
        yield node
    finally:
        os.umask(before)
        node.stop()
        node.database.engine.dispose()


def _modes(folder: Path) -> dict[Path, int]:
    """Return the mode of the folder and of all in it, but for what the node removes while it is looked at."""
    modes = {}
    for place, folders, files in os.walk(folder):
        for path in (Path(place), *(Path(place, name) for name in (*folders, *files))):
            with contextlib.suppress(FileNotFoundError):
                modes[path] = stat.S_IMODE(path.stat().st_mode)
    return modes


def test_images_results_and_all_between_are_closed_to_others(node: Node) -> None:
    study = make_small_study("private", ["FLAIR"])
    study_uid, seen = str(study[0].StudyInstanceUID), _modes(node.settings.node.folder)
    assert set(store([instance_of(ds) for ds in study], node.settings.node.dicom_port)) == {0x0000}
    deadline = time.monotonic() + DEADLINE_S
    while (found := node.study(study_uid)) is None or found.state not in {"stored", "failed", "rejected"}:
        assert time.monotonic() < deadline, node.failure("the study has not ended")
        seen |= _modes(node.settings.node.folder)
    node.stop()
    seen |= _modes(node.settings.node.folder)
    assert found.state == "stored"
    assert {"inbox", "results", "work"} <= {path.name for path in seen}
    assert [str(path) for path, mode in seen.items() if mode & 0o077] == []
