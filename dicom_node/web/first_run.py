"""How far the first steps have come: what an administrator has confirmed, and what the node knows by itself."""

import enum
from dataclasses import dataclass

import sqlalchemy as sa

from dicom_node.database.connection_tables import ConnectionTestRow
from dicom_node.database.engine import Database
from dicom_node.database.states import ProbeState, StudyState
from dicom_node.database.tables import StudyRow, SwitchRow, utc_now
from dicom_node.peers.registry import list_peers
from dicom_node.settings import Settings
from dicom_node.web.secure_login import NOBODY_ELSEWHERE, is_loopback, nobody_elsewhere

__all__ = ["FirstRun", "SetupStep", "Thing", "confirm", "end", "first_steps_are_due", "things", "where_it_stands"]

_SWITCH = "first_run"
_ENDED = "ended"


class SetupStep(enum.StrEnum):
    """One page of the first steps; the order is that of the list."""

    NAME = "name"
    PACS = "pacs"
    ORTHANC = "orthanc"
    THERE = "there"
    END = "end"

    @property
    def next(self) -> "SetupStep":
        """The page that follows."""
        pages = list(SetupStep)
        return pages[min(pages.index(self) + 1, len(pages) - 1)]


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """How far an administrator has come.

    Attributes
    ----------
    confirmed
        Pages that were left by their button for the next one.
    has_ended
        They are not shown by themselves any more.
    """

    confirmed: frozenset[SetupStep]
    has_ended: bool

    @property
    def now(self) -> SetupStep:
        """The first page that was not left."""
        return next((step for step in SetupStep if step not in self.confirmed), SetupStep.END)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something that a node needs before it is of use: whether it is there, and what is to be done otherwise."""

    name: str
    is_done: bool
    sentence: str


def where_it_stands(database: Database) -> FirstRun:
    """Return how far the first steps have come."""
    with database.session() as session:
        row = session.get(SwitchRow, _SWITCH)
        words = set(row.value.split(",")) if row else set()
    return FirstRun(confirmed=frozenset(step for step in SetupStep if step in words), has_ended=_ENDED in words)


def first_steps_are_due(database: Database) -> bool:
    """Return whether an administrator is led to them: until they are over, but not where a file brought the peers."""
    stands = where_it_stands(database)
    return not stands.has_ended and (bool(stands.confirmed) or not list_peers(database))


def confirm(database: Database, who: str, step: SetupStep) -> None:
    """Note that a page was left for the next one."""
    _note(database, who, step)


def end(database: Database, who: str) -> None:
    """Note that the first steps are over."""
    _note(database, who, _ENDED)


def _note(database: Database, who: str, word: str) -> None:
    with database.session() as session:
        row = session.get(SwitchRow, _SWITCH)
        words = set(row.value.split(",")) if row else set()
        value = ",".join(sorted(words | {word}))
        session.merge(SwitchRow(name=_SWITCH, value=value, who=who, at=utc_now()))


_A_STUDY = (
    sa.select(StudyRow.study_uid)
    .where(StudyRow.state != StudyState.KEPT_OUT, StudyRow.study_uid.not_in(sa.select(ConnectionTestRow.study_uid)))
    .limit(1)
)
"""A study that is no test study; these are kept out soon after they have arrived."""


def things(settings: Settings, database: Database) -> list[Thing]:
    """Return what is done and what is left, as it is and not as somebody has said it is."""
    node, peers = settings.node, [peer for peer in list_peers(database) if peer.enabled]
    elsewhere = [peer.name for peer in peers if peer.host and not is_loopback(peer.host)]
    senders = [peer.name for peer in peers if peer.may_send]
    destinations = [peer.name for peer in peers if peer.is_destination]
    with database.session() as session:
        passed = sa.select(ConnectionTestRow.peer).where(ConnectionTestRow.state == ProbeState.PASSED).distinct()
        tested = sorted(set(session.scalars(passed)) & {peer.name for peer in peers})
        has_study = session.scalar(_A_STUDY) is not None
    is_reached = not (is_loopback(node.bind) and elsewhere)
    return [
        _thing("Administrator", done="You are logged in as one."),
        _thing("Name", done=f"The node is {node.ae_title}, port {node.dicom_port}."),
        _thing(
            "Reachable",
            done=f"The node listens on {node.bind}." if is_reached else "",
            left=f"The node listens on {node.bind} alone, where {', '.join(elsewhere)} cannot reach it: see Name.",
        ),
        _thing(
            "A sender",
            done=f"Studies are accepted from {', '.join(senders)}." if senders else "",
            left="No peer may send: the node refuses every study. Add your PACS.",
        ),
        _thing(
            "A destination",
            done=f"Results are sent to {', '.join(destinations)}." if destinations else "",
            left="No peer receives the results: they are kept on the node.",
        ),
        _thing(
            "Test study there and back",
            done=f"It came back unchanged from {', '.join(tested)}." if tested else "",
            left="No test has passed yet. Send a test study on the page of the first PACS.",
        ),
        _thing(
            "First study",
            done="The node has received a study." if has_study else "",
            left="No study has arrived yet. Set up your PACS to route new brain MR studies to this node.",
        ),
        _thing(
            "Logins from other hosts",
            done="" if nobody_elsewhere(settings) else _logins(settings),
            left=NOBODY_ELSEWHERE,
        ),
    ]


def _thing(name: str, done: str, left: str = "") -> Thing:
    return Thing(name=name, is_done=bool(done), sentence=done or left)


def _logins(settings: Settings) -> str:
    if is_loopback(settings.web.bind) and not settings.web.proxies:
        return "The panel is served on this machine alone, as the settings say."
    return "They are possible by HTTPS."
