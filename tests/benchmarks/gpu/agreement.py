"""Are the bytes and the sums those of the CPU?"""

from collections.abc import Sequence

import numpy as np
import torch

from ellq_kernels import make_kernels
from ellq_kernels.triton.maker import TritonKernels
from ellq_kernels.triton.weights import TritonWeights
from tests.benchmarks.gpu.actions import ORDERS, counts_of
from tests.benchmarks.gpu.cases import restore


def disagreements(kernels: TritonKernels, weights: Sequence[TritonWeights], originals: Sequence[torch.Tensor]) -> list[str]:
    """Return what differs from the CPU maker's in the last tensor of each shape; leaves the weights as they came."""
    cpu, found = make_kernels("cpu"), []
    by_shape = {tuple(bits.shape): (one, bits) for one, bits in zip(weights, originals, strict=True)}
    for (neurons, fan_in), (here, original) in by_shape.items():
        restore([here], [original])
        there = cpu.load(bytearray(original.cpu().numpy().tobytes()), dtype="BF16", neurons=neurons, fan_in=fan_in)
        answers = []
        for maker, held in ((kernels, here), (cpu, there)):
            statistics = maker.measure(held, ORDERS["four orders"])
            cut = maker.keep_largest(held, counts_of(neurons, fan_in), width=fan_in)
            tails = maker.apply(held, cut)
            answers.append(
                {
                    "sums": statistics.sums,
                    "largest": statistics.max_magnitude,
                    "zeros": statistics.zeros,
                    "thresholds": cut.threshold,
                    "tail l1": tails.l1,
                    "tail l2": tails.l2_squared,
                    "weights": np.frombuffer(maker.payload(held), np.uint16),
                }
            )
        ours, theirs = answers
        found += [f"{what} of {neurons} x {fan_in}" for what in ours if ours[what].tobytes() != theirs[what].tobytes()]
        restore([here], [original])
    return found
