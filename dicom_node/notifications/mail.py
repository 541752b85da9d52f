"""Sends a notification as e-mail: over TLS with a verified certificate, or to a mail server on this machine."""

import smtplib
import ssl
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from types import MappingProxyType
from typing import Any

from dicom_node.notifications.document import as_text
from dicom_node.notifications.notices import Answer
from dicom_node.notifications.secrets import MissingSecret, secret_of
from dicom_node.outward_settings import NotificationSettings

__all__ = ["send_mail"]

TIMEOUT_S = 10.0
"""For each answer of the mail server."""

LONGEST_SUBJECT = 120


def send_mail(settings: NotificationSettings, notice_id: str, content: Mapping[str, Any]) -> Answer:
    """Send one mail to all recipients and return what became of it; nothing raises."""
    if not settings.smtp_host or not settings.email_from:
        return Answer(ok=False, sentence="notifications.smtp_host or email_from is missing")
    try:
        return _send(settings, _message(settings, notice_id, content))
    except MissingSecret as error:
        return Answer(ok=False, sentence=str(error))
    except (OSError, smtplib.SMTPException, ValueError) as error:
        kind = next(kind for kind in _SENTENCES if isinstance(error, kind))
        code = getattr(error, "smtp_code", "")
        reason = getattr(error, "verify_message", "")
        sentence = _SENTENCES[kind].format(name=type(error).__name__, code=code, reason=reason)
        return Answer(ok=False, sentence=sentence)


_SENTENCES: Mapping[type[Exception], str] = MappingProxyType(
    {
        smtplib.SMTPRecipientsRefused: "the mail server takes mail for none of the recipients",
        smtplib.SMTPNotSupportedError: "the mail server offers no encryption (STARTTLS), or no login",
        smtplib.SMTPResponseException: "the mail server answered {code} ({name})",
        ssl.SSLCertVerificationError: "the mail server's certificate was refused: {reason}",
        Exception: "the mail server cannot be reached ({name})",
    }
)
"""Of each error, the first kind that it is; what the server itself wrote is not repeated."""


def _send(settings: NotificationSettings, message: EmailMessage) -> Answer:
    user, password = secret_of("SMTP_USER"), secret_of("SMTP_PASSWORD")
    tls = ssl.create_default_context(cafile=settings.smtp_ca or None)
    host, port = settings.smtp_host, settings.smtp_port
    opened = (
        smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=tls)
        if settings.smtp_security == "tls"
        else smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    )
    with opened as server:
        if settings.smtp_security == "starttls":
            server.starttls(context=tls)  # raises where the server, or somebody between, does not offer it
        if user:
            server.login(user, password)
        refused = server.send_message(message, settings.email_from, list(settings.recipients))
    taken = len(settings.recipients) - len(refused)
    return Answer(ok=True, sentence=f"the mail server took it for {taken} of {len(settings.recipients)} recipients")


def _message(settings: NotificationSettings, notice_id: str, content: Mapping[str, Any]) -> EmailMessage:
    """Return the mail; sent again, it is the same to the byte, and known by its Message-ID."""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.email_from
    message["To"] = ", ".join(settings.recipients)
    message["Subject"] = f"[{content['node']}] {content['sentence']}"[:LONGEST_SUBJECT]
    message["Date"] = format_datetime(datetime.fromisoformat(content["at"]))
    message["Message-ID"] = f"<{notice_id}@{parseaddr(settings.email_from)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer of an absent person
    message.set_content(as_text(content, notice_id))
    return message
