"""What every subcommand shares: an example in its help, errors in one line, and ``--json``."""

import json
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

from dicom_node.settings import SettingsError

__all__ = ["emit", "example", "json_option", "one_line_errors"]


def example(text: str) -> str:
    """Return the last line of a command's help."""
    return f"Example: {text}"


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn every foreseen error into one clear line on stderr and exit status 1."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever click passes
        try:
            command(*args, **kwargs)
        except _foreseen() as error:
            click.echo(f"glionode: {(str(error) or type(error).__name__).splitlines()[0]}", err=True)
            sys.exit(1)

    return wrapped


def _foreseen() -> tuple[type[Exception], ...]:
    from conversion.errors import ConversionError  # noqa: PLC0415 - commands load only what they need
    from dicom_node.peers import PeerError  # noqa: PLC0415
    from viewer_integration.errors import ResultError  # noqa: PLC0415

    known: list[type[Exception]] = [SettingsError, ConversionError, ResultError, PeerError, OSError, ValueError]
    loaded_later = (
        ("inference.errors", "InferenceError"),
        ("dicom_node.demo.run", "DemoError"),
        ("sqlalchemy.exc", "SQLAlchemyError"),
    )
    for module, name in loaded_later:
        if module in sys.modules:
            known.append(getattr(sys.modules[module], name))
    return tuple(known)


def emit(as_json: bool, content: dict[str, Any], lines: Iterable[str]) -> None:  # noqa: FBT001 - the --json flag
    """Print one JSON document, or lines for a person."""
    click.echo(json.dumps(content, indent=1) if as_json else "\n".join(lines))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
