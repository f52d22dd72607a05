"""Lists of tensors that one launch serves."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ellq_kernels.triton.weights import TritonWeights

Shape = tuple[int, int]

LAYER: list[Shape] = [(2048, 2048)] * 2 + [(512, 2048)] * 2 + [(8192, 2048)] * 2 + [(2048, 8192)] + [(1, 2048)] * 2
"""One block of a transformer of a billion weights: attention, projections, norms."""

ADAPTERS: list[Shape] = [(16, 4096), (4096, 16)] * 128
"""LoRA of rank 16 for 128 matrices: 64 Ki weights each."""


@dataclass(frozen=True)
class Case:
    """Tensors that are worked on together, all of BF16."""

    name: str
    shapes: list[Shape]

    @property
    def payload_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(2 * neurons * fan_in for neurons, fan_in in self.shapes)


CASES = (
    Case("8192 x 8192", [(8192, 8192)]),
    Case("transformer", LAYER * 16 + [(128256, 2048)]),
    Case("adapters", ADAPTERS),
)
QUICK_CASES = (Case("1024 x 8192", [(1024, 8192)]), Case("one block", LAYER), Case("adapters", ADAPTERS[:16]))
TINY_CASES = (Case("4 x 32", [(4, 32)]), Case("two", [(2, 40), (3, 8)]))
SIZES = {"full": CASES, "quick": QUICK_CASES, "tiny": TINY_CASES}


def random_weights(case: Case, device: torch.device) -> list[TritonWeights]:
    """Return weights as trained networks have them: normal, of a standard deviation of 0.02."""
    generator = torch.Generator(device).manual_seed(0)
    made = []
    for neurons, fan_in in case.shapes:
        values = torch.randn((neurons, fan_in), generator=generator, device=device, dtype=torch.float32).mul_(0.02)
        bits = values.to(torch.bfloat16).view(torch.int16)
        made.append(TritonWeights(dtype="BF16", neurons=neurons, fan_in=fan_in, bits=bits))
    return made


def restore(weights: Sequence[TritonWeights], originals: Sequence[torch.Tensor]) -> None:
    """Undo every cut."""
    for one, original in zip(weights, originals, strict=True):
        one.bits.copy_(original)
        one.choice.forget()
