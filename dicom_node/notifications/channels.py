"""The ways to tell somebody, as the settings open them: where each goes, what is wrong with it, and a test."""

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import NoticeRow
from dicom_node.database.states import NodeEvent
from dicom_node.database.tables import utc_now
from dicom_node.notifications.document import document, new_id
from dicom_node.notifications.mail import send_mail
from dicom_node.notifications.notices import Answer
from dicom_node.notifications.secrets import MissingSecret, secret_of
from dicom_node.notifications.webhook import SHORTEST_SECRET, post
from dicom_node.notifications.wording import Happened
from dicom_node.outward_settings import NotificationSettings, masked_url
from dicom_node.settings import Settings

__all__ = ["Channel", "Tested", "channels", "newest_notices", "problems", "send_tests"]

Send = Callable[[NotificationSettings, str, Mapping[str, Any]], Answer]


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One way, its target without what may be secret in it, and what does the sending."""

    name: str
    target: str
    send: Send


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What a test of one channel came to."""

    channel: str
    target: str
    ok: bool
    sentence: str


def channels(settings: Settings) -> list[Channel]:
    """Return what the settings open; nothing where notifications are off."""
    told = settings.notifications
    found = []
    if told.recipients:
        target = f"{', '.join(told.recipients)} by {told.smtp_host}:{told.smtp_port}"
        found.append(Channel(name="mail", target=target, send=send_mail))
    if told.webhook:
        found.append(Channel(name="webhook", target=masked_url(told.webhook), send=post))
    return found


def problems(settings: Settings) -> list[str]:
    """Return, in sentences, why notifications could not be sent; nothing is sent to find out."""
    told = settings.notifications
    found = [*_lacking(told), *_unusable_files(told), *_secrets_missing(told)]
    if told.is_on and not settings.web.address:
        found.append("notifications hold no link to the panel until web.address states its address")
    return found


def _lacking(told: NotificationSettings) -> Iterator[str]:
    for key in ("email_from", "smtp_host"):
        if told.recipients and not getattr(told, key):
            yield f"notifications.{key} is missing, without which no e-mail can be sent"


def _unusable_files(told: NotificationSettings) -> Iterator[str]:
    files = {"smtp_ca": told.smtp_ca if told.recipients else "", "webhook_ca": told.webhook_ca if told.webhook else ""}
    for key, path in files.items():
        try:
            ssl.create_default_context(cafile=path or None)
        except OSError as error:
            yield f"notifications.{key} {path!r}: {error.strerror or 'no PEM file of certificates'}"


def _secrets_missing(told: NotificationSettings) -> Iterator[str]:
    names = (["SMTP_USER", "SMTP_PASSWORD"] if told.recipients else []) + (["WEBHOOK_SECRET"] if told.webhook else [])
    held: dict[str, str] = {}
    for name in names:
        try:
            held[name] = secret_of(name)
        except MissingSecret as error:
            yield f"notifications: {error}"
    if bool(held.get("SMTP_USER")) != bool(held.get("SMTP_PASSWORD")):
        yield "GLIONODE_NOTIFY_SMTP_USER and GLIONODE_NOTIFY_SMTP_PASSWORD belong together: state both, or neither"
    if len(held.get("WEBHOOK_SECRET", "*" * SHORTEST_SECRET)) < SHORTEST_SECRET:
        yield (
            f"notifications.webhook needs GLIONODE_NOTIFY_WEBHOOK_SECRET with at least {SHORTEST_SECRET} characters, "
            "by which the receiver checks the signature"
        )


def send_tests(settings: Settings) -> list[Tested]:
    """Send a test by each channel, once, and return the answers."""
    content = document(settings, NodeEvent.TEST, [Happened(subject="")], at=utc_now())
    content["about"] = []
    answers = [(channel, channel.send(settings.notifications, new_id(), content)) for channel in channels(settings)]
    return [
        Tested(channel=channel.name, target=channel.target, ok=answer.ok, sentence=answer.sentence)
        for channel, answer in answers
    ]


def newest_notices(database: Database, count: int) -> list[NoticeRow]:
    """Return the newest notifications, the newest first."""
    with database.session() as session:
        chosen = sa.select(NoticeRow).order_by(NoticeRow.made_at.desc(), NoticeRow.notice_id).limit(count)
        return list(session.scalars(chosen).all())
