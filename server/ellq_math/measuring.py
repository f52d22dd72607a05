"""What measuring, choosing and cutting mean, in plain numpy.

The definition that every kernel maker is tested against, and what a receiver verifies a certificate with. Rows are float64
magnitudes, exact values of whatever dtype was stored; `scale` is true for F64 (see RowStatistics).
"""

import numpy as np
import numpy.typing as npt

from ellq_math.powers import power
from ellq_math.sums import Array, canonical_sum
from ellq_math.values import Counts, Cut, FixedPoint, FixedPoints, RowStatistics, Tails

Mask = npt.NDArray[np.bool_]


def measure(magnitudes: Array, orders: tuple[float, ...], *, scale: bool) -> RowStatistics:
    """Return the statistics of every row. Shape: (rows, fan_in), non-negative and finite, fan_in at least 1."""
    largest = magnitudes.max(axis=1)
    scaled, exponents = _scaled(magnitudes, largest, scale=scale)
    sums = [canonical_sum(power(scaled, order)) for order in orders]
    return RowStatistics(
        orders=orders,
        sums=np.stack(sums, axis=1) if sums else np.zeros((len(magnitudes), 0)),
        exponents=exponents,
        max_magnitude=largest,
        zeros=(magnitudes == 0).sum(axis=1),
        fan_in=magnitudes.shape[1],
    )


def tails(magnitudes: Array, cut_away: Mask, *, scale: bool) -> Tails:
    """Return what a cut removes from every neuron. Shape: both (neurons, fan_in); `cut_away` is true for what goes."""
    removed = np.where(cut_away, magnitudes, 0.0)
    scaled, exponents = _scaled(removed, removed.max(axis=1), scale=scale)
    return Tails(
        l1=canonical_sum(scaled),
        l2_squared=canonical_sum(scaled * scaled),
        exponents=exponents,
        zeros=(cut_away | (magnitudes == 0)).sum(axis=1),
    )


def difference(before: Array, after: Array, *, scale: bool) -> Tails:
    """Return what a change removed from every neuron; see ellq_kernels.contract. Shape: both (neurons, fan_in), signed, finite.

    A difference is exact where nothing is left and where nothing changed. Any other is moved to the next double above.
    """
    with np.errstate(over="ignore"):
        gaps = np.abs(before - after)
        gaps = np.where((after == 0) | (gaps == 0), gaps, np.nextafter(gaps, np.inf))
    scaled, exponents = _scaled(gaps, np.minimum(gaps.max(axis=1), np.finfo(np.float64).max), scale=scale)
    return Tails(
        l1=canonical_sum(scaled),
        l2_squared=canonical_sum(scaled * scaled),
        exponents=exponents,
        zeros=(after == 0).sum(axis=1),
    )


def fixed_units(magnitudes: Array, fixed: FixedPoint, *, inexact_square: bool) -> tuple[Counts, Counts]:
    """Return the fixed-point units of every weight, rounded up and rounded down. Shape: any -> twice the same, int64.

    `inexact_square` is true for F64: a rounded square is off by at most half an ulp, and a factor of 1 +- 2^-52 moves it by at
    least a whole one.
    """
    scaled = np.ldexp(magnitudes, -fixed.exponent)
    above = below = scaled if fixed.p == 1 else scaled * scaled
    if fixed.p == 2 and inexact_square:
        above, below = above * (1 + 2.0**-52), below * (1 - 2.0**-52)
    upper = np.ceil(np.ldexp(above, fixed.bits)).astype(np.int64)
    lower = np.floor(np.ldexp(below, fixed.bits)).astype(np.int64)
    return np.where(magnitudes > 0, np.maximum(upper, 1), 0), lower


def keep_largest(magnitudes: Array, kept: Counts, *, width: int) -> Cut:
    """Return the cut that keeps the `kept` largest of every group.

    Shape: magnitudes (rows, fan_in); kept (rows, groups) for groups of `width` <= fan_in, 0 <= kept <= group length.
    """
    groups = _grouped(magnitudes, width=width, padding=-1.0)  # below every magnitude, so never kept
    descending = -np.sort(-groups, axis=-1)
    last = np.take_along_axis(descending, np.maximum(kept - 1, 0)[..., np.newaxis], axis=-1)[..., 0]
    threshold = np.where(kept > 0, last, np.inf)
    above = (groups > threshold[..., np.newaxis]).sum(axis=-1)
    return Cut(threshold=threshold, ties_kept=kept - above, kept=kept, width=width)


def keep_within(magnitudes: Array, budgets: Counts, fixed: FixedPoints, *, inexact_square: bool) -> Cut:
    """Return the cut that removes the most weights, smallest first, whose units fit the budget.

    Shape: magnitudes (rows, fan_in), budgets (rows,).
    """
    ascending = np.sort(magnitudes, axis=1)
    units = [fixed_units(row, point, inexact_square=inexact_square)[0] for row, point in zip(ascending, fixed, strict=True)]
    removed = (np.cumsum(units, axis=1) <= budgets[:, np.newaxis]).sum(axis=1)
    fan_in = magnitudes.shape[1]
    return keep_largest(magnitudes, (fan_in - removed)[:, np.newaxis], width=fan_in)


def cut_mask(magnitudes: Array, cut: Cut) -> Mask:
    """Return which weights a cut removes. Shape: (rows, fan_in) -> the same, bool."""
    groups = _grouped(magnitudes, width=cut.width, padding=-1.0)
    threshold = cut.threshold[..., np.newaxis]
    ties = groups == threshold
    stays = (groups > threshold) | (ties & (ties.cumsum(axis=-1) <= cut.ties_kept[..., np.newaxis]))
    rows, fan_in = magnitudes.shape
    return ~stays.reshape(rows, -1)[:, :fan_in]


def _scaled(magnitudes: Array, largest: Array, *, scale: bool) -> tuple[Array, Counts]:
    """Return the magnitudes times 2^-exponent, rounded once where they fall below 2^-1022, and the exponents."""
    if not scale:
        return magnitudes, np.zeros(len(magnitudes), dtype=np.int64)
    exponents = np.frexp(largest)[1].astype(np.int64)
    return np.ldexp(magnitudes, -exponents[:, np.newaxis]), exponents


def _grouped(magnitudes: Array, *, width: int, padding: float) -> Array:
    """Return the weights in groups. Shape: (rows, fan_in) -> (rows, groups, width)."""
    rows, fan_in = magnitudes.shape
    groups = -(-fan_in // width)
    padded = np.full((rows, groups * width), padding)
    padded[:, :fan_in] = magnitudes
    return padded.reshape(rows, groups, width)
