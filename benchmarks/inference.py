"""Measures the time to segment a study of four 240 x 240 x 155 volumes, against MONAI's plain sliding window.

Run ``python benchmarks/inference.py`` (about five minutes on two cores). It writes ``benchmarks/inference.md``. Each
method runs in a separate process, to measure its peak memory, and all in one run, so that they are comparable. With a
GPU the same is measured there, with the share of the peak rate of its matrix units.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.forward import VIEW_AXES, VIEW_STEP
from inference.model_bundle import LoadedNetwork, ModelBundle, load_model
from inference.segmenter import Segmenter

REPORT = Path(__file__).with_suffix(".md")
SHAPE = (155, 240, 240)
BRAIN_MM = (140, 172, 140)
"""Slices, rows, columns of the ellipsoid that represents a brain: the mean of the BraTS training cases."""

PLANE, BLOCK, OVERLAP, BATCH = (160, 160), (112, 128, 112), 0.25, 4
"""For the sliding window: the window sizes that the networks were trained with, and MONAI's usual overlap."""

REPEATS = 3
ELSEWHERE = "## On other machines"
"""Heading of the part of the report that a run keeps."""


def main() -> None:
    """Measure every method in a child process, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="glioma", help="a shipped model, or a folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--way", choices=sorted(_WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    if chosen.way:
        torch.set_num_threads(chosen.threads)
        print(json.dumps(_WAYS[chosen.way](chosen.model, chosen.device, chosen.threads)))
        return
    results = {way: _child(way, chosen) for way in _WAYS}
    text = _report(results, chosen) + _kept()
    print(text)
    REPORT.write_text(text, encoding="utf-8")


def _kept() -> str:
    """Return the section about other machines in an earlier report, from its heading on."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    return f"\n{ELSEWHERE}{text.partition(ELSEWHERE)[2]}" if ELSEWHERE in text else ""


