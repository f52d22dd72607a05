"""Second moments from sums of products that met rounding, as upper bounds of those of the numbers that were added.

A sum of n products, added in any order, is within gamma_r = r u / (1 - r u), u = 2^-53, times the sum of their magnitudes,
where r is the most roundings that any product meets (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
So the computed mean of x_i x_j is within gamma_r s_i s_j of the true one (Cauchy-Schwarz), s_i^2 the true mean of x_i^2, and

    |v' (computed - true) v| <= gamma_r (sum_i |v_i| s_i)^2 <= gamma_r d sum_i v_i^2 s_i^2        for d entries:

a diagonal that is larger by the factor 1 + 2 r d u pays for all errors of the matrix at once, whatever v is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellq_client.networks.moments import Array, TensorMoments
from ellq_math.sums import round_up


@dataclass(frozen=True)
class SampleSums:
    """Sums over all that one use of a tensor saw."""

    squares: Array
    """(groups, fan_in) float64: sums of x_j^2."""
    products: Array | None
    """(groups, fan_in, fan_in) float64: sums of x x'. None: not asked for."""
    nonzero: np.ndarray
    """(groups, fan_in) bool: whether any x_j was not 0. Of those, even products that underflow count."""
    terms: int
    """How many products each sum has."""
    roundings: int
    """The most roundings that any product met in these sums, its own included."""


def moments_of_uses(uses: Sequence[SampleSums]) -> TensorMoments:
    """Return moments that hold for every use of a tensor: of matrices the sum, of second moments without one the largest.

    The sum is an upper bound of every one of them, because none of them is negative for any v. Each is positive
    semidefinite, so that v' matrix v is at least the mean of (v . x)^2 in every use.
    """
    matrices = [_matrix(one) for one in uses]
    total = matrices[0]
    if total is None:
        return TensorMoments(np.maximum.reduce([_second_moments(one) for one in uses]).reshape(-1))
    for one in matrices[1:]:
        assert one is not None, "uses of one tensor agree on whether its matrix is kept"
        total = total + one
    if len(uses) > 1:
        _raise_diagonal(total, roundings=len(uses))
    # The diagonal is the second moments, so that nobody finds two numbers for the same thing.
    return TensorMoments(np.diagonal(total, axis1=1, axis2=2).reshape(-1).copy(), total)


def _second_moments(sums: SampleSums) -> Array:
    """Return at least the mean of each x_j^2. Shape: (groups, fan_in)."""
    return round_up(sums.squares / sums.terms, roundings=sums.roundings + 1) + _lost(sums)


def _matrix(sums: SampleSums) -> Array | None:
    """Return a matrix that is at least the mean of x x' for every v. Shape: (groups, fan_in, fan_in)."""
    if sums.products is None:
        return None
    lower = np.tril(sums.products)  # a product of matrices need not be symmetric to the last bit
    means = (lower + np.tril(sums.products, -1).swapaxes(1, 2)) / sums.terms
    _raise_diagonal(means, roundings=sums.roundings + 1)
    means[:, range(means.shape[1]), range(means.shape[1])] += _lost(sums)
    return means


def _raise_diagonal(matrices: Array, *, roundings: int) -> None:
    """Pay for `roundings` of every entry on the diagonal, in place."""
    diagonal = range(matrices.shape[1])
    values = matrices[:, diagonal, diagonal]
    matrices[:, diagonal, diagonal] = round_up(values, roundings=roundings * len(diagonal))


def _lost(sums: SampleSums) -> Array:
    """Return more than underflow can have taken: at most 2^-1074 an entry, so fan_in times that for every v."""
    return np.where(sums.nonzero, np.finfo(np.float64).tiny, 0.0)
