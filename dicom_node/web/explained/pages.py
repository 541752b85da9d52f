"""What each page of the panel is for, and what people do there."""

from dataclasses import dataclass

__all__ = ["AUDIT", "PAGES", "PageHelp", "page_of"]


@dataclass(frozen=True, kw_only=True)
class PageHelp:
    """One page of the panel in plain words.

    Attributes
    ----------
    anchor
        Where it stands on the page Help, such as ``page-work``. The page itself links to it.
    path
        Address of the page; the addresses of what belongs to it begin with it. Empty: it is no page, but a command.
    who
        The least role that may open it.
    what
        What it is for.
    tasks
        What is done there, each in a sentence or two.
    """

    anchor: str
    path: str
    title: str
    who: str
    what: str
    tasks: tuple[str, ...]


AUDIT = PageHelp(
    anchor="page-audit",
    path="",
    title="Audit trail",
    who="Administrator, on the machine of the node",
    what="Who looked at or changed what, and when. It is read by commands, so that nobody can touch it from a browser.",
    tasks=(
        "Find what somebody did: `glionode audit show --user NAME`, and `--since`, `--until`, `--study` or `--event`.",
        "Check that no record was changed or removed: `glionode audit verify`. It names the record if one was.",
        "Copy the files `audit/trail-*.jsonl` of the node's folder to another machine now and then, and keep them.",
    ),
)

PAGES: tuple[PageHelp, ...] = (
    PageHelp(
        anchor="page-setup",
        path="/setup",
        title="First steps",
        who="Administrator",
        what="Leads from a new node to a PACS that sends studies and gets results. It can be left and taken up again.",
        tasks=(
            "Name: look at AE title, port and who reaches the node. Only the settings file changes them.",
            "First PACS: enter AE title, host and port of yours, press C-ECHO, and send a test study there and back.",
            "If the PACS refuses this node, it does not know it yet: do the step In the PACS first, then try again.",
            "Orthanc: only for an Orthanc. The node registers itself there and installs the routing.",
            "In the PACS: copy AE title, host and port of this node into the PACS, and route MR studies of the head.",
            "What is left: see what is done and what is missing. The page AE titles leads back here at any time.",
        ),
    ),
    PageHelp(
        anchor="page-studies",
        path="/studies",
        title="Studies",
        who="Viewer",
        what="Finds a study by patient, accession number, description, date or state, and shows its result.",
        tasks=(
            "On a study's page, read the warnings first, then look at the outline in every slice, here or in OHIF.",
            "Say whether you agree with the result. Those who train the models read it; the PACS does not get it.",
            "If a series was taken for something else, an operator corrects it there, which makes a series rule.",
        ),
    ),
    PageHelp(
        anchor="page-work",
        path="/work",
        title="Work",
        who="Viewer; the buttons need an operator",
        what="The live queue: what arrives, waits, runs, has stopped and was finished last. It keeps itself fresh.",
        tasks=(
            "A study does not come: look what is awaited under Being received. Refusals stand at the end of Studies.",
            "A study is urgent: press STAT, and it goes before all others.",
            "A study has stopped: read its reason, mend the cause, then replay it from the step that you choose.",
            "A result did not reach the PACS: the node tries again by itself. Send again sends all of it once more.",
            "Nothing moves although studies wait: look whether a worker is alive, and whether there is maintenance.",
        ),
    ),
    PageHelp(
        anchor="page-workbench",
        path="/workbench",
        title="Workbench",
        who="Viewer",
        what="Looks for a tumour in files of your own, apart from the PACS.",
        tasks=(
            "Drop a DICOM study, NIfTI volumes or a slice, check what each file was taken for, and look at the result.",
            "Add a ground truth to have the result compared with it, and download everything as a zip.",
        ),
    ),
    PageHelp(
        anchor="page-fetch",
        path="/fetch",
        title="Fetch",
        who="Operator",
        what="Gets a study, and earlier ones of the same patient, from a PACS that does not send it by itself.",
        tasks=(
            "Enter the Study Instance UID, which the PACS shows. The PACS needs the role Is queried for its studies.",
            "If it fails, its reason says whether the PACS refused the query, or could not send the images here.",
        ),
    ),
    PageHelp(
        anchor="page-rules",
        path="/rules",
        title="Series rules",
        who="Operator",
        what="Says of what kind a series is, where its name at your site tells more than its headers and pixels.",
        tasks=(
            "Make a rule from a series on a study's page, and look at the preview before you save it.",
            "The first rule that matches decides, so put the narrow ones first.",
        ),
    ),
    PageHelp(
        anchor="page-routing",
        path="/routing",
        title="Routing rules",
        who="Administrator",
        what="Decides which studies are processed, by which model, how urgently, and where their results go.",
        tasks=(
            "Build a rule from DICOM attributes, the sender or the AE title called; try it on stored studies; save it.",
            "Keep out what must not be processed, such as spines, with a reason that stands on the study's page.",
            "If a rule was wrong, restore an earlier version. A study that has been decided needs a replay.",
        ),
    ),
    PageHelp(
        anchor="page-peers",
        path="/peers",
        title="AE titles",
        who="Administrator",
        what="The DICOM systems that the node knows. Nobody else can send to it, and results go to nobody else.",
        tasks=(
            "Add a PACS or scanner by its own AE title, and mark what it does: send, receive results, be queried.",
            "Press C-ECHO: it shows whether the peer answers, and if not, what to check.",
            "Send a test study there and back: it shows whether the PACS keeps what it is sent, unchanged.",
            "Before work on the PACS, disable it: results wait, and are sent when it is enabled again.",
            "Export the list as TOML before larger changes; an import shows what it would change.",
        ),
    ),
    PageHelp(
        anchor="page-users",
        path="/users",
        title="Users",
        who="Administrator",
        what="The people who may log in, each with a role and a password of their own.",
        tasks=(
            "Add a user with the least role that suffices, and hand the link over: it sets the password, once.",
            "A password is forgotten: press New link. Someone leaves: press Disable, which also ends their sessions.",
            "The only administrator is locked out: run `glionode users reset NAME` on the machine of the node.",
        ),
    ),
    PageHelp(
        anchor="page-tokens",
        path="/tokens",
        title="Tokens",
        who="Administrator",
        what="Let programs in without a login, for what their scopes say and nothing else.",
        tasks=(
            "Make one token for each program, with few scopes and an end. It is shown once.",
            "Remove a token that is not needed any more, or that others may have seen; it is refused at once.",
        ),
    ),
    PageHelp(
        anchor="page-system",
        path="/system",
        title="System",
        who="Administrator; the Conformance Statement also an operator",
        what="How the node does: disk, queue, workers, throughput, models and settings.",
        tasks=(
            "Look at the figures on top now and then: red ones need you, such as a full disk or a silent worker.",
            "Give the DICOM Conformance Statement, as PDF, to whoever connects a PACS: it is made from what is set.",
            "Models: promote another one, run it as shadow beside the present one first, or roll back.",
            "Drift: a step after a change of scanner or model is a reason to look at single results.",
            "Export the configuration before changes, and import it to undo them or to set up a second node.",
            "If you need help, make a support bundle: it holds no patient data.",
        ),
    ),
    AUDIT,
)


def page_of(path: str) -> PageHelp | None:
    """Return what is said of the page at an address; None where there is nothing."""
    for page in PAGES:
        if page.path and (path == page.path or path.startswith((f"{page.path}/", f"{page.path}-"))):
            return page
    return None
