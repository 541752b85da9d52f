"""`glionode demo`: a synthetic study through a real node."""

import sys

import click
from tqdm import tqdm

from dicom_node.cli.conventions import NOTICE, emit, example, json_option, one_line_errors
from dicom_node.demo.run import run_demo
from dicom_node.settings import read_settings

__all__ = ["demo"]


@click.command(epilog=example("glionode demo"))
@json_option
@one_line_errors
def demo(as_json: bool) -> None:  # noqa: FBT001
    """Send a synthetic study through a real node over real sockets and show the results."""
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
    lines += ["", "Volumes in ml (measured, implanted):"]
    lines += [
        f"  {region:4}{volume:8.2f}{result.true_volumes_ml.get(region, 0.0):8.2f}"
        for region, volume in summary["volumes_ml"].items()
    ]
    lines += ["", *(f"{kind:5}{path}" for kind, path in paths.items())]
    lines += [
        "",
        "Open the study with its overlay, once, within 24 hours (after `make run` or `glionode serve`):",
        f"  {result.link}",
    ]
    emit(as_json, content, lines)
