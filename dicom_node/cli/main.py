"""The command `glionode`: its subcommands, each in a file of its own that calls the module that does the work."""

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
        "audit": Subcommand(
            "audit:audit",
            "Check and read the audit trail: who looked at or changed what (DICOM PS3.15 A.5).",
        ),
        "cancel": Subcommand(
            "operations:cancel",
            "Stop a study's run: at once if it is still queued, otherwise before its next step.",
        ),
        "check-config": Subcommand(
            "check_config:check_config",
            "Show the effective settings with secrets masked; fail if a setting cannot be used.",
        ),
        "clean": Subcommand(
            "operations:clean",
            "Remove now what the retention policy no longer keeps; a worker does so every hour.",
        ),
        "config": Subcommand(
            "config:config",
            "Export and import peers, series rules, routing rules and the choice of models, as one TOML file.",
        ),
        "conformance": Subcommand(
            "conformance:conformance",
            "Write the DICOM Conformance Statement (PS3.2 Annex N) of the node as it is configured.",
        ),
        "convert": Subcommand(
            "convert:convert",
            "Convert every MR series of a DICOM folder to NIfTI, each with a JSON file.",
        ),
        "demo": Subcommand(
            "demo:demo",
            "Send a synthetic study through a real node over real sockets and show the results.",
        ),
        "doctor": Subcommand(
            "doctor:doctor",
            "Check what the node needs to run; with --orthanc, connect it to an Orthanc server.",
        ),
        "evaluate": Subcommand(
            "evaluate:evaluate",
            "Evaluate a model on annotated cases.",
        ),
        "export": Subcommand(
            "export:export",
            "Make a training set from stored studies whose SEG a person drew or corrected, or a table of opinions.",
        ),
        "fetch": Subcommand(
            "operations:fetch",
            "Fetch a study by its UID from a peer, with WADO-RS, C-GET or C-MOVE as the peer supports.",
        ),
        "listen": Subcommand(
            "serve:listen",
            "Run only the DICOM listener; several listeners may share one port.",
        ),
        "maintenance": Subcommand(
            "operations:maintenance",
            "Drain the node: new associations are rejected for now, running studies finish, no others start.",
        ),
        "models": Subcommand(
            "models:models",
            "Show, add, check and promote the models the node can run.",
        ),
        "notify": Subcommand(
            "notify:notify",
            "Send a test notification by e-mail and webhook, or list the newest that were sent.",
        ),
        "prioritise": Subcommand(
            "operations:prioritise",
            "Process a study before all others (STAT); STUDY is its UID or key.",
        ),
        "replay": Subcommand(
            "operations:replay",
            "Run a study again, from the step that failed.",
        ),
        "resend": Subcommand(
            "operations:resend",
            "Send a study's results to its destinations again; each gets only what it does not have.",
        ),
        "routes": Subcommand(
            "routes:routes",
            "Decide which studies go to which model and destinations, with what priority, or are kept out.",
        ),
        "rules": Subcommand(
            "rules:rules",
            "Define what kind of series the site's own names stand for; the first rule that matches decides.",
        ),
        "segment": Subcommand(
            "segment:segment",
            "Segment a DICOM folder, NIfTI volumes or one image slice; write the results to OUT.",
        ),
        "send": Subcommand(
            "send:send",
            "Send every DICOM file in a folder by C-STORE.",
        ),
        "serve": Subcommand(
            "serve:serve",
            "Run the listener, a worker and the web server together, with built-in defaults.",
        ),
        "status": Subcommand(
            "status:status",
            "Show every study with its state, reason and deliveries, and what was refused.",
        ),
        "support-bundle": Subcommand(
            "support_bundle:bundle",
            "Write settings, versions, counts and checks into a zip for those who help; it holds no patient data.",
        ),
        "tokens": Subcommand(
            "tokens:tokens",
            "Make tokens by which programs call the node, each for what its scopes say.",
        ),
        "train": Subcommand(
            "train:train",
            "Train a network on annotated cases, always split by patient.",
        ),
        "users": Subcommand(
            "users:users",
            "Add and manage the users of the panel; each sets a password by a one-time link.",
        ),
        "web": Subcommand(
            "serve:web",
            "Run only the web server, with the panel and the viewer.",
        ),
        "work": Subcommand(
            "serve:work",
            "Run only a worker; several workers share one database and one folder.",
        ),
        "workers": Subcommand(
            "operations:workers",
            "Show every worker, and whether it is alive.",
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
