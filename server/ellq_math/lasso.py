"""The LASSO of one neuron on its inputs, in plain numpy: the definition that every kernel maker is tested against.

Q(v) = (w - v)' S (w - v) / 2 + lam ||v||_1 is minimised by coordinate descent for ever smaller lam, each start being the last
end. After each, v is refitted on its support (lam = 0) and rounded to the dtype; the first for which
sqrt((w - v)' S (w - v)) <= epsilon sqrt(w' S w) is proved is taken. All is added up from left to right, nothing is fused.
"""

import math

import numpy as np
import numpy.typing as npt

from ellq_math.dtypes import nearest
from ellq_math.sums import UNIT_ROUNDOFF, Array

STEPS = 40
"""Penalties tried."""

PENALTIES = np.ldexp(np.where(np.arange(1, STEPS + 1) % 2, np.sqrt(2.0), 1.0), -((np.arange(1, STEPS + 1) + 1) // 2))
"""2^(-k/2) for k = 1, 2, ...: the penalties over the least one that leaves nothing."""

REST = 2.0**-16
"""A coordinate is at rest once a step moves the neuron's sum, squared, by at most this share of what may be lost, squared."""

PATH_SWEEPS = 32
"""Most sweeps over all coordinates for one penalty."""

REFIT_SWEEPS = 64
"""Most sweeps over the support without penalty, each at most as good as the one before."""

TINY = 2.0**-400
"""More than underflow can add to a quadratic form of scaled weights, for each pair of inputs; see the theory page."""

Participants = npt.NDArray[np.bool_]


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # what overflows is not accepted
def lasso(weights: Array, matrix: Array, *, epsilon: float, dtype: str) -> Array:
    """Return the weights that take the place of a neuron's.

    A weight that is zero stays so, and a weight of an input without a second moment becomes zero. When no penalty but those
    that keep all others is acceptable, the others stay as they are; then nothing is lost.

    Shape: weights (fan_in,), finite; matrix (fan_in, fan_in), finite, symmetric but for rounding, S_jj >= 0,
    |S_ij| <= 2 sqrt(S_ii S_jj). 0 < epsilon < 1; `dtype` is that of the weights.
    """
    roots = np.sqrt(np.diagonal(matrix))
    takes_part = (weights != 0) & (roots > 0)
    exponent = scale_exponent(float(np.max(np.abs(weights) * roots)))
    original = np.where(takes_part, weights, 0.0)
    w = original * np.ldexp(1.0, -exponent)
    fitted, gradient = np.zeros_like(w), times(matrix, w)
    allowed = epsilon * epsilon * (dot(w, gradient) - doubt(roots, w)) * (1.0 - 2.0**-50)
    if not 0.0 < allowed < math.inf:
        return original
    rest = REST * allowed
    for penalty in (float(np.max(np.abs(gradient))) * PENALTIES).tolist():
        descend(matrix, fitted, gradient, takes_part, penalty=penalty, rest=rest, sweeps=PATH_SWEEPS)
        support = fitted != 0
        if support.sum() == takes_part.sum():
            break
        refitted = refit(matrix, w, fitted, gradient, support, allowed=allowed, rest=rest)
        if refitted is not None:
            found = nearest(refitted * np.ldexp(1.0, exponent), dtype)
            lost = w - found * np.ldexp(1.0, -exponent)
            if dot(lost, times(matrix, lost)) + doubt(roots, lost) <= allowed:
                return found
    return original


def scale_exponent(largest: float) -> int:
    """Return e such that weights 2^-e have forms near 1, given the largest |w_j| sqrt(S_jj); both 2^e and 2^-e are normal."""
    return max(math.frexp(min(largest, 2.0**999))[1], -1000)


def refit(
    matrix: Array, w: Array, fitted: Array, gradient: Array, support: Participants, *, allowed: float, rest: float
) -> Array | None:
    """Return the minimum of (w - v)' S (w - v) on the support; None when it is above what is allowed, or seems to be.

    Sweeps gain less and less, so it is given up once as much as the last gained, sweep by sweep, would not suffice.
    """
    fitted, gradient = fitted.copy(), gradient.copy()
    lost = dot(w - fitted, gradient)
    for sweeps_left in reversed(range(REFIT_SWEEPS)):
        at_rest = descend(matrix, fitted, gradient, support, penalty=0.0, rest=rest, sweeps=1)
        before, lost = lost, dot(w - fitted, gradient)
        if at_rest or lost - sweeps_left * (before - lost) > allowed:
            break
    return fitted if lost <= allowed else None


def descend(
    matrix: Array, fitted: Array, gradient: Array, takes_part: Participants, *, penalty: float, rest: float, sweeps: int
) -> bool:
    """Minimise Q over the coordinates that take part, in place. Return whether all came to rest before the sweeps ran out.

    `gradient` is S (w - fitted) and stays so. A coordinate is at rest when its step squared times S_jj is at most `rest`.
    """
    for _ in range(sweeps):
        moved = False
        for j in np.flatnonzero(takes_part).tolist():
            at, curvature = float(fitted[j]), float(matrix[j, j])
            step = soft(float(gradient[j]) + curvature * at, penalty) / curvature - at
            if step != 0.0:
                gradient -= step * matrix[j]
                fitted[j] = at + step
                moved = moved or step * curvature * step > rest
        if not moved:
            return True
    return False


def soft(pull: float, penalty: float) -> float:
    """Return the pull less the penalty, towards zero and no further."""
    if pull > penalty:
        return pull - penalty
    return pull + penalty if pull < -penalty else 0.0


def doubt(roots: Array, weights: Array) -> float:
    """Return more than dot(x, times(S, x)) can be off by, its sums with this included, and twice that where |S_ij| <= s_i s_j.

    Each of the products x_i S_ij x_j meets at most 2 d + 2 roundings, the two of x among them, and |S_ij| is at most 2 s_i s_j.
    """
    spread = dot(np.abs(weights), roots)
    return 4.0 * (2 * len(roots) + 4) * UNIT_ROUNDOFF * spread * spread + len(roots) * len(roots) * TINY


def times(matrix: Array, weights: Array) -> Array:
    """Return S x, row by row. Shape: (n, n) and (n,) -> (n,)."""
    product = np.zeros_like(weights)
    for j in np.flatnonzero(weights).tolist():
        product += float(weights[j]) * matrix[j]
    return product


def dot(left: Array, right: Array) -> float:
    """Return the inner product, added from left to right: cumsum does, sum does not."""
    return float(np.cumsum(left * right)[-1])
