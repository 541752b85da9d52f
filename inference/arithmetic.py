"""The number format networks compute in: bfloat16 where the processor has instructions for it, else float32.

A processor without them emulates bfloat16. A three-dimensional convolution then takes a hundred times as long as in
float32 (measured with torch 2.13 on an EPYC with AVX2: 6.7 s against 0.06 s).
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["answer_of", "arithmetic_on", "kinds_for", "kinds_for_learning"]

IN_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Instructions of x86 processors, as `torch.cpu.get_capabilities` names them. On ARM it is float32 (not measured)."""


def arithmetic_on(device: torch.device) -> str:
    """Return the number format and device that a result states, such as ``bfloat16 on cpu``."""
    return f"{str(kinds_for(device)[0]).removeprefix('torch.')} on {device.type}"


def kinds_for(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return the number formats for a device, in order; the next one is used where one gave values that are NaN."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = device.type == "cpu" and any(capabilities.get(name, False) for name in IN_BFLOAT16)
    return (torch.bfloat16, torch.float32) if fast else (torch.float32,)


def kinds_for_learning(device: torch.device, *, volumes: bool) -> tuple[torch.dtype, ...]:
    """Return the number formats for training: those of `kinds_for`, except where training would not be reproducible.

    On a processor with avx512_bf16 and without AMX, gradients of three-dimensional convolutions in bfloat16 differ from
    run to run (torch 2.13 on an EPYC with Zen 4: in six of six pairs of trainings, and in none in float32).

    Parameters
    ----------
    volumes
        Whether the network has three-dimensional convolutions.
    """
    kinds = kinds_for(device)
    if volumes and device.type == "cpu" and not torch.cpu.get_capabilities().get("amx_bf16", False):
        return kinds[-1:]
    return kinds


def answer_of(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return a network's output, float32, computed in the fastest number format of its device.

    Convolutions in bfloat16 occasionally give NaN, and then repeatedly on equal inputs (oneDNN on some processors).
    Such an output is computed again in float32.

    Parameters
    ----------
    network
        In evaluation mode, on the device of `images`.
    """
    for kind in kinds_for(images.device):
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=kind is torch.bfloat16):
            output = network(images if kind is torch.bfloat16 else images.float()).float()
        if bool(output.isfinite().all()):
            break
    return output
