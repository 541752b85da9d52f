"""A data set that is under way, gathered or written, however it is cut into fragments."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.reception.incoming import GATHERED_BYTES, SMALL_BYTES, Incoming
from dicom_node.reception.spool import Spool

MIXED = [1, SMALL_BYTES, 2, 3, SMALL_BYTES - 1, SMALL_BYTES + 1, 0, 5]


def _fragments(sizes: list[int]) -> Iterator[memoryview]:
    for number, size in enumerate(sizes):
        yield memoryview(bytes([number % 256]) * size)


def test_what_was_gathered_is_what_came() -> None:
    came = Incoming()
    for fragment in _fragments(MIXED):
        came.take(fragment)
    assert came.content == b"".join(_fragments(MIXED))
    assert came.spool is None


@pytest.mark.parametrize("size", [1000, SMALL_BYTES, 2**20])
def test_what_was_written_is_what_came(tmp_path: Path, size: int) -> None:
    sizes = [*MIXED, *[size] * (GATHERED_BYTES // size + 2), *MIXED]
    came = Incoming(lambda: Spool(tmp_path, b"head"))
    for fragment in _fragments(sizes):
        came.take(fragment)
    assert came.spool is not None
    assert came.spool.path.read_bytes() == b"head" + b"".join(_fragments(sizes))
    came.discard()
    assert list(tmp_path.iterdir()) == []


def test_fragments_of_a_byte_take_no_more_memory_than_their_bytes() -> None:
    """A sender may cut a data set as small as it likes; each fragment would be an object of 200 bytes."""
    came, count = Incoming(), 2**17
    tracemalloc.start()
    try:
        for _ in range(count):
            came.take(memoryview(b"\0"))
        held, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(came.content) == count
    assert held < 4 * count
