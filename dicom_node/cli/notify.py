"""`glionode notify`: what administrators are told by e-mail and webhook."""

from dataclasses import asdict

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.notifications.channels import newest_notices, send_tests
from dicom_node.settings import SettingsError, read_settings

__all__ = ["notify"]


@click.group(epilog=example("glionode notify test"))
def notify() -> None:
    """Send a test notification by e-mail and webhook, or list the newest that were sent."""


@notify.command(epilog=example("glionode notify test --json"))
@json_option
@one_line_errors
def test(as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Send a test by each way that the settings open, and show the answers; fail unless all are good."""
    tested = send_tests(read_settings())
    if not tested:
        raise SettingsError("nobody is to be told: set notifications.email_to or notifications.webhook")
    lines = [f"{'ok  ' if one.ok else 'FAIL'} {one.channel} to {one.target}: {one.sentence}" for one in tested]
    emit(as_json, {"tests": [asdict(one) for one in tested]}, lines)
    if not all(one.ok for one in tested):
        click.get_current_context().exit(1)


@notify.command(name="list", epilog=example("glionode notify list --json"))
@click.option("--count", default=20, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@json_option
@one_line_errors
def list_them(as_json: bool, count: int) -> None:  # noqa: FBT001
    """List the newest notifications with what became of them."""
    rows = newest_notices(open_database(read_settings().database_url), count)
    content = [
        {
            "id": row.notice_id,
            "made_at": row.made_at.isoformat(timespec="seconds"),
            "channel": row.channel,
            "code": row.code,
            "ended": row.ended,
            "sentence": row.content["sentence"],
            "state": row.state,
            "attempts": row.attempts,
            "answer": row.answer,
        }
        for row in rows
    ]
    lines = [
        f"{one['made_at']}  {one['channel']}  {one['state']}  {one['sentence']}  {one['answer']}" for one in content
    ]
    emit(as_json, {"notifications": content}, lines or ["No notification was made yet."])
