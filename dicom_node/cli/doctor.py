"""`glionode doctor`: check what the node needs, and connect it to an Orthanc server."""

import os
import sys
from dataclasses import asdict

import click

from dicom_node.cli.conventions import complain, emit, example, json_option, one_line_errors, printable
from dicom_node.database.engine import open_database
from dicom_node.peers.orthanc import OrthancTarget, connect_orthanc, disconnect_orthanc, lasting_configuration
from dicom_node.settings import Settings, read_settings
from dicom_node.setup.doctor import diagnose

__all__ = ["doctor"]


@click.command(epilog=example("glionode doctor --orthanc http://127.0.0.1:8042"))
@click.option("--orthanc", metavar="URL", help="Register the node in this Orthanc and set up auto-routing.")
@click.option("--node-host", default="", help="Host at which Orthanc reaches the node; by default this machine.")
@click.option(
    "--username",
    default="",
    help="User of Orthanc's REST API; the password is prompted for, or read from GLIONODE_ORTHANC_PASSWORD.",
)
@click.option("--remove", is_flag=True, help="With --orthanc: undo the registration and the auto-routing.")
@json_option
@one_line_errors
def doctor(as_json: bool, remove: bool, orthanc: str | None, **options: str) -> None:  # noqa: FBT001
    """Check what the node needs to run; with --orthanc, connect it to an Orthanc server."""
    settings: Settings = read_settings()
    database = open_database(settings.database_url)
    advice = ""
    if orthanc:
        target = OrthancTarget(url=orthanc, password=_orthanc_password(orthanc, options["username"]), **options)
        if remove:
            checks = disconnect_orthanc(target, database)
        else:
            checks = connect_orthanc(target, settings, database)
            advice = lasting_configuration(target, settings) if checks[0].ok else ""
    else:
        checks = diagnose(settings, database)
    lines = [f"{'ok   ' if check.ok else 'FAIL '} {check.name}: {check.detail}" for check in checks]
    emit(as_json, {"checks": [asdict(check) for check in checks]}, [*lines, *advice.splitlines()])
    if not all(check.ok for check in checks):
        failed = next(check for check in checks if not check.ok)
        complain(f"{failed.name}: {failed.detail}")
        sys.exit(1)


def _orthanc_password(url: str, username: str) -> str:
    """Return the password, never from the command line: every user of the machine can read that."""
    if "@" in url:
        sentence = "Do not put a user and password into the URL. Give --username; the password is prompted for."
        raise click.UsageError(sentence)
    password = os.environ.get("GLIONODE_ORTHANC_PASSWORD", "")
    if password or not username:
        return password
    return str(click.prompt(f"Password of {printable(username)}", hide_input=True, err=True))
