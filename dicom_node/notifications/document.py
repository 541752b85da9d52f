"""The content of a notification: one document that webhooks get as it is, and mails as text."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dicom_node.database.states import NodeEvent
from dicom_node.notifications.wording import RESEARCH, STUDY_EVENTS, WORDINGS, Happened, sentence
from dicom_node.settings import Settings

__all__ = ["LISTED", "as_text", "document", "merged", "new_id"]

LISTED = 100
"""Most studies, peers or workers that one notification lists; it says how many there are beyond."""


def new_id() -> str:
    """Return the id of a notification, by which a receiver knows it again."""
    return str(uuid.uuid4())


def document(
    settings: Settings,
    code: NodeEvent,
    things: Sequence[Happened],
    *,
    at: datetime,
    ended: bool = False,
    count: int | None = None,
) -> dict[str, Any]:
    """Return what a notification tells; README describes each key.

    Parameters
    ----------
    things
        What happened, the oldest first.
    at
        When the first of it happened.
    count
        How often it happened, where `things` are not all.
    """
    many = len(things) if count is None else count
    address, names_study = settings.web.address, code in STUDY_EVENTS
    about = [_thing(one, f"{address}/studies/{one.subject}" if names_study and address else "") for one in things]
    link = address + WORDINGS[code].page if address else ""
    if names_study and many == 1:
        link = about[0].get("link", "")
    return {
        "node": settings.node.ae_title,
        "code": str(code),
        "ended": ended,
        "sentence": sentence(code, things, count=many, ended=ended),
        "count": many,
        "about": about[:LISTED],
        "link": link,
        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "notice": RESEARCH,
    }


def merged(settings: Settings, older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that tells both: one that could not be sent, and the next of its kind."""
    things = [Happened(subject=one["subject"], detail=one["detail"]) for one in (*older["about"], *newer["about"])]
    code, ended = NodeEvent(newer["code"]), bool(newer["ended"])
    known = things if code in STUDY_EVENTS else list({one.subject: one for one in things}.values())
    count = older["count"] + newer["count"] if code in STUDY_EVENTS else len(known)
    at = datetime.fromisoformat(older["at"])
    return document(settings, code, known, at=at, ended=ended, count=count)


def as_text(content: Mapping[str, Any], notice_id: str) -> str:
    """Return the text of a mail."""
    lines = [content["sentence"], ""]
    lines += [" ".join(filter(None, (one["subject"], one["detail"], one["link"]))) for one in content["about"]]
    if content["count"] > len(content["about"]):
        lines.append(f"and {content['count'] - len(content['about'])} more")
    if content["link"]:
        lines += ["", content["link"]]
    lines += ["", f"Node: {content['node']}", f"Since: {content['at']}", f"Code: {content['code']}"]
    return "\n".join([*lines, f"Notification: {notice_id}", "", content["notice"], ""])


def _thing(one: Happened, link: str) -> dict[str, str]:
    return {"subject": one.subject, "detail": one.detail, "link": link}
