"""Attacks a listener with malformed associations while a study is sent to it, and reports the resources left behind.

python -m benchmarks.fuzz_pdus --count 100000 --seed 7
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.support.attacked_listener import attack


def main() -> int:
    """Attack the listener, and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=20261128)
    arguments = parser.parse_args()

    def report(sentence: str) -> None:
        sys.stdout.write(f"{sentence}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="glionode-fuzz-") as folder:
        outcome = attack(Path(folder), arguments.count, arguments.seed, report)
    for name, value in asdict(outcome).items():
        report(f"{name}: {value}")
    is_clean = not outcome.false_thanks and not outcome.noise and set(outcome.study_statuses) == {0}
    return 0 if is_clean and outcome.study_held and max(outcome.leaked.values()) <= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
