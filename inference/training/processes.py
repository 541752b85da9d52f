"""Several processes that train one network, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

__all__ = ["joined", "place"]


def place() -> tuple[int, int]:
    """Return the number of this process, and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Meet the other processes that `torchrun` started, if any; NCCL where there is a GPU for each, else gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield place()
    finally:
        distributed.destroy_process_group()
