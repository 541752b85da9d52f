"""`glionode tokens`: tokens by which programs call the API of the workbench."""

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import Database, open_database
from dicom_node.settings import read_settings
from dicom_node.web.api_tokens import add_token, list_tokens, remove_token

__all__ = ["tokens"]


@click.group(epilog=example("glionode tokens add 'study of 2026'"))
def tokens() -> None:
    """Make tokens by which programs send files to the workbench and fetch their results."""


@tokens.command(epilog=example("glionode tokens add 'study of 2026'"))
@click.argument("name")
@json_option
@one_line_errors
def add(name: str, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Make a token and show it, this once."""
    token = add_token(_database(), name)
    emit(as_json, {"name": name, "token": token}, [token])


@tokens.command(name="list", epilog=example("glionode tokens list --json"))
@json_option
@one_line_errors
def list_them(as_json: bool) -> None:  # noqa: FBT001
    """List the names of the tokens."""
    rows = list_tokens(_database())
    content = [{"name": row.name, "created_at": row.created_at.isoformat(timespec="seconds")} for row in rows]
    lines = [f"{row['created_at']}  {row['name']}" for row in content]
    emit(as_json, {"tokens": content}, lines or ["There is no token. Make one by `glionode tokens add NAME`."])


@tokens.command(epilog=example("glionode tokens remove 'study of 2026'"))
@click.argument("name")
@json_option
@one_line_errors
def remove(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Remove a token, which is refused from then on."""
    remove_token(_database(), name)
    emit(as_json, {"removed": name}, [f"removed {name}"])


def _database() -> Database:
    return open_database(read_settings().database_url)
