"""Upper bounds of spectral norms that hold in floating point: power iteration may select, but never certify."""

import numpy as np
import numpy.typing as npt

from ellq_math.interruption import end_if_unwanted
from ellq_math.sums import UNIT_ROUNDOFF, Array, round_up

GRAM_STEPS = 6
"""Then the bound is within a factor of min(m, n)^(1/128) of the norm, and within 1e-3 on random matrices."""

ENTRY_WORK = 60
"""Multiply-adds of a large product that an entry of a matrix takes as long as in a step, the product itself left out: scaled,
copied, squared and summed, in memory. Measured: 6 x 10^-9 s (2026-11-23, processor time, at 10^-10 s for a multiply-add)."""

MATRIX_WORK = 10_000
"""The same that a matrix takes in all steps, however small it is: 10^-6 s were measured, among many at once (likewise)."""


def gram_work(rows: int, columns: int) -> int:
    """Return the work of `gram_bound` of one matrix, in multiply-adds that take as long."""
    small, large = min(rows, columns), max(rows, columns)
    return small * (large + (GRAM_STEPS - 1) * small) * (small + ENTRY_WORK) + MATRIX_WORK


def spectral_norm_bound(matrix: Array) -> float:
    """Return at least ||W||_2: the least of ||W||_F, sqrt(||W||_1 ||W||_inf) and Gram iteration [D23b].

    Shape: (m, n) float64, finite. Infinity beyond a double. Zero for a zero matrix only.
    """
    scaled, exponent = scaled_down(matrix)
    bound = min(float(frobenius_bound(scaled)), _holder_bound(scaled))
    if min(matrix.shape) > 1:
        bound = min(bound, float(gram_bound(scaled)))
    return scaled_up(bound, exponent)


def weighted_norm_bound(matrix: Array, weights: Array) -> float:
    """Return at least ||W diag(r)||_2 for positive r. Shape: (m, n), (n,).

    Rounding the products moves W diag(r) by at most u in the Frobenius norm, that is u sqrt(rank) in the spectral norm.
    """
    bound = np.array(spectral_norm_bound(matrix * weights))
    return float(round_up(bound, roundings=int(np.sqrt(min(matrix.shape))) + 1))


@np.errstate(under="ignore")
def gram_bound(matrices: Array) -> Array:
    """Return at least the spectral norms, by Gram iteration. Shape: (..., m, n), magnitudes not far from 1 -> (...).

    ||A||_2^2 = ||A A'||_2. The computed product is off by at most gamma ||A||_F^2 in the Frobenius norm, whatever the order of
    summation. So ||A||_2^2 <= ||fl(A A')||_2 + slack, and the last of these norms is at most the Frobenius norm.
    """
    current = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    trail: list[tuple[npt.NDArray[np.int64], Array]] = []
    for _ in range(GRAM_STEPS):
        end_if_unwanted()
        current, exponents = scaled_down(current)
        gamma = 4 * (current.shape[-1] + 4) * UNIT_ROUNDOFF  # twice what is needed; what underflows beside a 1/4 is far below
        trail.append((exponents, frobenius_bound(current) ** 2 * gamma * 2))
        current = current @ current.mT
    bound = frobenius_bound(current)
    for exponents, slack in reversed(trail):
        bound = np.ldexp(round_up(np.sqrt(bound + slack), roundings=3), exponents)
    return bound


def frobenius_bound(matrices: Array) -> Array:
    """Return at least the Frobenius norms. Shape: (..., m, n), magnitudes not far from 1 -> (...)."""
    total = np.einsum("...ij,...ij->...", matrices, matrices)  # what underflows beside a part near 1 is below any rounding
    return round_up(np.sqrt(total), roundings=matrices.shape[-1] * matrices.shape[-2] + 4)  # whatever the order of the sum


def scaled_down(matrices: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return matrices times powers of two, so that the largest magnitude of each lies in [1/2, 1), and the exponents taken out.

    Entries 2^-1000 below the largest may lose bits: less than all that is added for rounding.
    """
    largest = np.maximum(matrices.max(axis=(-2, -1)), -matrices.min(axis=(-2, -1)))
    exponents = np.frexp(largest)[1].astype(np.int64)
    halves = -exponents[..., np.newaxis, np.newaxis] // 2  # the power itself may be beyond a double, its halves are not
    rest = -exponents[..., np.newaxis, np.newaxis] - halves
    return matrices * np.ldexp(1.0, halves) * np.ldexp(1.0, rest), exponents


def scaled_up(bound: float, exponent: int | npt.NDArray[np.int64]) -> float:
    """Return bound 2^exponent, rounded up. Only zero stays zero."""
    if bound == 0:
        return 0.0
    with np.errstate(over="ignore", under="ignore"):
        return float(np.nextafter(np.ldexp(bound, exponent), np.inf))


def _holder_bound(scaled: Array) -> float:
    """Return at least sqrt(||W||_1 ||W||_inf)."""
    magnitudes = np.abs(scaled)
    rows, columns = magnitudes.sum(axis=1).max(), magnitudes.sum(axis=0).max()
    roundings = sum(scaled.shape) + 2  # whatever the order of the sums
    return float(round_up(np.sqrt(rows * columns), roundings=roundings))
