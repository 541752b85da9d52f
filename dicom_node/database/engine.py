"""The node's database: sessions on SQLite or PostgreSQL, with the tables at the newest migration."""

import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from dicom_node.database.tables import REVISION, utc_now
from dicom_node.storage.durable import make_folder

__all__ = ["Database", "make_engine", "open_database"]


T = TypeVar("T")

CONFLICTS = 5
"""Attempts after conflicts. Each conflict means that another process advanced by one row, so that a few suffice."""

CACHED_STATEMENTS = 8
"""Statements cached by each connection to SQLite, instead of Python's 128. With 128, one for each length of a batch, a
listener grew by another 25 MiB over 100,000 instances (`benchmarks/endurance.py`). The time to prepare them again is
within the noise."""

SUBSECONDS = (3, 42)
"""First version of SQLite with unixepoch('subsec'), which DBOS uses on Python 3.12 and newer. The 3.40 of Debian 12,
against which a Python may have been built there, returns NULL."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = sa.table("alembic_version", sa.column("version_num", sa.String))
_MIGRATION_LOCK = 0x676C696F
"""Key of the advisory lock under which one process at a time migrates a PostgreSQL database."""


class Database:
    """Sessions on one engine, whose connections are closed when this object is no longer referenced."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        # Commands hold it until they return; Python 3.13 warns of each connection that its garbage collector closes.
        weakref.finalize(self, engine.dispose)
        self._sessions = sessionmaker(engine, expire_on_commit=False)

    def now(self, session: Session) -> datetime:
        """Return the database's own time, which all hosts share; with SQLite it is this host's."""
        if self.engine.dialect.name == "sqlite":
            return utc_now()
        now: datetime = session.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        return now.astimezone(UTC)

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do some work in a session of its own; repeat it if another process inserted the same row at that moment."""
        for _ in range(CONFLICTS):
            try:
                with self.session() as session:
                    return work(session)
            except sa.exc.IntegrityError:
                continue
        with self.session() as session:
            return work(session)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session that commits when the block ends and rolls back when it raises."""
        with self._sessions.begin() as session:
            yield session


def open_database(url: str) -> Database:
    """Connect, and migrate the tables to the newest version.

    Parameters
    ----------
    url
        SQLAlchemy URL, ``sqlite:///PATH`` or ``postgresql+psycopg://...``.
    """
    engine = make_engine(url)
    with engine.begin() as connection:
        if not _is_newest(connection):
            if engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _migrate(connection)
    return Database(engine)


def _is_newest(connection: sa.Connection) -> bool:
    """Return whether the database needs no migration, without loading them: that would take each start 0.3 s."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return False
    return connection.execute(sa.select(_VERSION.c.version_num)).scalars().all() == [REVISION]


def _migrate(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - only where the tables are not the newest
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _unix_time(*modifiers: str) -> float:
    """Return seconds since 1970, as unixepoch('subsec') does.

    Raises
    ------
    ValueError
        For any other use of that function; DBOS makes none.
    """
    if modifiers != ("subsec",):
        message = f"unixepoch{modifiers} is not replaced here; use SQLite {'.'.join(map(str, SUBSECONDS))} or newer"
        raise ValueError(message)
    return time.time()


def make_engine(url: str, *, lock_at_begin: bool = True) -> sa.Engine:
    """Return an engine; on SQLite with durable write-ahead logging.

    The default journal of SQLite is four times slower, and a transaction that begins as a reader and then writes can
    fail as busy at once; both were measured for this design.

    Parameters
    ----------
    lock_at_begin
        Take SQLite's write lock when a transaction begins, so that what was read is still true when it writes;
        otherwise at the first write, as DBOS expects of its engine.
    """
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    path = sa.make_url(url).database
    if path:
        make_folder(Path(path).parent)
    limits = {"timeout": 30, "check_same_thread": False, "cached_statements": CACHED_STATEMENTS}
    engine = sa.create_engine(url, connect_args=limits)

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection has no type
        connection.isolation_level = None if lock_at_begin else "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        if sqlite3.sqlite_version_info < SUBSECONDS:
            connection.create_function("unixepoch", -1, _unix_time)

    if lock_at_begin:
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    return engine
