"""The states that studies, runs, deliveries and associations can be in."""

import enum

__all__ = ["AssociationEnd", "DeliveryState", "FetchState", "Priority", "RunState", "StudyState"]


class StudyState(enum.StrEnum):
    """Where a study stands."""

    RECEIVING = "receiving"  # instances still arrive
    QUEUED = "queued"  # ready, a run is waiting
    RUNNING = "running"  # a run works on it
    DELIVERED = "delivered"  # results accepted by every destination
    UNDELIVERED = "undelivered"  # results exist, but a destination has not accepted all of them
    STORED = "stored"  # results are kept here, because no destination is configured
    REJECTED = "rejected"  # nothing can be computed from it; the reason says why
    FAILED = "failed"  # a defect or an outage; `glionode replay` runs it again from the step that failed
    CANCELLED = "cancelled"  # a person stopped it; can be replayed too


class RunState(enum.StrEnum):
    """Where one run (one revision of a study's result) stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    STORED = "stored"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCHANGED = "unchanged"  # it would use what an earlier run used, whose results stand
    SUPERSEDED = "superseded"  # a later run of the study uses other images; stopped where it was


class AssociationEnd(enum.StrEnum):
    """How an association that brought images ended."""

    OPEN = ""
    RELEASED = "released"  # the sender had nothing more to say
    ABORTED = "aborted"  # by either side, or the connection was lost
    LOST = "lost"  # the listener itself was killed


class Priority(enum.IntEnum):
    """Which run comes first; lower is earlier."""

    STAT = 1
    ROUTINE = 5


class DeliveryState(enum.StrEnum):
    """Where one object's way to one destination stands."""

    WAITING = "waiting"  # never sent, or to be tried again
    SENDING = "sending"  # begun; whoever finds it so later asks the destination before sending again
    ACCEPTED = "accepted"  # status 0x0000, or a warning that is kept in `status`
    REFUSED = "refused"  # the destination answered with a failure, or not at all
    CALLED_OFF = "called_off"  # it is no destination any more, or wants other objects; sent when it is one again


class FetchState(enum.StrEnum):
    """Where a study that somebody asked for stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
