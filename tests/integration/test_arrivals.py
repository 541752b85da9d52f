"""Randomised arrivals over real sockets in simulated time: no study starts incomplete, and none is forgotten."""

import heapq
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pydicom
import pytest

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.reception.listener import Listener
from dicom_node.settings import AssemblySettings, Settings, read_settings
from dicom_node.studies.assembly import Assembly
from dicom_node.studies.run_folder import RunFolder
from tests.support.archive import Archive, running_archive
from tests.support.arrivals import Arrival, Event, make_arrival, needed_uids
from tests.support.clock import SimulatedClock
from tests.support.pacs import Line, instance_of

ARRIVALS = int(os.environ.get("GLIONODE_ARRIVALS", "50"))
"""Fifty by default, which take a minute; `make chaos` plays two hundred."""
SEED = 20261126
TICK_S = 0.5
QUIET_S = 50.0
END_S = 7400.0


@dataclass(kw_only=True)
class _Run:
    """What was seen of one study."""

    arrival: Arrival
    line: Line | None = None
    started: list[tuple[float, set[str]]] = field(default_factory=list)


class _World:
    """Senders, an archive, and a node whose clock is simulated."""

    def __init__(
        self, settings: Settings, database: Database, archive: Archive, listener: Listener, clock: SimulatedClock
    ) -> None:
        self._clock, self._archive, self._listener = clock, archive, listener
        self._folder = settings.node.folder
        patience = AssemblySettings(quiet_period_s=QUIET_S, wanted="T1,T1CE,T2,FLAIR")
        self._assembly = Assembly(database, self._folder, patience, "GLIONODE")
        self._tick = 0

    def wait_until(self, at_s: float, runs: dict[str, _Run]) -> None:
        """Let the node look at its studies every half second, as its worker does."""
        while self._tick * TICK_S < at_s:
            now_s = self._tick * TICK_S
            for ready in self._assembly.ready_studies(self._clock.at(now_s)):
                manifest = RunFolder(self._folder, ready.run_id).load_manifest()
                uids = {entry["sop_instance_uid"] for entry in manifest}
                study = Path(manifest[0]["path"]).parts[1]
                runs[study].started.append((now_s, uids))
            self._tick += 1
        self._clock.at(at_s)

    def perform(self, event: Event, run: _Run) -> None:
        if event.what == "grow" and event.image is not None:
            self._archive.put(event.image)
        elif event.what == "send" and event.image is not None:
            run.line = run.line or Line(self._listener.port, [instance_of(event.image)])
            assert run.line.send(instance_of(event.image)) == 0x0000
            assert self._listener._journal is not None
            assert self._listener._journal.drain()  # a tenth of a second, in which the simulated clock must not move
        else:
            run.line = run.line or Line(self._listener.port, [instance_of(run.arrival.images[0])])
            run.line.close(abort=event.what == "abort")
            run.line = None


@contextmanager
def _world(folder: Path) -> Iterator[_World]:
    patient = {"GLIONODE_LISTENER_NETWORK_TIMEOUT_S": "3600", "GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS": "1000"}
    node = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
    settings = read_settings(environment=node | patient)
    clock = SimulatedClock()
    with ExitStack() as stack:
        database = open_database(settings.database_url)
        stack.callback(database.engine.dispose)
        archive = stack.enter_context(running_archive())
        put_peer(database, Peer(name="Sender", ae_title="SENDER"))
        where = {"host": "127.0.0.1", "port": archive.port}
        put_peer(database, Peer(name="Archive", ae_title="ARCHIVE", may_send=False, is_source=True, **where))
        listener = Listener(settings, database, clock.now)
        listener.start()
        stack.callback(listener.stop)
        yield _World(settings, database, archive, listener, clock)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, _Run]:
    """Play every arrival and return what was seen, by study."""
    rng = random.Random(SEED)  # noqa: S311 - a plan that is the same every time
    arrivals = [make_arrival(number, rng) for number in range(ARRIVALS)]
    runs = {arrival.study_uid: _Run(arrival=arrival) for arrival in arrivals}
    events = [(event.at_s, place, n, event) for place, a in enumerate(arrivals) for n, event in enumerate(a.events)]
    with pytest.MonkeyPatch.context() as patch, _world(tmp_path_factory.mktemp("arrivals")) as world:
        patch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
        for arrival in arrivals:
            if arrival.counted and not any(event.what == "grow" for event in arrival.events):
                world._archive.put(*arrival.images)
        heapq.heapify(events)
        while events:
            at_s, place, _, event = heapq.heappop(events)
            world.wait_until(at_s, runs)
            world.perform(event, runs[arrivals[place].study_uid])
        world.wait_until(END_S, runs)
    return runs


@pytest.mark.timeout(600)
def test_no_study_starts_before_the_last_slice_of_a_series_that_it_uses(runs: dict[str, _Run]) -> None:
    partial = [
        (study_uid, at_s)
        for study_uid, run in runs.items()
        for at_s, uids in run.started
        for series in needed_uids(run.arrival.images).values()
        if series & uids and not series <= uids
    ]
    assert partial == []


def test_no_study_is_forgotten_and_the_last_run_has_every_image(runs: dict[str, _Run]) -> None:
    assert len(runs) == ARRIVALS
    for run in runs.values():
        every = {str(ds.SOPInstanceUID) for ds in run.arrival.images}
        assert [uids for _, uids in run.started][-1:] == [every]


def test_a_study_that_can_be_counted_starts_within_a_second_of_its_last_slice(runs: dict[str, _Run]) -> None:
    can_be = [run for run in runs.values() if len(run.arrival.roles) == 4 and _tells(run.arrival)]
    assert len(can_be) > ARRIVALS / 6
    late = [run.started[-1][0] - run.arrival.last_sent_s for run in can_be]
    assert max(late) <= 1.0


def test_every_way_of_arriving_was_tried(runs: dict[str, _Run]) -> None:
    """Hold the plan against what the bar names: pauses, interleaving, repeats, drops and re-sends."""
    events = [event for run in runs.values() for event in run.arrival.events]
    assert sum(event.what == "abort" for event in events) > ARRIVALS / 2
    assert sum(event.what == "grow" for event in events) > ARRIVALS
    pauses = [b.at_s - a.at_s for run in runs.values() for a, b in pairwise(run.arrival.events)]
    assert max(pauses) > 29.0
    sent = [str(event.image.SOPInstanceUID) for event in events if event.what == "send" and event.image is not None]
    assert len(sent) > len(set(sent)) + ARRIVALS / 2
    assert {len(run.arrival.roles) for run in runs.values()} == {2, 3, 4}


def _tells(arrival: Arrival) -> bool:
    """Tell whether the size of the study can be had: from its headers, or from an archive that had it all before."""
    grows = any(event.what == "grow" for event in arrival.events)
    return arrival.stated or (arrival.counted and not grows)
