"""A node under attack (`make chaos`), the long version. The last line reads ``delivered N, lost 0, duplicated 0``.

All processes are real: listeners, workers, the panel, PostgreSQL (or SQLite) and Orthanc. Run it as root: it fills a
disk, which is a small file system in memory. The model is the tests' detector, which finds the phantom's lesion in a
tenth of a second. Everything else is the product as delivered.
"""

import argparse
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from tests.support.chaos import Attack, survive
from tests.support.postgres import running_postgres


def main() -> int:
    """Attack the node, and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20261126)
    arguments = parser.parse_args()
    several = arguments.database == "postgresql"
    attack = Attack(
        studies=arguments.studies,
        receivers=2 if several else 1,
        workers=3 if several else 1,
        kills=arguments.kills,
        database_stops=2 if several else 0,
        down_s=60.0,
        refusing_s=30.0,
        disk_full_s=20.0,
        seed=arguments.seed,
        deadline_s=3600.0,
    )
    begun = time.monotonic()

    def report(sentence: str) -> None:
        sys.stdout.write(f"{time.monotonic() - begun:7.1f} s  {sentence}\n")
        sys.stdout.flush()

    with (
        tempfile.TemporaryDirectory(prefix="glionode-chaos-") as folder,
        running_postgres() if several else nullcontext() as server,
    ):
        count = survive(attack, Path(folder), server, report)
    report(f"kills: {dict(count.kills)}; objects sent again, each noted in the database: {count.sent_again}")
    sys.stdout.write(f"{count.sentence}\n")
    return 0 if not count.lost and not count.duplicated and count.delivered == attack.studies else 1


if __name__ == "__main__":
    sys.exit(main())
