"""Several processes that train one network, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

__all__ = ["device_name", "joined", "place"]


def place() -> tuple[int, int]:
    """Return the rank of this process, and the number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def joined(device: str = "auto") -> Iterator[tuple[int, int]]:
    """Join the other processes that `torchrun` started, if any, by NCCL if each has a GPU, else by gloo.

    If each has a GPU, that of this process becomes torch's current device, to which ``cuda`` refers.

    Parameters
    ----------
    device
        Device that the training is to run on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    own_gpu = device != "cpu" and torch.cuda.is_available() and torch.cuda.device_count() >= here
    if own_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if own_gpu else "gloo")
    try:
        yield place()
    finally:
        distributed.destroy_process_group()


def device_name(device: str) -> str:
    """Return the name of the device that a training runs on, for people."""
    if not device.startswith("cuda"):
        return f"CPU, threads: {torch.get_num_threads()}"
    return str(torch.cuda.get_device_name(device))
