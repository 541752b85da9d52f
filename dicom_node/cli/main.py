"""The command `glionode`: every subcommand in one place, each a few lines over the module that does the work."""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dicom_node.cli.conventions import (
    NOTICE,
    complain,
    emit,
    example,
    given_rules,
    json_option,
    one_line_errors,
    printable,
    rules_option,
)
from dicom_node.cli.evaluate import evaluate
from dicom_node.cli.export import export
from dicom_node.cli.models import models
from dicom_node.cli.operations import cancel, clean, fetch, maintenance, prioritise, replay, resend, workers
from dicom_node.cli.rules import rules
from dicom_node.cli.segment import segment
from dicom_node.cli.train import train
from dicom_node.logs import configure_logs
from dicom_node.settings import Settings, read_settings

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file that overrides defaults.")
@click.version_option(package_name="glionode")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """GlioNode: a DICOM node for brain tumours. Research use only, not a medical device."""
    if config is not None:
        os.environ["GLIONODE_CONFIG"] = str(config.absolute())
    context.ensure_object(dict)
    configure_logs("command", quiet=True)


@cli.command(epilog=example("glionode serve --site site.toml"))
@click.option("--site", type=click.Path(path_type=Path, exists=True), help="Peers to begin with (first start only).")
@one_line_errors
def serve(site: Path | None) -> None:
    """Run listener, worker and web together on the embedded defaults."""
    from dicom_node.app import serve as run  # noqa: PLC0415
    from dicom_node.web.auth import new_login_link  # noqa: PLC0415

    settings = read_settings()

    def announce(database: Any) -> None:  # noqa: ANN401 - Database, without loading it for --help
        panel = f"http://{settings.web.bind}:{settings.web.port}"
        click.echo(f"GlioNode. {NOTICE}")
        click.echo(f"DICOM   {settings.node.ae_title}@{settings.node.bind}:{settings.node.dicom_port}")
        click.echo(f"Panel   {new_login_link(database, panel)}  (valid once, 15 minutes)")
        click.echo(f"Viewer  http://{settings.viewer.bind}:{settings.viewer.port}/")
        sys.stdout.flush()

    run(settings, site, announce)


@cli.command(epilog=example("glionode listen"))
@one_line_errors
def listen() -> None:
    """Run the DICOM listener alone; several may share one port."""
    from dicom_node.app import run_listener  # noqa: PLC0415

    run_listener(read_settings())


@cli.command(epilog=example("glionode work --gpu 0"))
@click.option("--gpu", default="", help="Number of the GPU to work on; one worker for each.")
@one_line_errors
def work(gpu: str) -> None:
    """Run a worker alone; several share one database and one folder."""
    from dicom_node.app import run_worker  # noqa: PLC0415

    run_worker(read_settings(), gpu)


@cli.command(epilog=example("glionode web"))
@one_line_errors
def web() -> None:
    """Run panel and viewer alone."""
    from dicom_node.app import run_web  # noqa: PLC0415

    run_web(read_settings())


@cli.command(epilog=example("glionode demo"))
@json_option
@one_line_errors
def demo(as_json: bool) -> None:  # noqa: FBT001
    """Send a synthetic study through a real node over real sockets and show what came back."""
    from tqdm import tqdm  # noqa: PLC0415

    from dicom_node.demo.run import run_demo  # noqa: PLC0415

    settings = read_settings()
    with tqdm(total=100, disable=None, file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}") as bar:

        def progress(phase: str, share: float) -> None:
            bar.set_description(phase)
            bar.update(round(100 * share) - bar.n)

        result = run_demo(settings, progress)
    paths = {kind: str(settings.node.folder / path) for kind, _, path in result.study.results}
    summary = result.study.summary
    content = {"link": result.link, "files": paths, "implanted_ml": result.true_volumes_ml, **summary}
    lines = [f"GlioNode demo, synthetic phantom. {NOTICE}", "", "Recognised sequences:"]
    lines += [f"  {role:6}{series}" for role, series in summary["sequences"].items()]
    lines += ["", "Volumes in ml (found, implanted):"]
    lines += [
        f"  {region:4}{volume:8.2f}{result.true_volumes_ml.get(region, 0.0):8.2f}"
        for region, volume in summary["volumes_ml"].items()
    ]
    lines += ["", *(f"{kind:5}{path}" for kind, path in paths.items())]
    lines += ["", "Open the study with its overlay (after `make run` or `glionode serve`):", f"  {result.link}"]
    emit(as_json, content, lines)


