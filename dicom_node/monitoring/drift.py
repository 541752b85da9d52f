"""Whether results change over the weeks: volumes, flags, and how often people agree with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow
from dicom_node.database.states import Priority, Verdict
from dicom_node.database.tables import RunRow, ShadowRow
from dicom_node.monitoring.activity import RESULTS
from dicom_node.monitoring.counts import quantile

__all__ = ["WEEKS", "DriftWeek", "read_drift"]

WEEKS = 12
MOST_RESULTS = 200
"""Most results, opinions and comparisons of one week that are read; a median of two hundred moves by chance alone by a
tenth or so, and twelve weeks of them take 0.1 s."""

WHOLE_TUMOUR = "WT"


@dataclass(frozen=True, kw_only=True)
class DriftWeek:
    """One week, which begins on Monday (UTC); None where there is nothing to divide by.

    Attributes
    ----------
    results
        Results that were read, at most `MOST_RESULTS`.
    median_ml
        Median volume of the whole tumour, where one was found.
    no_tumour, flagged
        Share of the results without a tumour, and with a flag.
    opinions, agreed
        Opinions of people, and the share of those that agree.
    shadow_dice
        Mean Dice of the shadow model's whole tumour against production.
    """

    begins: date
    results: int
    median_ml: float | None
    no_tumour: float | None
    flagged: float | None
    opinions: int
    agreed: float | None
    shadow_dice: float | None


def read_drift(database: Database, weeks: int = WEEKS) -> tuple[DriftWeek, ...]:
    """Return the weeks, oldest first; the last one is the present."""
    with database.session() as session:
        now = database.now(session)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    return tuple(_week(database, monday - timedelta(weeks=before)) for before in reversed(range(weeks)))


def _week(database: Database, begin: datetime) -> DriftWeek:
    end = begin + timedelta(weeks=1)
    ready = (RunRow.ready_at >= begin, RunRow.ready_at < end)
    among = (RunRow.state.in_(RESULTS), RunRow.priority.in_(list(Priority)), *ready)
    said = (OpinionRow.at >= begin, OpinionRow.at < end)
    compared = (ShadowRow.at >= begin, ShadowRow.at < end)
    with database.session() as session:  # by ix_run_queue
        summaries = session.scalars(sa.select(RunRow.summary).where(*among).limit(MOST_RESULTS)).all()
        verdicts = session.scalars(sa.select(OpinionRow.verdict).where(*said).limit(MOST_RESULTS)).all()
        regions = session.scalars(sa.select(ShadowRow.regions).where(*compared).limit(MOST_RESULTS)).all()
    volumes = [summary["volumes_ml"][WHOLE_TUMOUR] for summary in summaries if _has_tumour(summary)]
    dice = [one[WHOLE_TUMOUR]["dice"] for one in regions if "dice" in one.get(WHOLE_TUMOUR, {})]
    return DriftWeek(
        begins=begin.date(),
        results=len(summaries),
        median_ml=quantile(volumes, 0.5) if volumes else None,
        no_tumour=_share([bool(summary.get("no_tumour")) for summary in summaries]),
        flagged=_share([bool(summary.get("flags")) for summary in summaries]),
        opinions=len(verdicts),
        agreed=_share([verdict == Verdict.AGREE for verdict in verdicts]),
        shadow_dice=sum(dice) / len(dice) if dice else None,
    )


def _has_tumour(summary: dict[str, Any]) -> bool:
    return not summary.get("no_tumour") and (summary.get("volumes_ml") or {}).get(WHOLE_TUMOUR) is not None


def _share(held: Sequence[bool]) -> float | None:
    return sum(held) / len(held) if held else None
