"""Networks reckon in bfloat16 where the processor can, and in float32 where it would have to imitate it."""

import pytest
import torch
from torch import Tensor, nn

from inference.arithmetic import answer_of, arithmetic_on, kinds_for, kinds_for_learning

CPU = torch.device("cpu")


class _Overflowing(nn.Module):
    """A convolution whose answer is not a number in bfloat16, as on some processors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, shown: Tensor) -> Tensor:
        answer: Tensor = self.layer(shown)
        self.seen.append(answer.dtype)
        return answer * torch.nan if answer.dtype is torch.bfloat16 else answer


@pytest.mark.parametrize(
    ("instructions", "kinds"),
    [
        ({"avx2": True, "fma3": True}, (torch.float32,)),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, (torch.float32,)),
        ({"avx512_bf16": True}, (torch.bfloat16, torch.float32)),
        ({"amx_bf16": True}, (torch.bfloat16, torch.float32)),
        ({"neon": True}, (torch.float32,)),
    ],
)
def test_a_processor_without_the_instructions_does_not_imitate_bfloat16(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], kinds: tuple[torch.dtype, ...]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert kinds_for(CPU) == kinds
    assert arithmetic_on(CPU) == f"{'bfloat16' if len(kinds) == 2 else 'float32'} on cpu"


@pytest.mark.parametrize(
    ("instructions", "of_slices", "of_volumes"),
    [
        ({"avx2": True}, 1, 1),
        ({"avx512_bf16": True}, 2, 1),  # gradients of volumes differ from run to run there
        ({"avx512_bf16": True, "amx_bf16": True}, 2, 2),
    ],
)
def test_a_training_reckons_in_what_gives_the_same_weights_twice(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], of_slices: int, of_volumes: int
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert len(kinds_for_learning(CPU, volumes=False)) == of_slices
    assert len(kinds_for_learning(CPU, volumes=True)) == of_volumes
    assert kinds_for_learning(CPU, volumes=True)[-1] is torch.float32


def test_what_bfloat16_cannot_answer_is_answered_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    network = _Overflowing().eval()
    with torch.inference_mode():
        answer = answer_of(network, torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))
        expected = network.layer(torch.ones(1, 1, 2, 2))
    assert network.seen == [torch.bfloat16, torch.float32]
    assert torch.equal(answer, expected)


def test_this_processor_gives_what_float32_gives() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 1, 3, padding=1)).eval()
    shown = torch.randn(1, 2, 8, 8, 8)
    with torch.inference_mode():
        answer, expected = answer_of(network, shown), network(shown)
    assert answer.dtype is torch.float32
    assert torch.allclose(answer, expected, atol=0.02)
