"""The states of studies, runs, deliveries, fetch requests and uploads in plain words."""

from dicom_node.database.states import DeliveryState, FetchState, JobState, RunState, StudyState
from dicom_node.web.explained.explanation import group

__all__ = ["DELIVERIES", "FETCHES", "RUNS", "STUDIES", "UPLOADS"]

STUDIES = group(
    "state",
    "States of a study",
    "Shown in the list of studies and at the head of a study's page.",
    {
        StudyState.RECEIVING: (
            "Images of the study are still arriving, or the node waits for a sequence that is not complete.",
            "The list says what is awaited; if nothing arrives, send the study again from the PACS.",
        ),
        StudyState.QUEUED: (
            "The study is complete and waits for its turn.",
            "Its page has a button that puts it before all others (STAT); without a running worker it waits for ever.",
        ),
        StudyState.RUNNING: (
            "The node is working on the study.",
            "Wait, or cancel it on its page; the list names the step.",
        ),
        StudyState.DELIVERED: (
            "Every destination has accepted the results.",
            "Open the study in OHIF or in your PACS viewer, and read the warnings first.",
        ),
        StudyState.UNDELIVERED: (
            "The results exist, but a destination has not accepted all of them.",
            "The node goes on trying by itself; the reason names the destination, which an administrator should check.",
        ),
        StudyState.STORED: (
            "The results are kept on this node, because no destination is configured.",
            "Read them in OHIF, or let an administrator mark a destination on the page AE titles.",
        ),
        StudyState.REJECTED: (
            "No result is given for this study, and trying again would not change that.",
            "Read the reason: often a series is missing or incomplete, or the result is withheld.",
        ),
        StudyState.FAILED: (
            "The node itself had a fault or an outage; nothing is wrong with the study as far as is known.",
            "Replay it on its page once the cause is mended; the log of the node has the details.",
        ),
        StudyState.CANCELLED: (
            "A person stopped the work on this study.",
            "Its page can replay it from the step where it stopped, or process it again from the start.",
        ),
        StudyState.KEPT_OUT: (
            "The study is stored and not processed: a routing rule keeps it out, or it is the test of a connection.",
            "If a rule is wrong, change it on the page Routing rules, then replay the study.",
        ),
    },
)

RUNS = group(
    "run",
    "Ends of a run",
    "A run makes one revision of a study's result. It ends in a state of the study, or in one of these.",
    {
        RunState.UNCHANGED: (
            "The images that arrived later would not be used, so the earlier results remain valid.",
            "Nothing needs to be done, and nothing was sent.",
        ),
        RunState.SUPERSEDED: (
            "Other images arrived while the node worked, so a later run replaces this one.",
            "Look at the newest result of the study.",
        ),
    },
)

DELIVERIES = group(
    "delivery",
    "States of a delivery",
    "Each object has one for each destination, under Results sent on a study's page.",
    {
        DeliveryState.WAITING: (
            "The object has not been sent yet, will be tried again, or waits until its destination is enabled again.",
            "Nothing needs to be done; the pause between attempts grows to a quarter of an hour.",
        ),
        DeliveryState.SENDING: (
            "The object is on its way.",
            "If the node is interrupted here, it first asks the destination what it holds, so nothing is stored twice.",
        ),
        DeliveryState.ACCEPTED: (
            "The destination has accepted the object.",
            "The column Proof says whether the destination has also shown or promised that it keeps the object.",
        ),
        DeliveryState.REFUSED: (
            "The destination answered with a failure, or did not answer.",
            "The node tries again by itself; check whether the destination runs, has room, and knows this node.",
        ),
        DeliveryState.CALLED_OFF: (
            "The peer is no destination any more, or wants other objects.",
            "If that was a mistake, correct it on the page AE titles; the object is then sent.",
        ),
    },
)

FETCHES = group(
    "fetch",
    "States of a fetch request",
    "Shown on the page Fetch.",
    {
        FetchState.WAITING: ("The request waits for a worker.", "Without a running worker it waits for ever."),
        FetchState.RUNNING: ("The study is being fetched.", "Its images appear in the list of studies as they arrive."),
        FetchState.DONE: ("All that was asked for has arrived.", "The study is processed like one that was sent."),
        FetchState.FAILED: (
            "The study could not be fetched, or not completely.",
            "Read the reason, check the source on the page AE titles, then request the study again.",
        ),
    },
)

UPLOADS = group(
    "upload",
    "States of an upload",
    "Shown on the page Workbench.",
    {
        JobState.WAITING: (
            "The upload is complete and waits; clinical studies go first.",
            "Leave the page and return later.",
        ),
        JobState.RUNNING: ("The node computes the result.", "It can be cancelled at any time."),
        JobState.STOPPING: ("Its owner removed it; its computation is being ended.", "It is gone within seconds."),
        JobState.DONE: ("The result can be looked at and downloaded.", "Download what you need before it is removed."),
        JobState.FAILED: (
            "There is no result.",
            "Read the reason; it is usually about the files, such as a sequence that is missing or not recognised.",
        ),
    },
)
