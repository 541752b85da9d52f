"""The states that studies, runs, deliveries and associations can be in."""

import enum

__all__ = [
    "AssociationEnd",
    "DeliveryState",
    "FetchState",
    "JobState",
    "LinkKind",
    "NodeEvent",
    "NoticeState",
    "Priority",
    "ProbeState",
    "RunState",
    "StudyState",
    "TokenScope",
    "UserRole",
    "Verdict",
]


class StudyState(enum.StrEnum):
    """The state of a study."""

    RECEIVING = "receiving"  # instances still arrive
    QUEUED = "queued"  # ready, a run is waiting
    RUNNING = "running"  # a run works on it
    DELIVERED = "delivered"  # results accepted by every destination
    UNDELIVERED = "undelivered"  # results exist, but a destination has not accepted all of them
    STORED = "stored"  # results are kept here, because no destination is configured
    REJECTED = "rejected"  # nothing can be computed from it; see the reason
    FAILED = "failed"  # a defect or an outage; `glionode replay` runs it again from the step that failed
    CANCELLED = "cancelled"  # a person stopped it; can be replayed too
    KEPT_OUT = "kept_out"  # stored, and never processed; see the reason


class RunState(enum.StrEnum):
    """The state of one run (one revision of a study's result)."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    STORED = "stored"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNCHANGED = "unchanged"  # it would use what an earlier run used, whose results remain valid
    SUPERSEDED = "superseded"  # a later run of the study uses other images; stopped where it was


class AssociationEnd(enum.StrEnum):
    """How an association that sent images ended."""

    OPEN = ""
    RELEASED = "released"  # the sender had nothing more to send
    ABORTED = "aborted"  # by either side, or the connection was lost
    LOST = "lost"  # the listener itself was killed


class Priority(enum.IntEnum):
    """Which run comes first; lower is earlier."""

    STAT = 1
    HIGH = 3
    ROUTINE = 5


class DeliveryState(enum.StrEnum):
    """The state of one object's delivery to one destination."""

    WAITING = "waiting"  # never sent, or to be tried again
    SENDING = "sending"  # begun; if it is found so later, the destination is queried before it is sent again
    ACCEPTED = "accepted"  # status 0x0000, or a warning that is kept in `status`
    REFUSED = "refused"  # the destination answered with a failure, or not at all
    CALLED_OFF = "called_off"  # the peer is no destination any more, or wants other objects; sent if that changes back


class FetchState(enum.StrEnum):
    """The state of a request to fetch a study."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobState(enum.StrEnum):
    """The state of one upload to the workbench."""

    WAITING = "waiting"  # complete, waits for a worker
    RUNNING = "running"
    STOPPING = "stopping"  # its owner wants it removed; the worker that computes it ends that, and removes it
    DONE = "done"  # its result can be fetched
    FAILED = "failed"  # it has no result; see the reason


class NodeEvent(enum.StrEnum):
    """What an administrator may want to be told."""

    STUDY_STOPPED = "study_stopped"  # a run has failed; a person has to do something
    DESTINATION_SILENT = "destination_silent"  # a destination has refused, or not answered, for a while
    DISK_FULL = "disk_full"  # the listener refuses instances
    AUDIT_UNWRITABLE = "audit_unwritable"  # the panel shows no study
    WORKER_AWAY = "worker_away"  # a worker sends no heartbeat
    MODEL_UNUSABLE = "model_unusable"  # no study can be processed
    CERTIFICATE = "certificate"  # it has ended, will soon, or cannot be read
    RESULTS_DELIVERED = "results_delivered"  # every destination has accepted a study's results
    TEST = "test"  # a person has pressed a button


class NoticeState(enum.StrEnum):
    """The state of one notification on its way to one receiver."""

    WAITING = "waiting"  # to be sent, or to be sent again
    SENDING = "sending"  # begun; if it is found so later, it is sent again with the same id
    SENT = "sent"  # the receiver has taken it
    MERGED = "merged"  # it could not be sent, and a later one of its kind tells the same
    GIVEN_UP = "given_up"  # it could not be sent for two days


class Verdict(enum.StrEnum):
    """What a person thinks of a result."""

    AGREE = "agree"
    DISAGREE = "disagree"
    EDITED = "edited"  # a corrected segmentation was or will be sent


class UserRole(enum.StrEnum):
    """What a user may do, see `dicom_node.web.duties`; each role may do all that the ones above it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"

    def covers(self, needed: "UserRole") -> bool:
        """Return whether a user of this role may do what the needed one may."""
        ranks = list(UserRole)
        return ranks.index(self) >= ranks.index(needed)


class TokenScope(enum.StrEnum):
    """What a program may do with a token, and nothing else."""

    WORKBENCH = "workbench"  # send files to the workbench and fetch their results
    DICOMWEB_READ = "dicomweb:read"  # query and retrieve studies on the viewer's port
    DICOMWEB_STORE = "dicomweb:store"  # store segmentations and reports that refer to held studies
    PEERS = "peers"  # list and change the AE titles
    ROUTES = "routes"  # list, try and change the routing rules
    METRICS = "metrics"  # read the metrics for Prometheus

    @property
    def needs(self) -> UserRole:
        """The least role of a user whose token may have this scope."""
        return _SCOPE_NEEDS[self]


_SCOPE_NEEDS = {
    TokenScope.WORKBENCH: UserRole.VIEWER,
    TokenScope.DICOMWEB_READ: UserRole.VIEWER,
    TokenScope.DICOMWEB_STORE: UserRole.OPERATOR,
    TokenScope.PEERS: UserRole.ADMINISTRATOR,
    TokenScope.ROUTES: UserRole.ADMINISTRATOR,
    TokenScope.METRICS: UserRole.ADMINISTRATOR,
}


class LinkKind(enum.StrEnum):
    """What a one-time link leads to."""

    FIRST = "first"  # the page on which the first administrator gives name and password
    PASSWORD = "password"  # noqa: S105 - the page on which a user sets a new password
    OPEN = "open"  # a session at once
    PROVIDER = "provider"  # not a link: a login by OpenID Connect that a browser has begun
    DEVICE = "device"  # not a link: a cookie of a browser on which a user has logged in before


class ProbeState(enum.StrEnum):
    """The state of a connection test."""

    RUNNING = "running"
    PASSED = "passed"  # every image came back unchanged
    FAILED = "failed"  # see its steps
