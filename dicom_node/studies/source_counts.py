"""How many instances of a study its source holds, stored between queries, and how many are missing here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from dicom_node.audit.queries import record_query
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.peers.query import Held, QueryFailed, instances_of_study
from dicom_node.peers.registry import sources

__all__ = ["ASK_AGAIN", "SourceCounts", "SourceReader"]

ASK_AGAIN = timedelta(seconds=30)
"""Interval between queries to a source from which nothing new is expected."""

ASK_GROWING = timedelta(seconds=5)
"""Interval between queries to a source that may itself still be receiving the study."""

LEFT_ALONE = timedelta(seconds=30)
"""A source that could not be queried delays the judging of every study, so it is not queried for this long."""

Here = frozenset[tuple[str, str]]
"""Series and SOP Instance UIDs; one SOP Instance UID may occur in two series of a study."""

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """What a peer held of a study's MR series at the last query.

    Attributes
    ----------
    missing
        By series, the number of its instances that had not been received here.
    grew_at
        When the peer was last found to hold more than before, or exactly what was here: then it may itself be
        receiving. None for a source that held more than the node at the first query and has not grown since: it has
        the complete study.
    """

    peer: str
    asked_at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    grew_at: datetime | None = None

    def ask_at(self, held: Mapping[str, int]) -> datetime:
        """Return the time from which another query may give something new.

        Parameters
        ----------
        held
            Number of received instances, by series.
        """
        if not self.counts or any(self.counts.get(series_uid, 0) > number for series_uid, number in held.items()):
            return self.asked_at + ASK_AGAIN  # it does not hold the study, or holds more than was received
        return self.asked_at if self.grew_at is None else self.asked_at + ASK_GROWING

    def to_json(self) -> dict[str, Any]:
        """Return it in the form stored in the database."""
        return {
            "peer": self.peer,
            "asked_at": self.asked_at.isoformat(),
            "counts": dict(self.counts),
            "missing": dict(self.missing),
            "grew_at": self.grew_at and self.grew_at.isoformat(),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "SourceCounts | None":
        """Return what is stored in the database; None if no source was queried yet."""
        if not kept:
            return None
        return cls(
            peer=kept["peer"],
            asked_at=datetime.fromisoformat(kept["asked_at"]),
            counts=kept["counts"],
            missing=kept["missing"],
            grew_at=datetime.fromisoformat(kept["grew_at"]) if kept["grew_at"] else None,
        )

    @classmethod
    def after(cls, earlier: "SourceCounts | None", peer: str, held: Held, here: Here, now: datetime) -> "SourceCounts":
        """Return what is known after a response.

        Parameters
        ----------
        held
            Instances in the response.
        here
            Received instances of the study. One in a series that the response does not contain counts as received: its
            Series Instance UID may have been changed on the way.
        """
        counts = {series_uid: len(instances) for series_uid, instances in held.items()}
        in_other_series = {uid for series_uid, uid in here if series_uid not in held}
        missing = {
            series_uid: sum((series_uid, uid) not in here and uid not in in_other_series for uid in instances)
            for series_uid, instances in held.items()
        }
        if earlier is None or earlier.peer != peer:
            grew_at = None if any(missing.values()) else now
        else:
            grew_at = now if counts != dict(earlier.counts) else earlier.grew_at
        return cls(peer=peer, asked_at=now, counts=counts, missing=missing, grew_at=grew_at)


class SourceReader:
    """Queries the peers that are sources, the sender of the study first."""

    def __init__(self, database: Database, calling_ae: str, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        self._calling_ae = calling_ae
        self._silent_until: dict[str, datetime] = {}

    def ask(
        self, study_uid: str, senders: Sequence[str], here: Here, earlier: SourceCounts | None, now: datetime
    ) -> SourceCounts | None:
        """Return what the source holds: no counts if no source holds the study, None if none can be queried.

        Parameters
        ----------
        senders
            Calling AE titles of the study's senders.
        """
        answered = False
        for peer in sources(self._database, senders[0] if senders else ""):
            if now < self._silent_until.get(peer.name, now):
                continue
            record_query(
                self._trail,
                peer.ae_title,
                peer.host,
                {"StudyInstanceUID": study_uid},
                by_web=bool(peer.dicomweb_url),
            )
            try:
                held = instances_of_study(peer, self._calling_ae, study_uid)
            except QueryFailed as error:
                self._silent_until[peer.name] = now + LEFT_ALONE
                _log.warning("source_not_asked", peer=peer.name, reason=str(error))
                continue
            answered = True
            if held:
                return SourceCounts.after(earlier, peer.name, held, here, now)
        return SourceCounts(peer="", asked_at=now) if answered else None
