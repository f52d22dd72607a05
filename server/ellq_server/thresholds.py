"""The one threshold over a pool of loaded tensors."""

from collections.abc import Sequence

from ellq_kernels.contract import Kernels, Weights
from ellq_kernels.ranks import search_pool
from ellq_math.pools import KeepCount, Target, Threshold


def find_threshold(kernels: Kernels, pool: Sequence[Weights], target: Target) -> Threshold:
    """Return what a target keeps of all these weights as one row; `pool` is not empty."""
    if isinstance(target, KeepCount):
        magnitude, ties_kept = kernels.kth_largest(pool, target.kept)
        return Threshold(magnitude, ties_kept, target.kept)
    return search_pool(kernels, pool, target)
