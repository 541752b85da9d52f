"""What every subcommand shares: an example in its help, errors in one line, and ``--json``."""

import json
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dicom_node.cli.audited import recorded
from dicom_node.settings import SettingsError

if TYPE_CHECKING:
    from conversion.recognition.site_rules import SiteRule

__all__ = [
    "LAYOUTS",
    "NOTICE",
    "complain",
    "emit",
    "example",
    "given_rules",
    "json_option",
    "one_line_errors",
    "printable",
    "rules_option",
    "sets_options",
]

_PACKAGES = ("dicom_node", "viewer_integration", "inference", "conversion")

NOTICE = "Research use only. Not a medical device."

LAYOUTS = ("lgg", "brats", "msd", "dicom")
"""Layouts of annotated cases. A test compares them with `inference.cases.layouts`, which takes seconds to load."""


def example(text: str) -> str:
    """Return the last line of a command's help."""
    return f"Example: {text}"


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn every foreseen error into one clear line on stderr and exit status 1; record what has to be recorded."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click passes
        name = click.get_current_context().command_path.partition(" ")[2]
        try:
            with recorded(name, kwargs):
                command(*args, **kwargs)
        except _foreseen() as error:
            complain(_sentence(error))
            sys.exit(1)

    return wrapped


def _sentence(error: Exception) -> str:
    """Return an error's text in one line; for an error raised by a library, which may quote values, only its type."""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and frames and not _is_ours(frames[-1].filename):
        return f"a file contains a value that cannot be read ({type(error).__name__})"
    return (str(error) or type(error).__name__).splitlines()[0]


def _is_ours(filename: str) -> bool:
    ours = Path(__file__).parents[2]
    return any(Path(filename).is_relative_to(ours / package) for package in _PACKAGES)


def _foreseen() -> tuple[type[Exception], ...]:
    from conversion.errors import ConversionError  # noqa: PLC0415 - commands load only what they need
    from dicom_node.peers.peer import PeerError  # noqa: PLC0415
    from viewer_integration.errors import ResultError  # noqa: PLC0415

    known: list[type[Exception]] = [SettingsError, ConversionError, ResultError, PeerError, OSError, ValueError]
    loaded_later = (
        ("inference.errors", "InferenceError"),
        ("dicom_node.demo.run", "DemoError"),
        ("dicom_node.runs.consequences", "UnreadableStudy"),
        ("dicom_node.runs.operations", "Impossible"),
        ("dicom_node.peers.query", "QueryFailed"),
        ("sqlalchemy.exc", "SQLAlchemyError"),
    )
    for module, name in loaded_later:
        if module in sys.modules:
            known.append(getattr(sys.modules[module], name))
    return tuple(known)


def emit(as_json: bool, content: dict[str, Any], lines: Iterable[str]) -> None:  # noqa: FBT001 - the --json flag
    """Print one JSON document, or lines for a person; JSON escapes control characters anyway."""
    click.echo(json.dumps(content, indent=1) if as_json else "\n".join(map(printable, lines)))


def complain(sentence: str) -> None:
    """Print one line on stderr that states why a command failed."""
    click.echo(printable(f"glionode: {sentence}"), err=True)


def printable(line: str) -> str:
    """Return a line that cannot control a terminal: text from headers, file names and peers is not trusted.

    Control characters, including line breaks, and characters that change the writing direction are shown as escapes.
    """
    return "".join(letter if _is_shown(letter) else letter.encode("unicode_escape").decode("ascii") for letter in line)


def _is_shown(letter: str) -> bool:
    return letter.isprintable() or letter == "\t" or unicodedata.category(letter) == "Zs"


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")

rules_option = click.option(
    "--rules",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Site rules as TOML, for example from `glionode rules export`.",
)


def given_rules(path: Path | None) -> "tuple[SiteRule, ...]":
    """Return the site rules of the file given by ``--rules``; none without it."""
    from dicom_node.rules.site_rules import parse_rules  # noqa: PLC0415

    return parse_rules(path.read_text("utf-8"), path.name) if path else ()


def sets_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --dataset and --data to a command; both are repeated together for several sets of annotated cases."""
    data = click.option(
        "--data",
        "folders",
        multiple=True,
        required=True,
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Folder of annotated cases; repeat it together with --dataset for several sets.",
    )
    layout = click.option(
        "--dataset", "datasets", multiple=True, required=True, type=click.Choice(LAYOUTS), help="Layout of that folder."
    )
    return layout(data(command))
