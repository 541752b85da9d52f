"""What each kind of notification says, about one or about several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from dicom_node.database.states import NodeEvent

__all__ = ["RESEARCH", "STUDY_EVENTS", "WORDINGS", "Happened", "Wording", "sentence"]

RESEARCH = "Research use only. Not a medical device."

STUDY_EVENTS = frozenset({NodeEvent.STUDY_STOPPED, NodeEvent.RESULTS_DELIVERED})
"""Events whose subject is the key of a study."""

NAMED = 5
"""How many subjects a sentence names; the document lists more."""


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One thing that happened: to what, and a code or number that says more."""

    subject: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The sentences of one kind; `{subject}` and `{detail}` are of the only one, `{count}` and `{names}` of several.

    Attributes
    ----------
    over
        Of its end; empty where it has none.
    page
        Of the panel, where a person sees more.
    """

    one: str
    several: str = ""
    over: str = ""
    several_over: str = ""
    page: str = "/system"


WORDINGS: Mapping[NodeEvent, Wording] = MappingProxyType(
    {
        NodeEvent.STUDY_STOPPED: Wording(
            one="A study has stopped ({detail}) and needs a person.",
            several="{count} studies have stopped and need a person.",
            page="/work",
        ),
        NodeEvent.DESTINATION_SILENT: Wording(
            one="{subject} has not accepted what waits for it: {detail}.",
            several="{count} destinations have not accepted what waits for them: {names}.",
            over="{subject} answers again, and nothing waits for it.",
            several_over="{count} destinations answer again: {names}.",
            page="/peers",
        ),
        NodeEvent.DISK_FULL: Wording(
            one="The disk is nearly full ({detail}): images are refused, and stay with their senders.",
            over="The disk has space again ({detail}): images are accepted.",
        ),
        NodeEvent.AUDIT_UNWRITABLE: Wording(
            one="The audit trail cannot be written ({detail}): the panel shows no studies until it can.",
            over="The audit trail can be written again.",
        ),
        NodeEvent.WORKER_AWAY: Wording(
            one="The worker {subject} sends no heartbeat.",
            several="{count} workers send no heartbeat: {names}.",
            over="The worker {subject} is back, or was ended as intended.",
            several_over="{count} workers are back, or were ended as intended: {names}.",
        ),
        NodeEvent.MODEL_UNUSABLE: Wording(
            one="No study can be processed, because the model cannot be used ({detail}).",
            over="The model can be used again.",
        ),
        NodeEvent.CERTIFICATE: Wording(
            one="The certificate of panel and viewer {detail}.",
            over="The certificate of panel and viewer is in order again.",
        ),
        NodeEvent.RESULTS_DELIVERED: Wording(
            one="The results of a study were delivered.",
            several="The results of {count} studies were delivered.",
            page="/studies",
        ),
        NodeEvent.TEST: Wording(one="This is a test: notifications of this node arrive."),
    }
)


def sentence(code: NodeEvent, things: Sequence[Happened], *, count: int, ended: bool) -> str:
    """Return what a notification says.

    Parameters
    ----------
    things
        What happened, at least one.
    count
        How often, which may be more.
    """
    wording = WORDINGS[code]
    one, several = (wording.over, wording.several_over) if ended else (wording.one, wording.several)
    if count == 1 or not several:
        return one.format(subject=things[-1].subject, detail=things[-1].detail)
    names = [thing.subject for thing in things[:NAMED]] + (["and others"] if count > NAMED else [])
    return several.format(count=count, names=", ".join(names))
