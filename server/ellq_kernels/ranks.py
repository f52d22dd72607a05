"""What a target keeps of a pool of loaded tensors, digit by digit: the same for every maker."""

from collections.abc import Sequence
from functools import reduce

from ellq_kernels.contract import Kernels, Weights
from ellq_math.pools import Descent, KeepCount, Target, Threshold, merge, search
from ellq_math.values import Histogram


def search_pool(kernels: Kernels, pool: Sequence[Weights], target: Target) -> Threshold:
    """Return the threshold of a target over all these weights as one row; `pool` is not empty."""

    def count(descent: Descent) -> Histogram:
        counted = (
            kernels.histogram(weights, level=descent.level, prefix=descent.prefix, units=target.units) for weights in pool
        )
        return reduce(merge, counted)

    return search(count, target, mantissa_bits=max(weights.mantissa_bits for weights in pool))


def kth_by_digits(kernels: Kernels, pool: Sequence[Weights], kept: int) -> tuple[float, int]:
    """Return what Kernels.kth_largest does."""
    weights = sum(one.neurons * one.fan_in for one in pool)
    found = search_pool(kernels, pool, KeepCount(kept=kept, weights=weights))
    return found.magnitude, found.ties_kept