def _child(way: str, chosen: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--model", chosen.model, "--threads", str(chosen.threads)]
    command += ["--device", chosen.device]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - this very file
    if done.returncode:
        return {"problem": done.stderr.strip().splitlines()[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def study() -> AlignedVolumes:
    """Return a skull-stripped study of four volumes with a ball in it that is bright on FLAIR."""
    rng = np.random.default_rng(20261121)
    axes = [np.linspace(-length / 2, length / 2, length) for length in SHAPE]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    brain = (2 * z / BRAIN_MM[0]) ** 2 + (2 * y / BRAIN_MM[1]) ** 2 + (2 * x / BRAIN_MM[2]) ** 2 < 1
    ball = z**2 + (y - 20) ** 2 + (x - 30) ** 2 < 20**2
    affine = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    grid = Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="1.2.3")
    volumes = {}
    for role in (Role.T1, Role.T1CE, Role.T2, Role.FLAIR):
        voxels = np.where(brain, 100 + 10 * rng.standard_normal(SHAPE), 0)
        voxels[ball] *= 1.7 if role in (Role.FLAIR, Role.T2) else 0.8
        volumes[role] = ImageVolume(grid=grid, voxels=voxels.astype(np.float32))
    return AlignedVolumes(reference=Role.T1CE, volumes=volumes, registrations={}, decisions=())


def _segmenting(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the complete step: resampling, normalisation, networks, labels, doubt, novelty."""
    segmenter, given = Segmenter(load_model(model, device, threads)), study()
    return _timed(lambda: segmenter.segment(given)) | {"predictions": segmenter.segment(given).quality.looks}


def _networks(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the networks alone, as the step runs them."""
    from inference.prediction import predict  # noqa: PLC0415 - measured on its own

    bundle = load_model(model, device, threads).for_input("volume")
    channels = _brain_box(device)
    timed = _timed(lambda: predict(bundle, channels, VIEW_STEP))
    return timed | {"flops": _flops(bundle, channels), "peak": _peak_flops(device)}


def _everywhere(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the networks if all of them run on the whole brain, not only the first."""
    from inference.prediction import predict  # noqa: PLC0415

    bundle, channels = load_model(model, device, threads).for_input("volume"), _brain_box(device)
    return _timed(lambda: predict(bundle, channels, VIEW_STEP, staged=False))


def _plain(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the same weights in float32 with MONAI's sliding window over complete planes."""
    bundle = load_model(model, device, threads).for_input("volume")
    channels = _channels(device)
    return _timed(lambda: [_slid(network, channels) for network in bundle.networks], repeats=1)


def _fused(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the networks with their norms folded into the convolutions."""
    from inference.prediction import predict  # noqa: PLC0415

    bundle = load_model(model, device, threads).for_input("volume")
    for network in bundle.networks:
        _fold_norms(network.module)
    channels = _brain_box(device)
    return _timed(lambda: predict(bundle, channels, VIEW_STEP))


def _compiled(model: str, device: str, threads: int) -> dict[str, Any]:
    """Return the time of the networks compiled by torch, and the time of compiling them."""
    from inference.prediction import predict  # noqa: PLC0415

    bundle = load_model(model, device, threads).for_input("volume")
    for network in bundle.networks:
        network.module.body = torch.compile(network.module.body, dynamic=False)
    channels = _brain_box(device)
    began = time.perf_counter()
    predict(bundle, channels, VIEW_STEP)
    first = time.perf_counter() - began
    return _timed(lambda: predict(bundle, channels, VIEW_STEP)) | {"first_s": first}


_WAYS: dict[str, Callable[[str, str, int], dict[str, Any]]] = {
    "segment": _segmenting,
    "networks": _networks,
    "everywhere": _everywhere,
    "plain": _plain,
    "fused": _fused,
    "compiled": _compiled,
}


def _timed(work: Callable[[], object], repeats: int = REPEATS) -> dict[str, Any]:
    work()  # warm-up of allocators and caches
    times = []
    for _ in range(repeats):
        _synchronise()
        began = time.perf_counter()
        work()
        _synchronise()
        times.append(time.perf_counter() - began)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": statistics.median(times), "peak_gib": int(peak.split()[1]) / 2**20}


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _channels(device: str) -> torch.Tensor:
    return torch.stack([torch.tensor(volume.voxels / 100, device=device) for volume in study().volumes.values()])


def _brain_box(device: str) -> torch.Tensor:
    from inference.preprocessing import signal_box  # noqa: PLC0415

    channels = _channels(device)
    return channels[:, *signal_box(channels, share=0.0)].contiguous()


@torch.inference_mode()
def _slid(network: LoadedNetwork, channels: torch.Tensor) -> torch.Tensor:
    """Return the prediction in blocks. For slice networks, the mean over all axes, with neighbours as channels."""
    context, module = network.manifest.context, network.module
    if module.dimensions == 3:
        return torch.as_tensor(sliding_window_inference(channels[None], BLOCK, 1, module, overlap=OVERLAP))
    offsets = torch.arange(-context, context + 1) * VIEW_STEP
    total = torch.zeros(3, *channels.shape[1:])

    def window(flat: torch.Tensor) -> torch.Tensor:
        probability: torch.Tensor = module(flat.unflatten(1, (len(channels), len(offsets))))[:, :, 0].sigmoid()
        return probability

    for axes in VIEW_AXES[: network.manifest.views]:
        order = [0, *(axis + 1 for axis in axes)]
        stack = channels.permute(order)
        around = (torch.arange(stack.shape[1])[:, None] + offsets).clamp(0, stack.shape[1] - 1)
        slices = stack[:, around].transpose(0, 1).flatten(1, 2)
        found = sliding_window_inference(slices, PLANE, BATCH, window, overlap=OVERLAP)
        total += torch.as_tensor(found).cpu().transpose(0, 1).permute([order.index(axis) for axis in range(4)])
    return total / network.manifest.views


def _fold_norms(module: torch.nn.Module) -> None:
    """Fold every batch norm into the convolution before it, as MONAI's blocks name them."""
    for block in module.modules():
        for number in ("1", "2"):
            conv, norm = getattr(block, f"conv{number}", None), getattr(block, f"norm{number}", None)
            if isinstance(norm, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d) and hasattr(conv, "conv"):
                conv.conv = fuse_conv_bn_eval(conv.conv, norm)
                setattr(block, f"norm{number}", torch.nn.Identity())


def _flops(bundle: ModelBundle, channels: torch.Tensor) -> int:
    from inference.prediction import predict  # noqa: PLC0415

    with FlopCounterMode(display=False) as counter:
        predict(bundle, channels, VIEW_STEP)
    return int(counter.get_total_flops())


def _peak_flops(device: str) -> float:
    """Return the floating point operations per second of a large bfloat16 matrix product."""
    size = 8192 if device.startswith("cuda") else 2048
    one = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    for _ in range(2):
        one @ one
    _synchronise()
    began = time.perf_counter()
    for _ in range(5):
        one @ one
    _synchronise()
    return 5 * 2 * size**3 / (time.perf_counter() - began)


def _report(results: dict[str, dict[str, Any]], chosen: argparse.Namespace) -> str:
    where = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else f"{chosen.threads} CPU cores"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    names = {
        "segment": "`Segmenter.segment`, the complete step",
        "networks": "its networks alone (bfloat16, channels last, the brain's box, then the tumour's box)",
        "everywhere": "networks without the second stage in the tumour's box",
        "plain": "MONAI's sliding window, float32, same weights",
        "fused": "networks with norms folded into the convolutions",
        "compiled": "networks with torch.compile",
    }
    lines = [
        "# Inference",
        "",
        f"Four volumes of {SHAPE[2]} x {SHAPE[1]} x {SHAPE[0]}, model `{Path(chosen.model).name}`, {where},",
        f"{versions};",
        "made by `python benchmarks/inference.py`. Each row ran in",
        "a separate process, all in one run. Median of three after a warm-up (MONAI's: one).",
        "",
        "| method | seconds | peak memory (GiB) | compared with MONAI's |",
        "|---|---|---|---|",
    ]
    plain = results["plain"].get("seconds")
    for way, name in names.items():
        found = results[way]
        if "problem" in found:
            lines.append(f"| {name} | - | - | did not run: {found['problem']} |")
            continue
        ratio = f"{plain / found['seconds']:.1f} times as fast" if plain else "-"
        note = f" (after {found['first_s']:.0f} s of compiling)" if "first_s" in found else ""
        lines.append(f"| {name} | {found['seconds']:.1f}{note} | {found['peak_gib']:.2f} | {ratio} |")
    if "flops" in results["networks"]:
        work = results["networks"]
        rate = work["flops"] / work["seconds"]
        share = f"{rate / 1e9:.0f} GFLOP/s, {rate / work['peak']:.0%} of what a large bfloat16 matrix product"
        count = results["segment"].get("predictions", "?")
        sentence = f"The networks make {count} predictions: {work['flops'] / 1e12:.2f} TFLOP at {share}"
        lines += ["", f"{sentence} reaches here ({work['peak'] / 1e9:.0f} GFLOP/s)."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
