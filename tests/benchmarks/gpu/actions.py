"""What is measured, and by what it is measured."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ellq_kernels.triton.maker import TritonKernels
from ellq_kernels.triton.weights import TritonWeights

ORDERS = {"q = 1/2 and 1": (0.5, 1.0), "1 and 2": (1.0, 2.0), "four orders": (0.3, 0.5, 1.0, 2.0)}
PRUNED_RATIO = 0.5

COPY, SORT = "copy", "torch.sort"
"""All bytes in one copy, which no list of small ones can beat; and the same cut by a stable sort."""

Action = Callable[[], object]


def actions_of(kernels: TritonKernels, weights: Sequence[TritonWeights], copies: Sequence[torch.Tensor]) -> dict[str, Action]:
    """Return everything that takes turns, by name. `copies` are sorted in place of the weights."""
    source = torch.zeros(sum(2 * bits.numel() for bits in copies), dtype=torch.uint8, device=copies[0].device)
    target = torch.empty_like(source)
    measures = {
        f"statistics, {name}": lambda orders=orders: kernels.measure_many(weights, orders) for name, orders in ORDERS.items()
    }
    return {
        COPY: lambda: target.copy_(source),
        **measures,
        "choose": lambda: choose(kernels, weights),
        "compress": lambda: kernels.apply_many(weights, choose(kernels, weights)),
        "one threshold": lambda: compress_together(kernels, weights),
        SORT: lambda: [compress_by_sorting(bits) for bits in copies],
    }


def bytes_moved(action: str, payload_bytes: int) -> int:
    """Return the bytes that an action cannot but move: statistics and choices read each weight, all else writes it, too."""
    return payload_bytes * (1 if action.startswith(("statistics", "choose")) else 2)


def counts_of(neurons: int, fan_in: int) -> np.ndarray:
    """Return how many weights stay of each row."""
    return np.full((neurons, 1), fan_in - int(PRUNED_RATIO * fan_in))


def choose(kernels: TritonKernels, weights: Sequence[TritonWeights]) -> list:
    """Choose the largest weights of every row, for all tensors at once."""
    kept = [counts_of(one.neurons, one.fan_in) for one in weights]
    return kernels.keep_largest_many(weights, kept, [one.fan_in for one in weights])


def compress_together(kernels: TritonKernels, weights: Sequence[TritonWeights]) -> None:
    """Choose by one threshold over all weights, and apply."""
    count = sum(one.neurons * one.fan_in for one in weights)
    threshold, ties = kernels.kth_largest(weights, count - int(PRUNED_RATIO * count))
    cuts = []
    for one in weights:
        cut, kept = kernels.cut_at(one, threshold=threshold, ties_kept=ties)
        ties -= kept
        cuts.append(cut)
    kernels.apply_many(weights, cuts)


def compress_by_sorting(bits: torch.Tensor) -> None:
    """Keep the same weights by a stable sort of every row; in place, without certificate sums."""
    kept = int(counts_of(*bits.shape)[0, 0])
    order = (bits & 0x7FFF).sort(dim=1, descending=True, stable=True).indices
    bits.scatter_(1, order[:, kept:], 0)
