"""`glionode users`: who may use the panel; no password is ever typed on a command line."""

from typing import Any

import click

from dicom_node.access.events import COMMAND_LINE
from dicom_node.access.users import add_user, list_users, new_password_link, remove_user, set_enabled, set_role
from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import UserRole
from dicom_node.settings import Settings, read_settings
from dicom_node.web.addresses import panel_address

__all__ = ["users"]

_role = click.Choice(list(map(str, UserRole)))


@click.group(epilog=example("glionode users add anna --role operator"))
def users() -> None:
    """Add and manage the users of the panel; each sets a password by a one-time link."""


@users.command(epilog=example("glionode users add anna --role operator"))
@click.argument("name")
@click.option("--role", type=_role, required=True, help="What the user may do.")
@json_option
@one_line_errors
def add(name: str, role: str, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Add a user, and show the link by which the user sets a password, once, within 24 hours."""
    settings, database = _node()
    _show_link(settings, database, add_user(database, name, UserRole(role), COMMAND_LINE), as_json)


@users.command(name="list", epilog=example("glionode users list --json"))
@json_option
@one_line_errors
def list_them(as_json: bool) -> None:  # noqa: FBT001
    """List the users with their roles."""
    content = [_shown(user) for user in list_users(_node()[1])]
    lines = [f"{user['role']:14}{user['name']}{_remark(user)}" for user in content]
    emit(as_json, {"users": content}, lines or ["There is no user. `glionode serve` prints a link for the first one."])


@users.command(epilog=example("glionode users reset anna"))
@click.argument("name")
@json_option
@one_line_errors
def reset(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a link by which a user sets a new password; the present one holds until then."""
    settings, database = _node()
    _show_link(settings, database, name, as_json)


@users.command(epilog=example("glionode users disable anna"))
@click.argument("name")
@json_option
@one_line_errors
def disable(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Log a user out at once and let the user in no more; tokens of the user are refused too."""
    set_enabled(_node()[1], name, COMMAND_LINE, enabled=False)
    emit(as_json, {"disabled": name}, [f"disabled {name}"])


@users.command(epilog=example("glionode users enable anna"))
@click.argument("name")
@json_option
@one_line_errors
def enable(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Let a disabled user in again."""
    set_enabled(_node()[1], name, COMMAND_LINE, enabled=True)
    emit(as_json, {"enabled": name}, [f"enabled {name}"])


@users.command(epilog=example("glionode users role anna administrator"))
@click.argument("name")
@click.argument("role", type=_role)
@json_option
@one_line_errors
def role(name: str, role: str, as_json: bool) -> None:  # noqa: FBT001
    """Change what a user may do; the user logs in again."""
    set_role(_node()[1], name, UserRole(role), COMMAND_LINE)
    emit(as_json, {"name": name, "role": role}, [f"{name} is {role}"])


@users.command(epilog=example("glionode users remove anna"))
@click.argument("name")
@json_option
@one_line_errors
def remove(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Remove a user with every session and token."""
    remove_user(_node()[1], name, COMMAND_LINE)
    emit(as_json, {"removed": name}, [f"removed {name}"])


def _node() -> tuple[Settings, Database]:
    settings = read_settings()
    return settings, open_database(settings.database_url)


def _show_link(settings: Settings, database: Database, name: str, as_json: bool) -> None:  # noqa: FBT001
    link = new_password_link(database, panel_address(settings), name, COMMAND_LINE)
    emit(as_json, {"name": name, "link": link}, [link])


def _shown(user: UserRow) -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role,
        "enabled": user.enabled,
        "has_password": bool(user.password_hash),
        "login": "password" if user.subject_sha256 is None else "oidc",
        "created_at": user.created_at.isoformat(timespec="seconds"),
        "last_login_at": user.seen_at.isoformat(timespec="seconds") if user.seen_at else None,
    }


def _remark(user: dict[str, Any]) -> str:
    if not user["enabled"]:
        return "  (disabled)"
    if user["login"] == "oidc":
        return "  (logs in by OpenID Connect)"
    return "" if user["has_password"] else "  (has set no password yet)"
