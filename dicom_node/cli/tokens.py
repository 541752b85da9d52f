"""`glionode tokens`: tokens by which programs call the node."""

from typing import Any

import click

from dicom_node.access.tokens import add_token, list_tokens, remove_token, scopes_of
from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import TokenScope
from dicom_node.database.upload_tables import ApiTokenRow
from dicom_node.settings import read_settings

__all__ = ["tokens"]


@click.group(epilog=example("glionode tokens add 'study of 2026'"))
def tokens() -> None:
    """Make tokens by which programs call the node, each for what its scopes say."""


@tokens.command(epilog=example("glionode tokens add 'study of 2026' --scope workbench --days 365"))
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(list(map(str, TokenScope))),
    default=[str(TokenScope.WORKBENCH)],
    show_default=True,
    help="What the token may do; repeat it for several.",
)
@click.option("--days", type=int, default=0, help="After which it expires; by default never.")
@click.option(
    "--user", default="", help="User whom it belongs to: it may do no more than this user, and goes with them."
)
@json_option
@one_line_errors
def add(name: str, as_json: bool, scopes: tuple[str, ...], days: int, user: str) -> None:  # noqa: FBT001 - the --json flag
    """Make a token and show it, this once."""
    token = add_token(_database(), name, scopes, user=user.strip().lower(), days=days)
    emit(as_json, {"name": name, "token": token, "scopes": sorted(set(scopes))}, [token])


@tokens.command(name="list", epilog=example("glionode tokens list --json"))
@json_option
@one_line_errors
def list_them(as_json: bool) -> None:  # noqa: FBT001
    """List the tokens, without their secret parts."""
    content = [_shown(row) for row in list_tokens(_database())]
    lines = [f"{row['created_at']}  {row['name']}  ({', '.join(row['scopes'])})" for row in content]
    emit(as_json, {"tokens": content}, lines or ["There is no token. Make one by `glionode tokens add NAME`."])


def _shown(row: ApiTokenRow) -> dict[str, Any]:
    times = {"created_at": row.created_at, "expires_at": row.expires_at, "used_at": row.used_at}
    return {
        "name": row.name,
        "scopes": list(map(str, scopes_of(row))),
        "user": row.user,
        **{key: at.isoformat(timespec="seconds") if at else None for key, at in times.items()},
    }


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
