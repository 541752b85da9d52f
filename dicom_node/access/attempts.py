"""How often a login may fail, counted in the database, so that all web processes count together.

Each user name has a limit, and so has each address. Alone, they would let a stranger lock an administrator out for as
long as the stranger goes on. Therefore a browser on which a user has logged in before, known by a cookie, has a limit
of its own instead of these two (OWASP Authentication Cheat Sheet, "Slow Down Online Guessing Attacks with Device
Cookies").
"""

import ipaddress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from dicom_node.access.links import token_sha256
from dicom_node.database.access_tables import LoginFailureRow
from dicom_node.database.engine import Database

__all__ = ["PER_ADDRESS", "PER_NAME", "WINDOW", "Attempt", "admit", "forget"]

PER_NAME = 10
"""Failures for one user name, or on one known browser, within a window. That is 350,000 guesses in a year at most; the
weakest password that is taken withstands more (NIST SP 800-63B-4, 3.2.2 allows 100 in a row)."""

PER_ADDRESS = 30
"""Failures from one address, behind which a ward may be, for all names."""

WINDOW = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Who tries to log in: a name, from an address, in a browser that is known for it or not."""

    name: str
    address: str
    known_browser: str = ""

    def limits(self) -> dict[str, int]:
        """Return what is counted and how far; hashes, since a password may have been typed as a name."""
        if self.known_browser:
            return {f"browser:{token_sha256(self.known_browser)}": PER_NAME}
        return {
            f"address:{token_sha256(_network(self.address))}": PER_ADDRESS,
            f"name:{token_sha256(self.name)}": PER_NAME,
        }


def admit(database: Database, attempt: Attempt) -> timedelta | None:
    """Count an attempt before its password is tried; return None, or how long to wait where it is one too many."""

    def count(session: Session) -> timedelta | None:
        now = database.now(session)
        ended = select(LoginFailureRow.key).where(LoginFailureRow.until <= now).with_for_update(skip_locked=True)
        session.execute(delete(LoginFailureRow).where(LoginFailureRow.key.in_(ended)))
        counted = []
        for key, limit in attempt.limits().items():
            row = session.get(LoginFailureRow, key, with_for_update=True)
            if row is not None and row.until <= now:  # another process is just removing it
                row.count, row.until = 0, now + WINDOW
            if row is not None and row.count >= limit:
                return max(row.until - now, timedelta(seconds=1))
            counted.append((key, row))
        for key, row in counted:
            if row is None:
                session.add(LoginFailureRow(key=key, count=1, until=now + WINDOW))
            else:
                row.count += 1
        return None

    return database.transact(count)


def forget(database: Database, attempt: Attempt) -> None:
    """Take an attempt back that succeeded; of an address, this one alone: others may guess from there."""
    with database.session() as session:
        for key in attempt.limits():
            row = session.get(LoginFailureRow, key, with_for_update=True)
            if row is not None and key.startswith("address:") and row.count > 1:
                row.count -= 1
            elif row is not None:
                session.delete(row)


def _network(address: str) -> str:
    """Return an IPv4 address, or the network of an IPv6 address, within which anyone has as many as they want."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
