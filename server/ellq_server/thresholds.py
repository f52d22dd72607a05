"""The one threshold over a pool of loaded tensors."""

from collections.abc import Sequence
from functools import reduce

from ellq_kernels.contract import Kernels, Weights
from ellq_math.pools import Descent, Target, Threshold, merge, search
from ellq_math.values import Histogram


def find_threshold(kernels: Kernels, pool: Sequence[Weights], target: Target) -> Threshold:
    """Return what a target keeps of all these weights as one row; `pool` is not empty."""

    def count(descent: Descent) -> Histogram:
        counted = (
            kernels.histogram(weights, level=descent.level, prefix=descent.prefix, units=target.units) for weights in pool
        )
        return reduce(merge, counted)

    return search(count, target, mantissa_bits=max(weights.mantissa_bits for weights in pool))
