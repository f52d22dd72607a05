"""What every maker demands of its arguments, checked before native code trusts them."""

from typing import cast

import numpy as np

from ellq_kernels.contract import Weights
from ellq_math.dtypes import WEIGHT_DTYPES, Bits
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
