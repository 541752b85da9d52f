"""`glionode serve`, `listen`, `work` and `web`: the roles of the node, together or separately."""

import re
import sys
from pathlib import Path
from typing import Any

import click

from dicom_node.app import run_listener, run_web, run_worker
from dicom_node.app import serve as run
from dicom_node.cli.conventions import NOTICE, example, one_line_errors
from dicom_node.settings import Settings, read_settings
from dicom_node.web.addresses import panel_address, viewer_address

__all__ = ["listen", "panel_line", "serve", "web", "work"]


@click.command(epilog=example("glionode serve --site site.toml"))
@click.option(
    "--site", type=click.Path(path_type=Path, exists=True), help="TOML file of peers and rules; first start only."
)
@one_line_errors
def serve(site: Path | None) -> None:
    """Run the listener, a worker and the web server together, with built-in defaults."""
    settings = read_settings()

    def announce(database: Any) -> None:  # noqa: ANN401 - Database, without loading it for --help
        click.echo(f"GlioNode. {NOTICE}")
        click.echo(f"DICOM   {settings.node.ae_title}@{settings.node.bind}:{settings.node.dicom_port}")
        click.echo(f"Panel   {panel_line(settings, database)}")
        click.echo(f"Viewer  {viewer_address(settings)}/")
        sys.stdout.flush()

    run(settings, site, announce)


@click.command(epilog=example("glionode listen"))
@one_line_errors
def listen() -> None:
    """Run only the DICOM listener; several listeners may share one port."""
    run_listener(read_settings())


@click.command(epilog=example("glionode work --gpu 0"))
@click.option("--gpu", default="", help="Number of the GPU to use; run one worker for each GPU.")
@one_line_errors
def work(gpu: str) -> None:
    """Run only a worker; several workers share one database and one folder."""
    if gpu and re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3}){0,3}", gpu) is None:  # the worker's slot is named by it
        message = f"{gpu!r}; use the number of a GPU as nvidia-smi lists it, such as 0"
        raise click.BadParameter(message, param_hint="--gpu")
    run_worker(read_settings(), gpu)


@click.command(epilog=example("glionode web"))
@click.option("--no-link", is_flag=True, hidden=True, help="Print nothing; `serve` has.")
@one_line_errors
def web(no_link: bool) -> None:  # noqa: FBT001
    """Run only the web server, with the panel and the viewer."""
    settings = read_settings()

    def announce(database: Any) -> None:  # noqa: ANN401
        if not no_link:
            click.echo(f"Panel   {panel_line(settings, database)}")
            sys.stdout.flush()

    run_web(settings, announce)


def panel_line(settings: Settings, database: Any) -> str:  # noqa: ANN401
    """Return the panel's address; while nobody can administrate the node, the link of the first administrator."""
    from dicom_node.access.links import new_link  # noqa: PLC0415 - not for --help
    from dicom_node.access.users import has_administrator  # noqa: PLC0415
    from dicom_node.database.states import LinkKind  # noqa: PLC0415

    address = panel_address(settings)
    if has_administrator(database):
        return address
    return f"{new_link(database, address, LinkKind.FIRST)}  (makes the first administrator; valid once, 15 minutes)"
