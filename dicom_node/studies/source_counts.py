"""What the source of a study said it holds of it, kept between questions, and whether that is all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from dicom_node.database.engine import Database
from dicom_node.peers.query import Held, QueryFailed, instances_of_study
from dicom_node.peers.registry import sources

__all__ = ["ASK_AGAIN", "SourceCounts", "SourceReader"]

ASK_AGAIN = timedelta(seconds=30)
"""How often a source is asked anew of which nothing new is expected."""

ASK_GROWING = timedelta(seconds=5)
"""How often one that may itself be receiving."""

LEFT_ALONE = timedelta(seconds=30)
"""A source that could not be asked holds up the judging of every study, so it is left alone for a while."""

Here = frozenset[tuple[str, str]]
"""Series and SOP Instance UIDs; the latter alone may stand in two series of a study."""

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SourceCounts:
    """What a peer held of a study's MR series when it was asked last.

    Attributes
    ----------
    missing
        By series, how many of its instances had not come here.
    grew_at
        When it was last seen to have grown, or to have just what was here: then it may itself be receiving. None for a
        source that was ahead at the first question and has not grown since: it has the whole study.
    """

    peer: str
    asked_at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    grew_at: datetime | None = None

    def ask_at(self, held: Mapping[str, int]) -> datetime:
        """Return from when on asking again may tell something new.

        Parameters
        ----------
        held
            Instances that have come, by series.
        """
        if not self.counts or any(self.counts.get(series_uid, 0) > number for series_uid, number in held.items()):
            return self.asked_at + ASK_AGAIN  # it does not know the study, or is known to hold more than has come
        return self.asked_at if self.grew_at is None else self.asked_at + ASK_GROWING

    def to_json(self) -> dict[str, Any]:
        """Return it as the database keeps it."""
        return {
            "peer": self.peer,
            "asked_at": self.asked_at.isoformat(),
            "counts": dict(self.counts),
            "missing": dict(self.missing),
            "grew_at": self.grew_at and self.grew_at.isoformat(),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "SourceCounts | None":
        """Return what the database keeps, None where nobody was asked yet."""
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
        """Return what is known after an answer.

        Parameters
        ----------
        held
            The answer.
        here
            Instances of the study that have come. One that came in a series that the answer does not know counts:
            it may have been given another Series Instance UID on the way.
        """
        counts = {series_uid: len(instances) for series_uid, instances in held.items()}
        moved = {uid for series_uid, uid in here if series_uid not in held}
        missing = {
            series_uid: sum((series_uid, uid) not in here and uid not in moved for uid in instances)
            for series_uid, instances in held.items()
        }
        if earlier is None or earlier.peer != peer:
            grew_at = None if any(missing.values()) else now
        else:
            grew_at = now if counts != dict(earlier.counts) else earlier.grew_at
        return cls(peer=peer, asked_at=now, counts=counts, missing=missing, grew_at=grew_at)


class SourceReader:
    """Asks the peers that are there to be asked, the sender of the study first."""

    def __init__(self, database: Database, calling_ae: str) -> None:
        self._database = database
        self._calling_ae = calling_ae
        self._silent_until: dict[str, datetime] = {}

    def ask(
        self, study_uid: str, senders: Sequence[str], here: Here, earlier: SourceCounts | None, now: datetime
    ) -> SourceCounts | None:
        """Return what the source holds, nothing where none knows the study; None where none can be asked.

        Parameters
        ----------
        senders
            Calling AE titles that the study came under.
        """
        asked = False
        for peer in sources(self._database, senders[0] if senders else ""):
            if now < self._silent_until.get(peer.name, now):
                continue
            try:
                held = instances_of_study(peer, self._calling_ae, study_uid)
            except QueryFailed as error:
                self._silent_until[peer.name] = now + LEFT_ALONE
                _log.warning("source_not_asked", peer=peer.name, reason=str(error))
                continue
            asked = True
            if held:
                return SourceCounts.after(earlier, peer.name, held, here, now)
        return SourceCounts(peer="", asked_at=now) if asked else None
