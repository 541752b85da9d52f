"""Faults in a real process that nobody can send: what opens a certain file meets whatever a test wants.

Python tells its audit hooks of each file that is opened (PEP 578), and what a hook raises comes out of `open`. So a
process of the node fails at a place of the test's choice, with no line of the node changed.
"""

import os
from pathlib import Path

__all__ = ["Faults"]

_HOOK = """
import os, sys

def _meet(event, arguments):
    if event == "open" and str(arguments[0]).endswith(os.environ["TEST_FAULT_AT"]):
        with open(os.environ["TEST_FAULT"], encoding="utf-8") as file:
            fault = compile(file.read(), "a library", "exec")
        exec(fault, {})

sys.addaudithook(_meet)
"""


class Faults:
    """What happens to a process where it opens a file.

    Parameters
    ----------
    folder
        Of the test.
    at
        How the path of the file ends.
    """

    def __init__(self, folder: Path, at: str) -> None:
        hook, self._fault = folder / "hook", folder / "fault.py"
        hook.mkdir(parents=True)
        (hook / "sitecustomize.py").write_text(_HOOK, "utf-8")  # which Python runs at its start
        self.clear()
        known = os.environ.get("PYTHONPATH", "")
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
        self.environment: dict[str, str] = {
            **inherited,
            "PYTHONPATH": os.pathsep.join([str(hook), *filter(None, [known])]),
            "TEST_FAULT_AT": at,
            "TEST_FAULT": str(self._fault),
        }

    def set(self, program: str) -> None:
        """Let it happen from now on: a program, run in the process in place of the opening."""
        self._fault.write_text(program, "utf-8")

    def clear(self) -> None:
        """Let nothing happen any more."""
        self._fault.write_text("", "utf-8")
