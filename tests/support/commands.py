"""Commands of `glionode` in this process, as scripts and people see them."""

import json
from typing import Any

from click.testing import CliRunner, Result

from dicom_node.cli.main import cli

__all__ = ["document", "failure", "run"]


def run(*arguments: str) -> Result:
    """Return what came of a command."""
    return CliRunner().invoke(cli, arguments)


def document(*arguments: str) -> dict[str, Any]:
    """Return what a command that succeeds says with --json."""
    done = run(*arguments, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def failure(*arguments: str) -> str:
    """Return the one line that a command which fails says."""
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("glionode: ")
    assert done.stderr.count("\n") == 1
    return done.stderr