@cli.command(epilog=example("glionode send ./study --to GLIONODE@127.0.0.1:11112"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True))
@click.option("--to", "address", required=True, help="AET@HOST:PORT of a storage SCP.")
@click.option("--from", "calling_ae", default="GLIONODE_SEND", show_default=True, help="Calling AE title.")
@json_option
@one_line_errors
def send(folder: Path, address: str, calling_ae: str, as_json: bool) -> None:  # noqa: FBT001
    """Send every DICOM file of a folder by C-STORE."""
    from tqdm import tqdm  # noqa: PLC0415

    from dicom_node.peers.send import parse_address, send_folder  # noqa: PLC0415

    try:
        destination = parse_address(address)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    def progress(receipts: Iterable[Any], total: int) -> Iterable[Any]:
        return tqdm(receipts, total=total, unit="file", disable=None, file=sys.stderr)

    sending = send_folder(folder, destination, calling_ae, progress)
    failed = [{"file": str(path), "reason": reason} for path, reason in sending.failed]
    lines = [f"{sending.accepted} accepted, {len(failed)} not"]
    emit(as_json, {"accepted": sending.accepted, "failed": failed}, lines)
    if failed or not sending.accepted:
        first = f"{failed[0]['file']}: {failed[0]['reason']}" if failed else "no files in the folder"
        complain(first)
        sys.exit(1)


@cli.command(epilog=example("glionode convert ./study ./out"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@rules_option
@json_option
@one_line_errors
def convert(folder: Path, out: Path, rules: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Convert every MR series of a DICOM folder to NIfTI with a JSON beside each."""
    from tqdm import tqdm  # noqa: PLC0415

    from dicom_node.workbench.convert_folder import Progress, convert_folder  # noqa: PLC0415

    progress = Progress(lambda items, phase: tqdm(items, desc=phase, disable=None, file=sys.stderr))
    done = convert_folder(folder, out, given_rules(rules), progress)
    content = {"files": [str(path) for path in done.files], "left_out": [asdict(item) for item in done.left_out]}
    lines = [
        *(f"wrote     {path}" for path in done.files),
        *(f"left out  {i.subject}: {i.reason}" for i in done.left_out),
    ]
    emit(as_json, content, lines)
    if not done.files:
        complain("no series could be converted; left_out.json says why")
        sys.exit(1)


@cli.command(epilog=example("glionode status --json"))
@json_option
@one_line_errors
def status(as_json: bool) -> None:  # noqa: FBT001
    """Show every study with its state, reason and deliveries, and what was refused."""
    from dicom_node.database.engine import open_database  # noqa: PLC0415
    from dicom_node.studies.status import read_status, status_lines  # noqa: PLC0415

    found = read_status(open_database(read_settings().database_url), limit=None)
    emit(as_json, asdict(found), status_lines(found))


@cli.command(name="check-config", epilog=example("glionode check-config --json"))
@json_option
@one_line_errors
def check_config(as_json: bool) -> None:  # noqa: FBT001
    """Show the effective settings, secrets masked; fails when a setting cannot be used."""
    from dicom_node.settings import masked_settings  # noqa: PLC0415

    shown = masked_settings(read_settings())
    lines = [line for section, keys in shown.items() for line in (f"[{section}]", *_toml_lines(keys), "")]
    emit(as_json, shown, lines)


def _toml_lines(keys: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]


@cli.command(epilog=example("glionode doctor --orthanc http://127.0.0.1:8042"))
@click.option("--orthanc", metavar="URL", help="Register the node in this Orthanc and set up auto-routing.")
@click.option("--node-host", default="", help="Host under which Orthanc reaches the node.")
@click.option(
    "--username", default="", help="Of Orthanc's REST API; its password is asked for, or in GLIONODE_ORTHANC_PASSWORD."
)
@click.option("--remove", is_flag=True, help="Undo the registration.")
@json_option
@one_line_errors
def doctor(as_json: bool, remove: bool, orthanc: str | None, **options: str) -> None:  # noqa: FBT001
    """Test what the node needs; with --orthanc, connect it to an Orthanc."""
    from dicom_node.database.engine import open_database  # noqa: PLC0415
    from dicom_node.setup.doctor import diagnose  # noqa: PLC0415
    from dicom_node.setup.orthanc import (  # noqa: PLC0415
        OrthancTarget,
        connect_orthanc,
        disconnect_orthanc,
        lasting_configuration,
    )

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
        sentence = "No user and password in the URL: give --username, and the password when it is asked for."
        raise click.UsageError(sentence)
    known = os.environ.get("GLIONODE_ORTHANC_PASSWORD", "")
    if known or not username:
        return known
    return str(click.prompt(f"Password of {printable(username)}", hide_input=True, err=True))


for command in (cancel, clean, fetch, maintenance, prioritise, replay, resend, workers):
    cli.add_command(command)
cli.add_command(evaluate)
cli.add_command(export)
cli.add_command(models)
cli.add_command(rules)
cli.add_command(segment)
cli.add_command(train)


def main() -> None:
    """Run the command line."""
    cli(prog_name="glionode")


if __name__ == "__main__":
    main()
