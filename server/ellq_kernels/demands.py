"""What every maker demands of its arguments, checked before native code trusts them."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from ellq_kernels.contract import Weights
from ellq_math.dtypes import WEIGHT_DTYPES, Bits
from ellq_math.sums import Array
from ellq_math.values import Counts, Cut


def weight_bits(payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> Bits:
    """Return the payload as a flat array of unsigned integers; it shares memory unless the payload is not aligned.

    Raises ValueError for an unknown dtype, a wrong length or a read-only buffer.
    """
    if dtype not in WEIGHT_DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(WEIGHT_DTYPES)}")
    if neurons < 1 or fan_in < 1:
        raise ValueError(f"{neurons} neurons with a fan-in of {fan_in}: both must be at least 1")
    bits = np.frombuffer(payload, dtype=np.uint8)
    expected = neurons * fan_in * WEIGHT_DTYPES[dtype].itemsize
    if bits.size != expected:
        raise ValueError(f"payload has {bits.size} bytes; {neurons} x {fan_in} {dtype} weights take {expected}")
    if not bits.flags.writeable:
        raise ValueError("payload is read-only; weights are changed in place")
    weights = cast("Bits", bits.view(WEIGHT_DTYPES[dtype].bits))
    return weights if weights.flags.aligned else weights.copy()


def group_lengths(weights: Weights, width: int) -> Counts:
    """Return how many weights each group of `width` has; the last group of a row may be shorter.

    Shape: (neurons, groups).
    """
    if not 1 <= width <= weights.fan_in:
        raise ValueError(f"groups of {width} weights do not fit {weights.neurons} neurons with a fan-in of {weights.fan_in}")
    starts = np.arange(0, weights.fan_in, width)
    return np.broadcast_to(np.minimum(width, weights.fan_in - starts), (weights.neurons, len(starts)))


def demand_counts(weights: Weights, kept: Counts, *, width: int) -> None:
    """Raise ValueError unless there is one count for each group and the group has that many weights."""
    lengths = group_lengths(weights, width)
    if kept.shape != lengths.shape:
        raise ValueError(f"kept counts have shape {kept.shape}; groups of {width} weights need {lengths.shape}")
    if (kept < 0).any() or (kept > lengths).any():
        raise ValueError("a kept count is negative or exceeds its group")


def demand_rank(pool: Sequence[Weights], kept: int) -> None:
    """Raise ValueError unless a pool has weights, and has that many."""
    count = sum(weights.neurons * weights.fan_in for weights in pool)
    if not pool or not 0 <= kept <= count:
        raise ValueError(f"{kept} weights cannot be kept of a pool of {count}")


def demand_one_each(weights: Weights, *counts: int) -> None:
    """Raise ValueError unless all counts are one for each neuron."""
    if set(counts) != {weights.neurons}:
        given = " and ".join(str(count) for count in counts)
        raise ValueError(f"{given} given for {weights.neurons} neurons: give one for each")


def demand_cut(weights: Weights, cut: Cut) -> None:
    """Raise ValueError unless the cut has one threshold and one tie count for each group."""
    expected = group_lengths(weights, cut.width).shape
    if cut.threshold.shape != expected or cut.ties_kept.shape != expected:
        raise ValueError(
            f"cut has thresholds of shape {cut.threshold.shape} and ties of shape {cut.ties_kept.shape}; "
            f"groups of {cut.width} weights need {expected}"
        )


def demand_alike(first: Weights, second: Weights) -> None:
    """Raise ValueError unless both have the same neurons and fan-in."""
    if (first.neurons, first.fan_in) != (second.neurons, second.fan_in):
        found = f"{first.neurons} x {first.fan_in} and {second.neurons} x {second.fan_in}"
        raise ValueError(f"{found} weights given: they must have the same neurons and fan-in")


def demand_one_dtype(first: Weights, second: Weights) -> None:
    """Raise ValueError unless both have the same dtype."""
    if first.dtype != second.dtype:
        raise ValueError(f"{first.dtype} and {second.dtype} weights given: they must have the same dtype")


def demand_factors(weights: Weights, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Return float64 copies of the factors of keys, whatever numpy makes of the memory they came in.

    Raises ValueError unless there is one for each neuron, and for each input of each group, all finite and at least 0.
    """
    if rows.shape != (weights.neurons,):
        raise ValueError(f"rows have shape {rows.shape}; {weights.neurons} neurons need ({weights.neurons},)")
    demand_groups(weights, columns, each=(weights.fan_in,))
    for name, factors in (("rows", rows), ("columns", columns)):
        if not ((factors >= 0) & (factors < np.inf)).all():
            raise ValueError(f"{name} hold a negative number, NaN or infinity")
    return np.array(rows, np.float64, order="C"), np.array(columns, np.float64, order="C")


def demand_dead(weights: Weights, dead: npt.NDArray[np.bool_]) -> None:
    """Raise ValueError unless there is one boolean for each neuron."""
    if dead.shape != (weights.neurons,) or dead.dtype != np.bool_:
        raise ValueError(f"{dead.dtype} flags of shape {dead.shape} given for {weights.neurons} neurons: one bool for each")


def demand_matrices(weights: Weights, matrices: Array, *, epsilon: float) -> Array:
    """Return the second moments, copied only when they are not float64, aligned and in order, and read-only.

    Raises ValueError unless epsilon is in (0, 1) and each matrix is finite with |S_ij| <= 2 sqrt(S_ii S_jj).
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon is {epsilon!r}; allowed is above 0 and below 1")
    demand_groups(weights, matrices, each=(weights.fan_in, weights.fan_in))
    for group, matrix in enumerate(matrices):
        if not _are_moments(matrix):
            raise ValueError(f"matrix {group} holds NaN, infinity or an S_ij beyond 2 sqrt(S_ii S_jj)")
    moments = np.require(matrices, np.float64, ["C", "A"]).view()
    moments.setflags(write=False)  # always, or a kernel would be compiled for each kind
    return moments


def demand_groups(weights: Weights, of_groups: Array, *, each: tuple[int, ...]) -> None:
    """Raise ValueError unless there is one entry of shape `each` for each of several equal groups of neurons."""
    shape = of_groups.shape
    if shape[1:] != each or not shape[0] or weights.neurons % shape[0]:
        allowed = ", ".join(("groups", *(str(length) for length in each)))
        raise ValueError(f"found shape {shape}; allowed is ({allowed}), with groups that divide {weights.neurons} neurons")


def _are_moments(matrix: Array) -> bool:
    diagonal = np.diagonal(matrix)
    if not ((diagonal >= 0) & (diagonal < np.inf)).all():
        return False
    roots = np.sqrt(diagonal)
    with np.errstate(over="ignore"):  # row by row, because a whole matrix may be large
        return all(
            (np.isfinite(row) & (np.abs(row) <= 2 * root * roots)).all() for root, row in zip(roots, matrix, strict=True)
        )
