"""The command `glionode`: every subcommand with its file, each a few lines over the module that does the work."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import click

from dicom_node.cli.lazy import LazyGroup, Subcommand
from dicom_node.logs import configure_logs

__all__ = ["COMMANDS", "main"]

COMMANDS: Mapping[str, Subcommand] = MappingProxyType(
    {
        "cancel": Subcommand(
            "operations:cancel",
            "Stop a study's run, at once while it waits, else before its next step.",
        ),
        "check-config": Subcommand(
            "check_config:check_config",
            "Show the effective settings, secrets masked; fails when a setting cannot be used.",
        ),
        "clean": Subcommand(
            "operations:clean",
            "Remove what the retention policy no longer keeps, now instead of within the hour.",
        ),
        "convert": Subcommand(
            "convert:convert",
            "Convert every MR series of a DICOM folder to NIfTI with a JSON beside each.",
        ),
        "demo": Subcommand(
            "demo:demo",
            "Send a synthetic study through a real node over real sockets and show what came back.",
        ),
        "doctor": Subcommand(
            "doctor:doctor",
            "Test what the node needs; with --orthanc, connect it to an Orthanc.",
        ),
        "evaluate": Subcommand(
            "evaluate:evaluate",
            "Evaluate a model on annotated cases.",
        ),
        "export": Subcommand(
            "export:export",
            "Make a training set from stored studies whose SEG a person drew or corrected.",
        ),
        "fetch": Subcommand(
            "operations:fetch",
            "Fetch a study by its UID from a peer: WADO-RS, C-GET or C-MOVE, whichever it offers.",
        ),
        "listen": Subcommand(
            "serve:listen",
            "Run the DICOM listener alone; several may share one port.",
        ),
        "maintenance": Subcommand(
            "operations:maintenance",
            "Drain the node: senders are asked to come back later, runs at work end, no further one begins.",
        ),
        "models": Subcommand(
            "models:models",
            "Show, add, check and promote the models the node can run.",
        ),
        "prioritise": Subcommand(
            "operations:prioritise",
            "Put a study before all others (STAT); STUDY is its UID or key.",
        ),
        "replay": Subcommand(
            "operations:replay",
            "Run a study again, from the step that failed.",
        ),
        "resend": Subcommand(
            "operations:resend",
            "Bring a study's results to its destinations again: each gets what it does not hold.",
        ),
        "rules": Subcommand(
            "rules:rules",
            "Say what kind of series the site's own names mean; the first rule that fits a series decides.",
        ),
        "segment": Subcommand(
            "segment:segment",
            "Segment a DICOM folder, NIfTI volumes or one image slice into OUT.",
        ),
        "send": Subcommand(
            "send:send",
            "Send every DICOM file of a folder by C-STORE.",
        ),
        "serve": Subcommand(
            "serve:serve",
            "Run listener, worker and web together on the embedded defaults.",
        ),
        "status": Subcommand(
            "status:status",
            "Show every study with its state, reason and deliveries, and what was refused.",
        ),
        "train": Subcommand(
            "train:train",
            "Train a network on annotated cases, always split by patient.",
        ),
        "web": Subcommand(
            "serve:web",
            "Run panel and viewer alone.",
        ),
        "work": Subcommand(
            "serve:work",
            "Run a worker alone; several share one database and one folder.",
        ),
        "workers": Subcommand(
            "operations:workers",
            "Show every worker and whether it still gives signs of life.",
        ),
    }
)


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file that overrides defaults.")
@click.version_option(package_name="glionode")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """GlioNode: a DICOM node for brain tumours. Research use only, not a medical device."""
    if config is not None:
        os.environ["GLIONODE_CONFIG"] = str(config.absolute())
    context.ensure_object(dict)
    configure_logs("command", quiet=True)


def main() -> None:
    """Run the command line."""
    cli(prog_name="glionode")
