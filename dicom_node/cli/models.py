"""`glionode models`: list, add and verify models, and choose those that the node uses."""

import getpass
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.cli.lazy import LazyGroup, Subcommand
from dicom_node.database.engine import Database, open_database
from dicom_node.models import changes
from dicom_node.models.roles import ModelChoice, ModelRole, chosen, history, production_model
from dicom_node.runs.shadow_results import ShadowResult, mean_dice, shadow_results
from dicom_node.settings import read_settings
from inference.errors import UnusableModel
from inference.registry import Registry, StoredModel

__all__ = ["models"]

_RECENT = 20
"""Shadow results that are printed; --json gives them all."""

by_option = click.option("--by", "who", default="", help="Who decides; by default the account that runs the command.")


_MAKING = {
    "combine": Subcommand(
        "model_making:combine",
        "Combine several trainings into one model: the folds of a cross-validation, for slices, volumes or both.",
    ),
    "tune": Subcommand(
        "model_making:tune",
        "Choose thresholds, smallest components, volume intervals and flag limits on held-out patients.",
    ),
}


@click.group(cls=LazyGroup, lazy=_MAKING, epilog=example("glionode models list"))
def models() -> None:
    """Show, add, check and promote the models the node can run."""


@models.command(name="list", epilog=example("glionode models list --json"))
@json_option
@one_line_errors
def list_models(as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """List the shipped models and those added to this node, and show which are in use."""
    database, registry = _database(), _registry()
    listing = registry.listing()
    try:
        used = _in_use(database)
    except UnusableModel as error:
        used = (("", "", ""), str(error))
    shadow = _identity(chosen(database, ModelRole.SHADOW))
    entries = []
    for model in listing.models:
        roles = {"production": _identity(model) == used[0], "shadow": _identity(model) == shadow}
        place = {"sha256": model.sha256, "shipped": model.shipped, "folder": str(model.folder)}
        entries.append(asdict(model.manifest) | place | roles)
    unusable = [{"folder": str(folder), "reason": reason} for folder, reason in listing.unusable]
    lines = [
        f"{'*' if entry['production'] else 's' if entry['shadow'] else ' '} {entry['name']} {entry['version']}  "
        f"{entry['licence']}  {'shipped' if entry['shipped'] else 'added'}"
        for entry in entries
    ]
    lines += [f"! {one['folder']}: {one['reason']}" for one in unusable]
    lines += ["", "* in production, s shadow model"] + ([f"! production: {used[1]}"] if used[1] else [])
    emit(as_json, {"models": entries, "unusable": unusable, "production_error": used[1]}, lines)


@models.command(name="show", epilog=example("glionode models show glioma"))
@click.argument("name")
@click.argument("version", default="")
@json_option
@one_line_errors
def show_model(name: str, version: str, as_json: bool) -> None:  # noqa: FBT001
    """Show a model's manifest, licence and card."""
    model = _registry().look(name, version)
    card_file = model.folder / "MODEL_CARD.md"
    card = card_file.read_text(encoding="utf-8", errors="replace") if card_file.is_file() else ""
    manifest = model.manifest
    lines = [
        f"{manifest.name} {manifest.version}",
        f"manifest SHA-256 {model.sha256}",
        f"licence {manifest.licence}",
        f"intended use: {manifest.intended_use}",
        f"channels {', '.join(manifest.channels)}; needs one of {', '.join(manifest.one_of)}",
        *(f"network {one.name}: {one.architecture}, {one.input}, {one.spacing_mm} mm" for one in manifest.networks),
        *(f"{region}: {rule}" for region, rule in manifest.label_map.items()),
        "",
        *card.splitlines(),
    ]
    emit(as_json, {"manifest": asdict(manifest), "sha256": model.sha256, "card": card}, lines)


@models.command(epilog=example("glionode models verify glioma"))
@click.argument("name", default="")
@click.argument("version", default="")
@json_option
@one_line_errors
def verify(name: str, version: str, as_json: bool) -> None:  # noqa: FBT001
    """Check the hash of every file of a model; without NAME, of all models."""
    registry, database = _registry(), _database()
    choices = [choice for role in ModelRole if (choice := chosen(database, role))]
    listing = registry.listing()
    wanted = [registry.look(name, version)] if name else listing.models
    problems = [] if name else [(str(folder), "", reason) for folder, reason in listing.unusable]
    checked = [(model.name, model.version, _problem(registry, model, choices)) for model in wanted]
    rows = [{"name": n, "version": v, "ok": not why, "reason": why} for n, v, why in [*checked, *problems]]
    lines = [f"{'ok   ' if row['ok'] else 'FAIL '} {row['name']} {row['version']} {row['reason']}" for row in rows]
    emit(as_json, {"models": rows}, lines)
    if failed := [row["reason"] for row in rows if not row["ok"]]:
        raise ValueError(failed[0])


@models.command(epilog=example("glionode models add ./brats_mri_segmentation"))
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Name of an imported model; by default that of the folder or file.")
@click.option("--model-version", "version", default="", help="Version of an imported model; by default the bundle's.")
@click.option("--channels", default="", help="Input sequences of an imported network in order, as T1CE,T1,T2,FLAIR.")
@click.option("--outputs", default="", help="Output regions of an imported network in order, as TC,WT,ET.")
@click.option("--axes", default="", help="Directions of an imported network's axes, as LPS (BraTS as NIfTI) or PL.")
@click.option("--spacing", "spacing_mm", default=1.0, show_default=True, help="Voxel size of an imported network, mm.")
@click.option(
    "--answers",
    default="logits",
    show_default=True,
    type=click.Choice(["logits", "probabilities"]),
    help="Output values of an imported network.",
)
@click.option(
    "--normalise",
    default="none",
    show_default=True,
    type=click.Choice(["none", "nonzero"]),
    help="Intensity normalisation of an imported network.",
)
@json_option
@one_line_errors
def add(source: Path, channels: str, outputs: str, as_json: bool, **stated: Any) -> None:  # noqa: ANN401, FBT001
    """Add a model folder, a MONAI bundle (layout of brats_mri_segmentation) or an ONNX file to this node.

    No code of the model is executed: weights are read only as tensors, and pickles are refused. Adding a model does
    not change production; `glionode models promote` does.
    """
    from inference.foreign.addition import add_model  # noqa: PLC0415 - seconds, for torch, which the others do without
    from inference.foreign.intake import ForeignFacts  # noqa: PLC0415

    facts = ForeignFacts(channels=_comma_list(channels), outputs=_comma_list(outputs), **stated)
    model = add_model(_registry(), source, facts)
    order = [f"{one.name}: {', '.join(one.settings.get('outputs', ()))}" for one in model.manifest.networks]
    lines = [
        f"added {model.name} {model.version} to {model.folder}",
        f"manifest SHA-256 {model.sha256}",
        f"licence {model.manifest.licence}",
        f"channels taken as {', '.join(model.manifest.channels)}; outputs {'; '.join(order)}",
        f"not in use yet: glionode models promote {model.name} {model.version}",
    ]
    content = {"manifest": asdict(model.manifest), "sha256": model.sha256, "folder": str(model.folder)}
    emit(as_json, content, lines)


@models.command(epilog=example("glionode models promote glioma"))
@click.argument("name")
@click.argument("version", default="")
@by_option
@json_option
@one_line_errors
def promote(name: str, version: str, who: str, as_json: bool) -> None:  # noqa: FBT001
    """Put a model into production: the node uses it from the next run on, without a restart."""
    database = _database()
    changes.promote(database, read_settings(), name, version, _who(who))
    _show_production(database, as_json=as_json)


@models.command(epilog=example("glionode models rollback"))
@by_option
@json_option
@one_line_errors
def rollback(who: str, as_json: bool) -> None:  # noqa: FBT001
    """Go back to the model before the last promotion; repeat it to go back further."""
    database = _database()
    changes.roll_back(database, read_settings(), _who(who))
    _show_production(database, as_json=as_json)


@models.command(epilog=example("glionode models shadow glioma   or   glionode models shadow --off"))
@click.argument("name", default="")
@click.argument("version", default="")
@click.option("--off", is_flag=True, help="Run no shadow model.")
@by_option
@json_option
@one_line_errors
def shadow(name: str, version: str, off: bool, who: str, as_json: bool) -> None:  # noqa: FBT001
    """Run a second model on each study after production and never send its results; or show these results."""
    if off and name:
        raise click.UsageError("give either a model or --off, not both")
    database = _database()
    if off:
        changes.end_shadow(database, _who(who))
    elif name:
        changes.use_as_shadow(database, read_settings(), name, version, _who(who))
    choice = chosen(database, ModelRole.SHADOW)
    results = shadow_results(database, choice.sha256 if choice else "")
    means = mean_dice(results)
    content = {
        "shadow": asdict(choice) if choice else None,
        "studies": len(results),
        "mean_dice": means,
        "results": [asdict(result) for result in results],
    }
    named = f"{choice.name} {choice.version}, by {choice.who} at {choice.at}" if choice else "none"
    lines = [f"shadow: {named}", *_shadow_lines(results[:_RECENT])]
    lines += [f"mean Dice against production {region}: {dice:.3f}" for region, dice in means.items()]
    emit(as_json, content, lines)


def _shadow_lines(results: tuple[ShadowResult, ...]) -> list[str]:
    lines = []
    for result in results:
        figures = "  ".join(
            f"{region} Dice {one['dice']:.3f}, {one['volume_ml']:.1f} against {one['production_ml']:.1f} ml"
            for region, one in result.regions.items()
        )
        lines.append(f"{result.study_key} {result.name} {result.version} {result.state}  {figures or result.reason}")
    return lines


def _show_production(database: Database, *, as_json: bool) -> None:
    choice = chosen(database, ModelRole.PRODUCTION)
    past = [asdict(one) for one in history(database, ModelRole.PRODUCTION)]
    setting = read_settings().processing.model
    named = f"{choice.name} {choice.version}" if choice else f"{setting} (the setting processing.model)"
    lines = [f"production: {named}, from the next study on"]
    lines += [f"{one['at']} {one['action']:9}{one['name'] or setting} {one['version']} by {one['who']}" for one in past]
    emit(as_json, {"production": asdict(choice) if choice else None, "setting": setting, "history": past}, lines)


def _problem(registry: Registry, model: StoredModel, choices: Sequence[ModelChoice]) -> str:
    try:
        registry.verify(model)
    except UnusableModel as error:
        return str(error)
    for choice in choices:
        if (choice.name, choice.version) == (model.name, model.version) and choice.sha256 != model.sha256:
            return f"model {model.name}: its manifest differs from the one chosen by {choice.who}"
    return ""


def _in_use(database: Database) -> tuple[tuple[str, str, str], str]:
    return _identity(production_model(database, read_settings())), ""


def _identity(model: "StoredModel | ModelChoice | None") -> tuple[str, str, str]:
    return (model.name, model.version, model.sha256) if model else ("", "", "")


def _comma_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in text.split(",") if part.strip())


def _who(given: str) -> str:
    """Return who decides; an account without a name, as in some containers, is given by its number."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _registry() -> Registry:
    return Registry(read_settings().node.folder)


def _database() -> Database:
    return open_database(read_settings().database_url)
