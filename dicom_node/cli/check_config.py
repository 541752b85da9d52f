"""`glionode check-config`: the settings in force."""

import json
from typing import Any

import click

from dicom_node.access.certificate import certificate_warning
from dicom_node.cli.conventions import (
    emit,
    example,
    json_option,
    one_line_errors,
)
from dicom_node.notifications.channels import problems
from dicom_node.settings import SettingsError, masked_settings, read_settings
from dicom_node.web.provider_setup import unusable_provider, what_to_register
from dicom_node.web.secure_login import NOBODY_ELSEWHERE, nobody_elsewhere, unusable_certificate

__all__ = ["check_config"]


@click.command(name="check-config", epilog=example("glionode check-config --json"))
@json_option
@one_line_errors
def check_config(as_json: bool) -> None:  # noqa: FBT001
    """Show the effective settings with secrets masked; fail if a setting cannot be used."""
    settings = read_settings()
    shown = masked_settings(settings)
    lines = [line for section, keys in shown.items() for line in (f"[{section}]", *_toml_lines(keys), "")]
    if problem := unusable_certificate(settings.web) or unusable_provider(settings):
        raise SettingsError(problem)
    if settings.oidc.is_on:
        lines.append(f"# {what_to_register(settings)}")
    if warning := certificate_warning(settings.web):
        lines.append(f"# {warning}")
    if nobody_elsewhere(settings):
        lines.append(f"# {NOBODY_ELSEWHERE}")
    lines += [f"# {problem}" for problem in problems(settings)]
    emit(as_json, shown, lines)


def _toml_lines(keys: dict[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
