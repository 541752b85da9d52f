"""The threads that look, gather and send: in every worker and every web process, so that either tells of the other."""

import os
import secrets
import socket
import threading
from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
import structlog

from dicom_node.database.engine import Database
from dicom_node.database.states import NoticeState
from dicom_node.database.tables import utc_now
from dicom_node.database.worker_slots import has_lease
from dicom_node.notifications.channels import Channel, channels
from dicom_node.notifications.conditions import Conditions
from dicom_node.notifications.notices import claim_due, gather, note_answer
from dicom_node.settings import Settings

__all__ = ["Notifier"]

_log = structlog.get_logger()

LOOK_S = 5.0
"""Interval at which one process looks at the node and gathers events; half of how long it keeps that duty."""

SEND_S = 2.0
"""Interval at which each process looks for notifications that are due."""

DEFECT_S = 60.0
"""Pause after a defect, which would otherwise fill the log."""


class Notifier:
    """Tells administrators what needs them; does nothing where the settings name nobody.

    Its threads wait for mail servers and receivers, and nothing waits for them. What a process that ends was sending is
    sent again by another, with the same id.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._conditions = Conditions(settings, database)
        self._holder = f"{socket.gethostname()[:48]}/{os.getpid()}-{secrets.token_hex(4)}"
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, where somebody is to be told."""
        found = channels(self._settings)
        loops: list[tuple[str, float, Callable[[], object]]] = []
        loops += [("look", LOOK_S, lambda: self.look(utc_now()))] if found else []
        loops += [(f"send-{each.name}", SEND_S, self._sender(each)) for each in found]
        for name, pause_s, do in loops:
            threading.Thread(target=self._loop, args=(name, pause_s, do), name=f"notify-{name}", daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop.set()

    def look(self, now: datetime) -> None:
        """Note what has begun or ended, and make notifications of what is due, if this process has the duty."""
        if has_lease(self._database, "notifications", self._holder):
            self._conditions.look(now)
            gather(self._settings, self._database, now)

    def send_due(self, channel: Channel, now: datetime) -> int:
        """Send what is due by one channel, one after the other, and return how much it was."""
        sent = 0
        while not self._stop.is_set() and (due := claim_due(self._database, channel.name, now)) is not None:
            answer = channel.send(self._settings.notifications, due.notice_id, due.content)
            state = note_answer(self._database, due.notice_id, answer, now)
            sent += 1
            note = _log.info if answer.ok else _log.error if state is NoticeState.GIVEN_UP else _log.warning
            note("notification", channel=channel.name, id=due.notice_id, state=str(state), answer=answer.sentence)
        return sent

    def _sender(self, channel: Channel) -> Callable[[], object]:
        return lambda: self.send_due(channel, utc_now())

    def _loop(self, name: str, pause_s: float, do: Callable[[], object]) -> None:
        while not self._stop.wait(pause_s):
            try:
                do()
            except (sa.exc.DBAPIError, OSError) as error:  # no database or no disk: tried again in the next round
                _log.warning("round_failed", duty=name, error=type(error).__name__)
            except Exception:  # noqa: BLE001 - a defect in what tells must not end the telling, nor anything beside it
                _log.exception("round_defect", duty=name)
                self._stop.wait(DEFECT_S)
