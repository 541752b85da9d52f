"""Which numbers networks reckon in: bfloat16 where the processor has instructions for it, else float32.

A processor without them imitates bfloat16, and a three-dimensional convolution then takes a hundred times as long as in
float32 (measured with torch 2.13 on an EPYC with AVX2: 6.7 s against 0.06 s).
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["answer_of", "arithmetic_on", "kinds_for", "kinds_for_learning"]

IN_BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""Instructions for x86 processors, as `torch.cpu.get_capabilities` names them. On ARM nothing was measured: float32."""


def arithmetic_on(device: torch.device) -> str:
    """Return what a result states about the numbers it was computed in, such as ``bfloat16 on cpu``."""
    return f"{str(kinds_for(device)[0]).removeprefix('torch.')} on {device.type}"


def kinds_for(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return what networks reckon in on a device; each further one where the one before gave what is not a number."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        fast = device.type == "cpu" and any(has.get(name, False) for name in IN_BFLOAT16)
    return (torch.bfloat16, torch.float32) if fast else (torch.float32,)


def kinds_for_learning(device: torch.device, *, volumes: bool) -> tuple[torch.dtype, ...]:
    """Return what a training reckons in; as `kinds_for`, but where the same training would not give the same weights.

    On a processor with avx512_bf16 and without AMX, gradients of three-dimensional convolutions in bfloat16 differ from
    run to run (torch 2.13 on an EPYC with Zen 4: six of six pairs of trainings, none in float32).

    Parameters
    ----------
    volumes
        Whether the network has three-dimensional convolutions.
    """
    kinds = kinds_for(device)
    if volumes and device.type == "cpu" and not torch.cpu.get_capabilities().get("amx_bf16", False):
        return kinds[-1:]
    return kinds


def answer_of(network: Callable[[Tensor], Tensor], shown: Tensor) -> Tensor:
    """Return what a network answers, float32, computed as its device does it fastest.

    Convolutions in bfloat16 give not-a-number once in a while, and then again and again on equal inputs (oneDNN on some
    processors): such an answer is computed anew in float32.

    Parameters
    ----------
    network
        In evaluation mode, on the device of `shown`.
    """
    for kind in kinds_for(shown.device):
        with torch.autocast(shown.device.type, dtype=torch.bfloat16, enabled=kind is torch.bfloat16):
            answer = network(shown if kind is torch.bfloat16 else shown.float()).float()
        if bool(answer.isfinite().all()):
            break
    return answer
