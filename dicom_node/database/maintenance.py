"""The switch that drains the node: new associations are rejected, no further run starts, running ones finish."""

import structlog

from dicom_node.database.engine import Database
from dicom_node.database.tables import SwitchRow, utc_now

__all__ = ["in_maintenance", "set_maintenance"]

_log = structlog.get_logger()

_MAINTENANCE = "maintenance"


def in_maintenance(database: Database) -> bool:
    """Return whether the node is draining: new associations are rejected and no further run starts."""
    with database.session() as session:
        row = session.get(SwitchRow, _MAINTENANCE)
        return row is not None and row.value == "on"


def set_maintenance(database: Database, who: str, *, on: bool) -> None:
    """Begin or end maintenance, for every process of the node."""
    with database.session() as session:
        session.merge(SwitchRow(name=_MAINTENANCE, value="on" if on else "off", who=who, at=utc_now()))
    _log.info("maintenance", on=on, who=who)
