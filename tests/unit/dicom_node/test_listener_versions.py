"""Versions of one instance over real sockets, gathered and too large for that: the last that came is current."""

import hashlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

import dicom_node.reception.journal
from dicom_node.database.engine import Database
from dicom_node.database.tables import InstanceRow
from dicom_node.reception.incoming import GATHERED_BYTES
from tests.support.pacs import Instance, instance_of, store
from tests.support.small_study import make_small_study


@pytest.fixture
def port(start: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a listener that is behind with filing: it files only what somebody waits for."""
    monkeypatch.setattr(dicom_node.reception.journal, "GATHER_S", 600.0)
    return start()


def _too_large_to_be_gathered(image: Dataset) -> Dataset:
    image.Rows, image.Columns = 4096, GATHERED_BYTES // 2 // 4096 + 1
    image.PixelData = bytes(2 * image.Rows * image.Columns)
    return image


@pytest.mark.parametrize("last", ["large", "small"])
def test_the_last_version_is_current_however_large_it_is(port: int, database: Database, last: str) -> None:
    image = make_small_study("versions", roles=["FLAIR"])[0]
    small, large = instance_of(image), instance_of(_too_large_to_be_gathered(image))
    assert store([small, large] if last == "large" else [large, small], port) == [0x0000, 0x0000]
    with database.session() as session:
        rows = list(session.scalars(sa.select(InstanceRow)))
        current = {row.sha256: row.current for row in rows}
    assert current == {_hash(small): last == "small", _hash(large): last == "large"}


def _hash(instance: Instance) -> str:
    return hashlib.sha256(instance.data_set).hexdigest()
