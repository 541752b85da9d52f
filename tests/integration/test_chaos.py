"""The short form of `make chaos`: every study delivered, every object in Orthanc once, with the bytes as encoded."""

import os
from pathlib import Path

import pytest

from tests.support.chaos import Attack, survive
from tests.support.postgres import Postgres

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.timeout(900),
    # pynetdicom leaves the sockets of refused connections to the collector, of which there are many here.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root may mount the small disk that is filled"),
]


@pytest.mark.postgres
def test_nothing_is_lost_or_sent_twice_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    attack = Attack(
        studies=6, receivers=2, workers=2, kills=6, database_stops=1, down_s=5.0, refusing_s=5.0, disk_full_s=5.0
    )
    count = survive(attack, tmp_path, postgres, print)
    assert (count.delivered, count.lost, count.duplicated) == (6, [], [])
    assert sum(count.kills.values()) == attack.kills


def test_nothing_is_lost_or_sent_twice_on_sqlite(tmp_path: Path) -> None:
    attack = Attack(
        studies=5, receivers=1, workers=1, kills=6, database_stops=0, down_s=5.0, refusing_s=5.0, disk_full_s=5.0
    )
    count = survive(attack, tmp_path, None, print)
    assert (count.delivered, count.lost, count.duplicated) == (5, [], [])
