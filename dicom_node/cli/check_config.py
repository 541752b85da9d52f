"""`glionode check-config`: the settings in force."""

import json
from typing import Any

import click

from dicom_node.cli.conventions import (
    emit,
    example,
    json_option,
    one_line_errors,
)
from dicom_node.settings import masked_settings, read_settings

__all__ = ["check_config"]


@click.command(name="check-config", epilog=example("glionode check-config --json"))
@json_option
@one_line_errors
def check_config(as_json: bool) -> None:  # noqa: FBT001
    """Show the effective settings with secrets masked; fail if a setting cannot be used."""
    shown = masked_settings(read_settings())
    lines = [line for section, keys in shown.items() for line in (f"[{section}]", *_toml_lines(keys), "")]
    emit(as_json, shown, lines)


def _toml_lines(keys: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
