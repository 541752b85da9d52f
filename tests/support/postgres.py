"""A real PostgreSQL of its own, run as the user postgres, on a free port of the loopback interface."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.orthanc import free_port

__all__ = ["Postgres", "postgres_programs", "running_postgres"]

_START_S = 60.0


def postgres_programs() -> Path | None:
    """Return the folder of the newest server's programs, None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class Postgres:
    """A server that can be stopped hard and started again on the same data."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        programs = postgres_programs()
        assert programs is not None
        self._programs, self._folder, self.port = programs, folder, free_port()
        self._databases, self._durable = 0, durable
        self._process: subprocess.Popen[bytes] | None = None
        self._as_postgres([str(programs / "initdb"), "-D", str(folder / "data"), "-U", "glionode", "-A", "trust", "-N"])

    @property
    def url(self) -> str:
        """Address for SQLAlchemy."""
        return f"postgresql+psycopg://glionode@127.0.0.1:{self.port}/postgres"

    def new_database(self, template: str = "template1") -> str:
        """Make a database, empty or as another one is that nobody uses, and return its address for SQLAlchemy."""
        self._databases += 1
        name = f"books{self._databases}"
        command = [
            str(self._programs / "psql"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "glionode",
            "postgres",
            "-qc",
        ]
        subprocess.run([*command, f"CREATE DATABASE {name} TEMPLATE {template}"], check=True, capture_output=True)
        return f"postgresql+psycopg://glionode@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Start and wait until it takes connections."""
        options = ["-c", f"unix_socket_directories={self._folder}", "-c", "max_connections=300"]
        options += [] if self._durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(_command_as_postgres(command), stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + _START_S
        ready = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > deadline or self._process.poll() is not None:
                message = f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-2000:]}"
                raise TimeoutError(message)
            time.sleep(0.05)

    def stop(self, *, hard: bool = False) -> None:
        """Stop: hard as by a crash of the server, which then recovers from its log."""
        if self._process is None:
            return
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT if hard else signal.SIGINT)  # immediate, and fast shutdown
        self._process.wait(60)
        self._process = None

    def _as_postgres(self, command: Sequence[str]) -> None:
        subprocess.run(_command_as_postgres(command), check=True, capture_output=True, cwd="/")


def _command_as_postgres(command: Sequence[str]) -> list[str]:
    """Return a command that runs as the user postgres: the server refuses to run as root."""
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.getuid() == 0
        else list(command)
    )


@contextlib.contextmanager
def running_postgres(*, durable: bool = True) -> Iterator[Postgres]:
    """Start a server on empty data, and remove both at the end.

    Parameters
    ----------
    durable
        Whether it waits for its disk. What it wrote outlives its own crash in any case; that of the machine, only so.
    """
    folder = Path(tempfile.mkdtemp(prefix="glionode-postgres-"))
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = Postgres(folder, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop(hard=True)  # nobody reads its data again, and an orderly end writes all of it out first
        shutil.rmtree(folder, ignore_errors=True)
