"""How the weights of a tensor are distributed. Descriptive, apart from the spectral bounds, which are rigorous."""

from dataclasses import dataclass

import numpy as np

from ellq_math.spectral import gram_bound
from ellq_math.sums import Array, canonical_sum, round_down, round_up, sum_roundings

TAIL_CURVE_AT = (0.01, 0.05, 0.1, 0.25, 0.5)
"""Shares kappa of the weights that are kept, for the tail curve."""

GRAM_SIDE = 512
"""Up to this many rows or columns, Gram iteration joins the spectral bounds; beyond, it would take longer than all else."""

STABLE_INDEX_BLOCKS = (2, 5, 10, 20, 50, 100, 500, 1000)
"""Block lengths over which the tail index compares the growth of sums."""


@dataclass(frozen=True)
class Distribution:
    """The shape of a tensor's weights, all of them as one row."""

    gini: float
    """Gini index of the magnitudes, in [0, 1)."""
    excess_kurtosis: float | None
    """0 for a Gaussian. None: the weights are all equal."""
    tail_index: float | None
    """Stable index alpha in (0, 2]. None: too few weights, or all equal."""
    tail_curve: tuple[float, ...]
    """||w - w_(kappa d)||_2 / ||w||_2 at TAIL_CURVE_AT. Empty for a zero tensor."""
    spectral_norm_bound: float
    """At least ||W||_2: the least of Frobenius, sqrt(||W||_1 ||W||_inf) and Gram iteration; infinity beyond a double."""
    stable_rank_floor: float
    """At most ||W||_F^2 / ||W||_2^2. 0 for a zero tensor."""


def describe(weights: Array) -> Distribution:
    """Return the distribution of a tensor. Shape: (neurons, fan_in) float64, finite."""
    exponent = int(np.frexp(np.abs(weights).max())[1])
    scaled = np.ldexp(weights, -exponent)  # no power of a scaled weight overflows
    ascending = np.sort(np.abs(scaled), axis=None)
    norm_bound, rank_floor = _spectral_bounds(scaled)
    with np.errstate(over="ignore"):
        spectral_norm_bound = float(np.nextafter(np.ldexp(norm_bound, exponent), np.inf)) if norm_bound else 0.0
    return Distribution(
        gini=gini(ascending),
        excess_kurtosis=excess_kurtosis(scaled.ravel()),
        tail_index=tail_index(scaled.ravel()),
        tail_curve=tail_curve(ascending),
        spectral_norm_bound=spectral_norm_bound,
        stable_rank_floor=rank_floor,
    )


def gini(ascending: Array) -> float:
    """Return the Gini index of sorted magnitudes: 0 when all are equal (or zero), near 1 when one holds everything."""
    count = len(ascending)
    total = ascending.sum()
    if total == 0:
        return 0.0
    ranks = 2.0 * np.arange(1, count + 1) - count - 1
    return max(float((ranks * ascending).sum() / (count * total)), 0.0)


def excess_kurtosis(weights: Array) -> float | None:
    """Return m4 / m2^2 - 3 of the central moments; None when the weights are all equal."""
    if weights.min() == weights.max():
        return None
    centred = weights - weights.mean()
    centred /= np.abs(centred).max()  # a spread of 1e-160 has a square, but no fourth power
    squares = centred * centred
    return float((squares * squares).mean() / squares.mean() ** 2 - 3)


def tail_index(weights: Array) -> float | None:
    """Return the stable index alpha of a sequence of weights: 2 Gaussian, 1 Cauchy. None when it is undefined.

    Sums of K alpha-stable numbers grow like K^(1/alpha), so 1/alpha = (mean log|sums of K| - mean log|weights|) / log K, after
    centring by the median; the median of 1/alpha over K, alpha capped at 2. Exact zeros have no log and are left out of both
    means. Undefined when no block length divides the count (a prime count) or nothing but zeros is left.
    Source: Mohammadi, Mohammadpour, Ogata, Metrika 78 (2015); block lengths as in Barsbey et al., NeurIPS 2021.
    """
    centred = weights - np.median(weights)
    own = _mean_log(centred)
    inverses: list[float] = []
    for block in _block_lengths(len(centred)):
        summed = _mean_log(centred.reshape(-1, block).sum(axis=1))
        if own is not None and summed is not None:
            inverses.append((summed - own) / float(np.log(block)))
    return 1 / max(float(np.median(inverses)), 0.5) if inverses else None


def tail_curve(ascending: Array) -> tuple[float, ...]:
    """Return the share of the l_2 norm outside the floor(kappa d) largest of sorted magnitudes; empty when all are zero."""
    energy = np.concatenate([[0.0], np.cumsum(ascending * ascending)])
    if energy[-1] == 0:
        return ()
    count = len(ascending)
    return tuple(float(np.sqrt(energy[count - int(kappa * count)] / energy[-1])) for kappa in TAIL_CURVE_AT)


def _mean_log(values: Array) -> float | None:
    """Return the mean of log|v| over the non-zero values; None when there are none."""
    nonzero = np.abs(values[values != 0])
    return float(np.log(nonzero).mean()) if len(nonzero) else None


def _block_lengths(count: int) -> list[int]:
    """Return the block lengths up to half the count, lowered to its divisors, and the largest divisor up to its root."""
    small = [length for length in range(1, int(np.sqrt(count)) + 1) if count % length == 0]
    divisors = sorted({*small, *(count // length for length in small)})
    lengths = {max(x for x in divisors if x <= wanted) for wanted in STABLE_INDEX_BLOCKS if wanted <= count / 2}
    return sorted((lengths | {small[-1]}) - {1})


def _spectral_bounds(scaled: Array) -> tuple[float, float]:
    """Return an upper bound of ||W||_2 and a lower bound of the stable rank, from W scaled below 1."""
    neurons, fan_in = scaled.shape
    magnitudes = np.abs(scaled)
    roundings = sum_roundings(fan_in) + sum_roundings(neurons) + 3  # and a square, its underflow, a root
    squares = canonical_sum(canonical_sum(magnitudes * magnitudes))
    if squares == 0:
        return 0.0, 0.0
    rows, columns = canonical_sum(magnitudes).max(), canonical_sum(magnitudes.T).max()
    holder = np.sqrt(rows * columns)
    bound = float(round_up(np.minimum(np.sqrt(squares), holder), roundings=roundings))
    if 1 < min(neurons, fan_in) <= GRAM_SIDE:
        bound = min(bound, float(gram_bound(scaled)))
    floor = float(round_down(squares / (bound * bound), roundings=roundings + 2))
    return bound, max(floor, 1.0)  # ||W||_2 <= ||W||_F always
