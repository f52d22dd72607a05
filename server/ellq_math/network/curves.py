"""Smooth functions of one number, with proven bounds of their values over intervals.

Assumed of the C library and numpy: exp, expm1, log1p, tanh and erfc are within 8 units in the last place of the truth
(numpy's tests hold its own to 4, glibc documents its own at 5 or less). All else is derived: SLACK roundings of the magnitude
returned beside the value cover every formula below, as docs/theory_networks.md shows one by one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ellq_math.network.intervals import Interval
from ellq_math.sums import UNIT_ROUNDOFF, Array

SLACK = 64
"""Roundings, relative to the magnitude of an evaluation."""

UNDERFLOW = 2.0**-1000
"""More than any term of the formulas below can lose where it underflows."""

FAR = 40.0
"""Below minus this, gelu and gelu_tanh are within UNDERFLOW of 0; on either side, the slope of gelu_tanh of its limit."""

Evaluation = Callable[[Array], tuple[Array, Array]]
"""Returns values, and the magnitudes that their roundings are relative to."""


@dataclass(frozen=True)
class Turn:
    """Where a curve turns: somewhere in [first, last], and it nowhere goes beyond `value`, rounded outward."""

    first: float
    last: float
    value: float


@dataclass(frozen=True)
class Curve:
    """A function with at most one valley and one peak; between and beyond them it is monotone, jumps allowed."""

    evaluate: Evaluation
    valley: Turn | None = None
    peak: Turn | None = None

    def over(self, where: Interval) -> Interval:
        """Return bounds of the values over intervals: attained at an end, or in a turn that may lie between."""
        low, high = self._around(where.low), self._around(where.high)
        found = low | high
        if self.valley:
            lowest = np.maximum(found.low, self.valley.value)
            found = Interval(np.where(_meets(where, self.valley), self.valley.value, lowest), found.high)
        if self.peak:
            highest = np.minimum(found.high, self.peak.value)
            found = Interval(found.low, np.where(_meets(where, self.peak), self.peak.value, highest))
        return found

    def _around(self, x: Array) -> Interval:
        value, magnitude = self.evaluate(x)
        slack = SLACK * UNIT_ROUNDOFF * magnitude + UNDERFLOW
        return Interval(value - slack, value + slack)


def _meets(where: Interval, turn: Turn) -> npt.NDArray[np.bool_]:
    return (where.low <= turn.last) & (where.high >= turn.first)


def _sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), of full relative accuracy on either side."""
    return 1 / (1 + np.exp(-x))


def _bell(x: Array) -> Array:
    """The derivative of the sigmoid."""
    tail = np.exp(-np.abs(x))
    return tail / (1 + tail) ** 2


def _gauss(x: Array) -> Array:
    """The distribution function of the standard Gaussian. math.erfc, because numpy has none."""
    halves = map(math.erfc, (-x / math.sqrt(2)).ravel().tolist())
    return np.fromiter(halves, dtype=np.float64, count=x.size).reshape(x.shape) / 2


def _relative(function: Callable[[Array], Array]) -> Evaluation:
    """Roundings are relative to the value itself."""

    def evaluate(x: Array) -> tuple[Array, Array]:
        value = function(x)
        return value, np.abs(value)

    return evaluate


def _to_input(function: Callable[[Array], Array], *, flat_below: float) -> Evaluation:
    """Roundings are relative to x, and the function is 0, but for UNDERFLOW, from `flat_below` down."""

    def evaluate(x: Array) -> tuple[Array, Array]:
        raised = np.maximum(x, flat_below)
        return function(raised), np.abs(raised)

    return evaluate


def _to_one(function: Callable[[Array], Array]) -> Evaluation:
    """Roundings are relative to 1."""
    return lambda x: (function(x), np.ones_like(x))


def _softplus(x: Array) -> Array:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def _silu_slope(x: Array) -> Array:
    return _sigmoid(x) * (1 + x * _sigmoid(-x))


def _gelu_slope(x: Array) -> Array:
    return _gauss(x) + x * np.exp(-(x * x) / 2) / math.sqrt(2 * math.pi)


def _gelu_tanh(x: Array) -> Array:
    return x * ((1 + np.tanh(_inner(x))) / 2)


def _gelu_tanh_slope(x: Array) -> Array:
    x = np.clip(x, -FAR, FAR)
    inner_slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return (1 + np.tanh(_inner(x))) / 2 + 2 * x * _bell(2 * _inner(x)) * inner_slope


def _inner(x: Array) -> Array:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)


SIGMOID = Curve(_relative(_sigmoid))
SIGMOID_SLOPE = Curve(_relative(_bell), peak=Turn(0.0, 0.0, 0.25))
TANH = Curve(_relative(np.tanh))
TANH_SLOPE = Curve(_relative(lambda x: 4 * _bell(2 * x)), peak=Turn(0.0, 0.0, 1.0))
SOFTPLUS = Curve(_relative(_softplus))
SILU = Curve(_relative(lambda x: x * _sigmoid(x)), valley=Turn(-1.278464543, -1.278464542, -0.278464542762))
SILU_SLOPE = Curve(
    _to_one(_silu_slope),
    valley=Turn(-2.399357281, -2.399357280, -0.09983932013),
    peak=Turn(2.399357280, 2.399357281, 1.09983932013),
)
GELU = Curve(_to_input(lambda x: x * _gauss(x), flat_below=-FAR), valley=Turn(-0.751791525, -0.751791524, -0.169971207481))
GELU_SLOPE = Curve(
    _to_one(_gelu_slope),
    valley=Turn(-1.414213563, -1.414213562, -0.12890414519),
    peak=Turn(1.414213562, 1.414213563, 1.12890414519),
)
GELU_TANH = Curve(_to_input(_gelu_tanh, flat_below=-FAR), valley=Turn(-0.752461423, -0.752461422, -0.170040750572))
GELU_TANH_SLOPE = Curve(
    _to_one(_gelu_tanh_slope),
    valley=Turn(-1.418504009, -1.418504008, -0.12899306866),
    peak=Turn(1.418504008, 1.418504009, 1.12899306866),
)
HARD_SWISH = Curve(_to_input(lambda x: x * np.clip(x / 6 + 0.5, 0, 1), flat_below=-3.0), valley=Turn(-1.5, -1.5, -0.375))
HARD_SWISH_SLOPE = Curve(
    _to_one(lambda x: np.where(np.abs(x) < 3, x / 3 + 0.5, x > 0)), valley=Turn(-3.0, -3.0, -0.5), peak=Turn(3.0, 3.0, 1.5)
)


def elu(alpha: float) -> Curve:
    """Return the curve of x where x > 0, else alpha (exp(x) - 1)."""
    return Curve(_relative(lambda x: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))))


def elu_slope(alpha: float) -> Curve:
    """Return the curve of its slopes; at 0 they lie between alpha, at most 1, and 1."""
    return Curve(_relative(lambda x: np.where(x >= 0, 1.0, alpha * np.exp(np.minimum(x, 0)))))
