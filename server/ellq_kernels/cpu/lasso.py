"""The LASSO of every neuron: ellq_math.lasso, restated for numba."""

import math

import numpy as np

from ellq_kernels.cpu.decoding import Format, bits_nearest, signed_of
from ellq_kernels.cpu.jit import kernel
from ellq_math.dtypes import Bits
from ellq_math.lasso import PATH_SWEEPS, PENALTIES, REFIT_SWEEPS, REST, STEPS, TINY
from ellq_math.sums import UNIT_ROUNDOFF, Array
from ellq_math.values import Counts


@kernel
def lasso_rows(
    bits: Bits, fan_in: int, fmt: Format, first: int, last: int, matrices: Array, rows_each: int, epsilon: float, kept: Counts
) -> None:
    """Replace rows [first, last) in place and fill them of `kept`, shape (neurons,); `rows_each` neurons share a matrix."""
    nothing = bits.dtype.type(0)  # a plain 0 would make numba pass 64-bit weights through float64
    original = np.empty(fan_in)
    roots = np.empty(fan_in)
    found = np.empty(fan_in)
    for row in range(first, last):
        matrix = matrices[row // rows_each]
        weights = bits[row * fan_in : (row + 1) * fan_in]
        for j in range(fan_in):
            roots[j] = np.sqrt(matrix[j, j])
            original[j] = signed_of(weights[j], fmt) if roots[j] > 0.0 else 0.0
        fits = _fit(matrix, roots, original, fmt, epsilon, found)
        kept[row] = 0
        for j in range(fan_in):
            if fits:
                weights[j] = bits_nearest(found[j], fmt)
            elif original[j] == 0.0:
                weights[j] = nothing
            kept[row] += weights[j] != nothing


@kernel
def _fit(matrix: Array, roots: Array, original: Array, fmt: Format, epsilon: float, found: Array) -> bool:
    """Set `found` to the fitted weights, rounded, and return whether a penalty is acceptable; see ellq_math.lasso.lasso.

    Compiled once for all dtypes: it takes long.
    """
    largest = 0.0
    for j in range(len(roots)):
        largest = max(largest, abs(original[j]) * roots[j])
    exponent = max(math.frexp(min(largest, 2.0**999))[1], -1000)
    down, up = math.ldexp(1.0, -exponent), math.ldexp(1.0, exponent)
    w = original * down
    takes_part = original != 0.0
    fitted, gradient = np.zeros_like(w), _times(matrix, w)
    allowed = epsilon * epsilon * (_dot(w, gradient) - _doubt(roots, w)) * (1.0 - 2.0**-50)
    if not 0.0 < allowed < np.inf:
        return False
    rest = REST * allowed
    steepest = np.abs(gradient).max()
    lost = np.empty_like(w)
    for k in range(STEPS):
        _descend(matrix, fitted, gradient, takes_part, steepest * PENALTIES[k], rest, PATH_SWEEPS)
        support = fitted != 0.0
        if support.sum() == takes_part.sum():
            return False
        refitted, fits = _refit(matrix, w, fitted, gradient, support, allowed, rest)
        if fits:
            for j in range(len(w)):
                found[j] = signed_of(bits_nearest(refitted[j] * up, fmt), fmt)
                lost[j] = w[j] - found[j] * down
            if _dot(lost, _times(matrix, lost)) + _doubt(roots, lost) <= allowed:
                return True
    return False


@kernel
def _refit(
    matrix: Array, w: Array, start: Array, start_gradient: Array, support: Array, allowed: float, rest: float
) -> tuple[Array, bool]:
    """Return the minimum on the support, and whether it is allowed; see ellq_math.lasso.refit."""
    fitted, gradient = start.copy(), start_gradient.copy()
    lost = _dot(w - fitted, gradient)
    for sweep in range(REFIT_SWEEPS):
        at_rest = _descend(matrix, fitted, gradient, support, 0.0, rest, 1)
        before = lost
        lost = _dot(w - fitted, gradient)
        if at_rest or lost - (REFIT_SWEEPS - 1 - sweep) * (before - lost) > allowed:
            break
    return fitted, lost <= allowed


@kernel
def _descend(
    matrix: Array, fitted: Array, gradient: Array, takes_part: Array, penalty: float, rest: float, sweeps: int
) -> bool:
    """See ellq_math.lasso.descend."""
    for _ in range(sweeps):
        moved = False
        for j in range(len(fitted)):
            if takes_part[j]:
                at, curvature = fitted[j], matrix[j, j]
                step = _soft(gradient[j] + curvature * at, penalty) / curvature - at
                if step != 0.0:
                    _add(matrix[j], -step, gradient)
                    fitted[j] = at + step
                    moved |= step * curvature * step > rest
        if not moved:
            return True
    return False


@kernel
def _soft(pull: float, penalty: float) -> float:
    """Return the pull less the penalty, towards zero and no further."""
    if pull > penalty:
        return pull - penalty
    return pull + penalty if pull < -penalty else 0.0


@kernel
def _doubt(roots: Array, weights: Array) -> float:
    """See ellq_math.lasso.doubt."""
    spread = _dot(np.abs(weights), roots)
    return 4.0 * (2 * len(roots) + 4) * UNIT_ROUNDOFF * spread * spread + len(roots) * len(roots) * TINY


@kernel
def _times(matrix: Array, weights: Array) -> Array:
    """Return S x, added row by row."""
    product = np.zeros_like(weights)
    for j in range(len(weights)):
        if weights[j] != 0.0:
            _add(matrix[j], weights[j], product)
    return product


@kernel
def _add(row: Array, factor: float, total: Array) -> None:
    """Add a multiple of a row, in place: the loop in which all the time goes."""
    for i in range(len(total)):
        total[i] += factor * row[i]


@kernel
def _dot(left: Array, right: Array) -> float:
    """Return the inner product, added from left to right."""
    total = 0.0
    for j in range(len(left)):
        total += left[j] * right[j]
    return total
