"""What is known of each activation: how steep it is, what it makes of intervals, and how far it carries a difference."""

import math
from collections.abc import Callable

import numpy as np

from ellq_math.network import curves
from ellq_math.network.curves import Curve
from ellq_math.network.intervals import Interval, ceil_sum, down, floor_sum, point, up
from ellq_math.network.nodes import Activation, ActivationKind
from ellq_math.sums import Array

STEEPEST = {
    ActivationKind.SIGMOID: 0.25,
    ActivationKind.GELU: 1.12890414519,
    ActivationKind.GELU_TANH: 1.12899306866,
    ActivationKind.SILU: 1.09983932013,
    ActivationKind.HARD_SIGMOID: float(np.nextafter(1 / 6, 1)),
    ActivationKind.HARD_SWISH: 1.5,
}
"""Lipschitz constants, rounded up; 1 for all others."""

SMOOTH = {
    ActivationKind.SIGMOID: (curves.SIGMOID, curves.SIGMOID_SLOPE),
    ActivationKind.TANH: (curves.TANH, curves.TANH_SLOPE),
    ActivationKind.GELU: (curves.GELU, curves.GELU_SLOPE),
    ActivationKind.GELU_TANH: (curves.GELU_TANH, curves.GELU_TANH_SLOPE),
    ActivationKind.SILU: (curves.SILU, curves.SILU_SLOPE),
    ActivationKind.SOFTPLUS: (curves.SOFTPLUS, curves.SIGMOID),
    ActivationKind.HARD_SWISH: (curves.HARD_SWISH, curves.HARD_SWISH_SLOPE),
}
"""Curves of values and of slopes; elu's hang on its alpha."""

KNEE = 3.0
"""Where hard_sigmoid bends, on either side."""


def lipschitz(activation: Activation) -> float:
    """Return at least the global Lipschitz constant."""
    return STEEPEST.get(activation.kind, 1.0)


def at_zero(activation: Activation) -> float:
    """Return the value at 0, rounded away from 0."""
    match activation:
        case Activation(ActivationKind.SIGMOID | ActivationKind.HARD_SIGMOID):
            return 0.5
        case Activation(ActivationKind.SOFTPLUS):
            return math.nextafter(math.log(2), 1)
        case Activation(ActivationKind.CLIP, (least, largest)):
            return min(max(0.0, least), largest)
        case _:
            return 0.0


def image(activation: Activation, where: Interval) -> Interval:
    """Return bounds of the values over intervals."""
    smooth = _curves(activation)
    return smooth[0].over(where) if smooth else Interval(_bent(activation, where.low, down), _bent(activation, where.high, up))


def difference(activation: Activation, before: Interval, after: Interval, error: Interval) -> Interval:
    """Return bounds of f(z + d) - f(z) for z in `before`, z + d in `after`, d in `error`; zero where d is.

    Smooth functions move by a slope between z and z + d, times d. For all others, `after` aside, the bounds are
    attained by some z and d, up to rounding.
    """
    smooth = _curves(activation)
    return smooth[1].over(before | after) * error if smooth else _bent_difference(activation, before, error)


def _curves(activation: Activation) -> tuple[Curve, Curve] | None:
    """Return the curves of values and slopes; None for functions of straight pieces."""
    if activation.kind is ActivationKind.ELU:
        (alpha,) = activation.parameters
        return curves.elu(alpha), curves.elu_slope(alpha)
    return SMOOTH.get(activation.kind)


def _bent(activation: Activation, x: Array, outward: Callable[[Array], Array]) -> Array:
    """Return the values of a function of straight pieces, all rising, with roundings pushed outward."""
    match activation:
        case Activation(ActivationKind.RELU):
            return np.maximum(x, 0)
        case Activation(ActivationKind.LEAKY_RELU, (slope,)):
            return np.where(x >= 0, x, outward(slope * x))
        case Activation(ActivationKind.CLIP, (least, largest)):
            return np.clip(x, least, largest)
        case Activation(ActivationKind.HARD_SIGMOID):
            return np.clip(outward(outward(x / 6) + 0.5), 0, 1)
        case _:
            return x


def _bent_difference(activation: Activation, before: Interval, error: Interval) -> Interval:
    match activation:
        case Activation(ActivationKind.RELU):
            return _clipped_difference(0, math.inf, before, error)
        case Activation(ActivationKind.LEAKY_RELU, (slope,)):
            rest = point(np.array(1.0)) - point(np.array(slope))
            return point(np.array(slope)) * error + rest * _clipped_difference(0, math.inf, before, error)
        case Activation(ActivationKind.CLIP, (least, largest)):
            return _clipped_difference(least, largest, before, error)
        case Activation(ActivationKind.HARD_SIGMOID):
            sixth = Interval(down(np.array(1 / 6)), up(np.array(1 / 6)))
            return sixth * _clipped_difference(-KNEE, KNEE, before, error)
        case _:
            return error


def _clipped_difference(least: float, largest: float, before: Interval, error: Interval) -> Interval:
    """Return the bounds for x -> min(max(x, least), largest). The lower one is the upper one of the mirror image."""
    lowest = -_most_gained(-largest, -least, -before.high, -before.low, -error.low)
    return Interval(lowest, _most_gained(least, largest, before.low, before.high, error.high))


def _most_gained(least: float, largest: float, low: Array, high: Array, rise: Array) -> Array:
    """Return at least what clipped values gain when z in [low, high] rises by `rise`, which may be negative.

    The gain is the length that [z, z + rise] has in common with [least, largest]. As z grows it grows, stays, then falls, and
    z = least is where it stays: the most is gained nearest to there, the least at an end.
    """
    nearest = np.clip(least, low, high)
    gained = _common_length(nearest, np.maximum(rise, 0), least, largest, ceil_sum)
    fall = np.maximum(-rise, 0)
    lost = [_common_length(-end, fall, -largest, -least, floor_sum) for end in (low, high)]
    return np.where(rise >= 0, gained, -np.minimum(*lost))


def _common_length(z: Array, rise: Array, least: float, largest: float, total: Callable[[Array, Array], Array]) -> Array:
    """Return the length that [z, z + rise] and [least, largest] have in common, with the sums rounded as `total` does."""
    first, last = np.array(least), np.array(largest)
    shortest = np.minimum(total(last, -z), total(total(z, rise), -first))
    return np.maximum(np.minimum(np.minimum(rise, total(last, -first)), shortest), 0)
