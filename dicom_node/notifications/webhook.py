"""Sends a notification as JSON to an address, signed so that the receiver knows whose it is."""

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx

from dicom_node.notifications.notices import Answer
from dicom_node.notifications.secrets import MissingSecret, secret_of
from dicom_node.outward_settings import NotificationSettings

__all__ = ["SHORTEST_SECRET", "post", "signature"]

TIMEOUT_S = 10.0
"""For each part of the exchange."""

DEADLINE_S = 20.0
"""For all of it, however slowly the receiver answers."""

SHORTEST_SECRET = 16
"""Characters, below which a secret could be guessed from what was signed with it."""


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return HMAC-SHA-256 of time and body, in hexadecimal, as the receiver reckons it too."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(settings: NotificationSettings, notice_id: str, content: Mapping[str, Any]) -> Answer:
    """Post one notification and return what became of it; nothing raises, and of the answer only the status is read."""
    try:
        secret = secret_of("WEBHOOK_SECRET")
    except MissingSecret as error:
        return Answer(ok=False, sentence=str(error))
    if len(secret) < SHORTEST_SECRET:
        sentence = f"GLIONODE_NOTIFY_WEBHOOK_SECRET is missing or shorter than {SHORTEST_SECRET} characters"
        return Answer(ok=False, sentence=sentence)
    body = json.dumps({"id": notice_id, **content}, separators=(",", ":")).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GlioNode",
        "Idempotency-Key": notice_id,
        "X-GlioNode-Timestamp": timestamp,
        "X-GlioNode-Signature": f"sha256={signature(secret, timestamp, body)}",
    }
    try:
        status = asyncio.run(_status(settings, headers, body))
    except TimeoutError:
        return Answer(ok=False, sentence=f"no answer within {DEADLINE_S:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Answer(ok=False, sentence=f"the receiver cannot be reached ({type(error).__name__})")
    return Answer(ok=200 <= status < 300, sentence=f"answer {status}" + _HINTS.get(status // 100, ""))


_HINTS = {3: ": a redirection, which is not followed"}


async def _status(settings: NotificationSettings, headers: Mapping[str, str], body: bytes) -> int:
    """Return the status of the answer; its body, however long, is not read."""
    tls = ssl.create_default_context(cafile=settings.webhook_ca or None)
    async with (
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, verify=tls) as client,
        client.stream("POST", settings.webhook, headers=dict(headers), content=body) as answer,
    ):
        return answer.status_code
