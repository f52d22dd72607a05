"""How much a step without weights of its own, that treats each group for itself, can enlarge errors."""

from collections.abc import Callable
from math import ceil, prod

import numpy as np

from ellq_math.network.activations import lipschitz
from ellq_math.network.groups import Groups, Norm, lifted
from ellq_math.network.nodes import Activation, Affine, BatchNorm, GlobalMean, Pool, PoolKind
from ellq_math.network.topology import Step
from ellq_math.network.variances import check_variance
from ellq_math.sums import Array, round_up

Source = Callable[[str], Array]
"""Returns a tensor by name: Tensors.original or Tensors.changed."""


def factors(step: Step, source: Source, groups: Groups, norm: Norm) -> Array:
    """Return the gains of a step that does not mix groups. Shape: (groups.count,)."""
    operation = step.node.operation
    match operation:
        case Activation():
            return np.full(groups.count, lipschitz(operation))
        case Pool():
            return np.full(groups.count, _pool_gain(operation, step.shape or (), norm))
        case GlobalMean():
            mean = 1.0 if norm is Norm.SUP else float(round_up(np.sqrt(np.float64(1 / groups.length)), roundings=2))
            return np.full(groups.count, mean)
        case BatchNorm():
            return _batch_norm_gains(step, operation, source)
        case Affine(scale=scale):
            return np.broadcast_to(np.abs(np.array(scale or (1.0,), dtype=np.float64)), groups.count)
        case _:
            raise TypeError(f"node {step.node.name!r} mixes groups")


def shared_windows(pool: Pool, shape: tuple[int, ...]) -> int:
    """Return at least the number of windows that any one position lies in; `shape` is that of the pooled values."""
    return prod(min(ceil(k / s), n) for k, s, n in zip(pool.kernel, pool.stride, shape[1:], strict=True))


def _pool_gain(pool: Pool, shape: tuple[int, ...], norm: Norm) -> float:
    """Return the gain of a pool; the mean's is the Schur bound with row sum 1 and column sum windows / positions."""
    if norm is Norm.SUP:
        return 1.0
    square = shared_windows(pool, shape) / (1 if pool.kind is PoolKind.MAX else prod(pool.kernel))
    return float(round_up(np.sqrt(np.float64(square)), roundings=2))


def _batch_norm_gains(step: Step, operation: BatchNorm, source: Source) -> Array:
    """Return |weight| / sqrt(variance + epsilon). Errors: InvalidTopology."""
    variance = source(operation.variance)
    check_variance(step, operation, variance)  # whoever walks along a stream has not seen them before
    root = np.sqrt(variance + operation.epsilon)
    weight = np.abs(source(operation.weight)) if operation.weight is not None else np.ones(len(root))
    with np.errstate(over="ignore"):
        return round_up(lifted(weight) / root, roundings=3)
