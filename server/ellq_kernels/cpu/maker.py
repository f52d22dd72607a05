"""The CPU maker: shares blocks of rows, chunks or weights out to threads and puts the results together."""

import math
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ellq_kernels.cpu import comparing, cutting, lasso, measuring, pooling, selecting, weighing
from ellq_kernels.cpu.terms import powers_of
from ellq_kernels.cpu.threads import Threads
from ellq_kernels.cpu.weights import CpuWeights
from ellq_kernels.cuts import row_cuts
from ellq_kernels.demands import (
    demand_alike,
    demand_counts,
    demand_cut,
    demand_dead,
    demand_factors,
    demand_matrices,
    demand_one_dtype,
    demand_one_each,
    weight_bits,
)
from ellq_kernels.scaling import Scale, scale_down, scale_exponents, unit_scale
from ellq_math.network.weighing import demand_finite_keys
from ellq_math.pools import DIGITS, histogram_of
from ellq_math.sums import CHUNK, Array, canonical_sum
from ellq_math.values import Counts, Cut, FixedPoint, Histogram, PoolUnits, RowStatistics, Tails

UNSCALED = Scale(np.empty(0), np.empty(0))


class CpuKernels:
    """ellq_kernels.contract.Kernels on the CPU. All methods may be called from several threads at once."""

    name = "cpu"
    device = "cpu"

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = Threads(threads)

    @property
    def scratch_bytes_a_weight(self) -> int:
        """Room for selection keys and passing arrays."""
        return 8

    def load(self, payload: bytearray | memoryview, *, dtype: str, neurons: int, fan_in: int) -> CpuWeights:
        """Share the buffer."""
        bits = weight_bits(payload, dtype=dtype, neurons=neurons, fan_in=fan_in)
        return CpuWeights(dtype=dtype, neurons=neurons, fan_in=fan_in, bits=bits)

    def payload(self, weights: CpuWeights) -> memoryview:
        """Share the memory of the weights."""
        return weights.bits.data.cast("B")

    def first_nonfinite(self, weights: CpuWeights) -> int | None:
        """Stop at the first chunk that has one, in every block of chunks."""
        found = self._over_chunks(weights, measuring.first_nonfinite)
        return next((index for index in found if index >= 0), None)

    def measure(self, weights: CpuWeights, orders: tuple[float, ...]) -> RowStatistics:
        """Measure chunks and add them up; F64 takes a pass for its scale first."""
        sums = np.empty((len(orders), weights.chunks))
        largest, zeros = np.empty(weights.chunks), np.empty(weights.chunks, np.int64)
        exponents = np.zeros(weights.neurons, np.int64)
        scale = UNSCALED
        if weights.dtype == "F64":
            self._over_chunks(weights, measuring.largest_magnitudes, largest)
            exponents = scale_exponents(_by_row(weights, largest).max(axis=-1), weights.dtype)
            scale = scale_down(exponents)
        self._over_chunks(weights, measuring.measure_chunks, powers_of(orders), scale, sums, largest, zeros)
        return RowStatistics(
            orders=orders,
            sums=_fold_rows(weights, sums).T.copy(),
            exponents=exponents,
            max_magnitude=_by_row(weights, largest).max(axis=-1),
            zeros=_by_row(weights, zeros).sum(axis=-1),
            fan_in=weights.fan_in,
        )

    def unit_totals(self, weights: CpuWeights, fixed: tuple[FixedPoint, ...]) -> Counts:
        """Add up chunks; integers have no order."""
        demand_one_each(weights, len(fixed))
        totals = np.empty(weights.chunks, np.int64)
        self._over_chunks(weights, measuring.total_chunks, unit_scale(fixed, weights.dtype, upper=False), totals)
        return _by_row(weights, totals).sum(axis=-1)

    def keep_largest(self, weights: CpuWeights, kept: Counts, *, width: int) -> Cut:
        """Descend by digits."""
        demand_counts(weights, kept, width=width)
        kept = np.array(kept, np.int64, order="C")
        thresholds, ties = np.empty(kept.shape), np.empty(kept.shape, np.int64)
        self._over_rows(weights, selecting.largest_rows, kept, width, thresholds, ties)
        return Cut(threshold=thresholds, ties_kept=ties, kept=kept, width=width)

    def keep_within(self, weights: CpuWeights, budgets: Counts, fixed: tuple[FixedPoint, ...]) -> Cut:
        """The same descent over units."""
        demand_one_each(weights, len(budgets), len(fixed))
        budgets = np.array(budgets, np.int64)
        shape = (weights.neurons, 1)
        thresholds, ties, kept = np.empty(shape), np.empty(shape, np.int64), np.empty(shape, np.int64)
        units = unit_scale(fixed, weights.dtype, upper=True)
        self._over_rows(weights, selecting.within_rows, budgets, units, thresholds, ties, kept)
        return Cut(threshold=thresholds, ties_kept=ties, kept=kept, width=weights.fan_in)

    def histogram(self, weights: CpuWeights, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Count blocks of weights and add them up."""
        shift = 63 - sum(DIGITS[: level + 1])
        total = np.zeros((1 if units is None else 3, 1 << DIGITS[level]), np.int64)
        adding = Lock()

        def count(first: int, last: int) -> None:
            bits = weights.bits[first:last]
            if units is None:
                part = pooling.count_digits(bits, weights.format, shift, DIGITS[level], prefix)
            else:
                resolution = math.ldexp(1.0, units.bits)
                part = pooling.count_units(bits, weights.format, shift, DIGITS[level], prefix, units.p, resolution)
            with adding:  # at once, because parts are megabytes
                np.add(total, part, out=total)

        self._threads.over(weights.count, weights_each=1, task=count)
        if units is None:
            return Histogram(weights=total[0], units=None, lower_total=None)
        return histogram_of(*total, level=level, p=units.p)

    def cut_at(self, weights: CpuWeights, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Compare chunks and share out the ties in their order."""
        above, equal = np.empty(weights.chunks, np.int64), np.empty(weights.chunks, np.int64)
        self._over_chunks(weights, cutting.compare_chunks, threshold, above, equal)
        return row_cuts(
            _by_row(weights, above).sum(axis=-1),
            _by_row(weights, equal).sum(axis=-1),
            threshold=threshold,
            ties_kept=ties_kept,
            width=weights.fan_in,
        )

    def apply(self, weights: CpuWeights, cut: Cut, *, keys: CpuWeights | None = None) -> Tails:
        """Cut whole rows, because ties are counted along them."""
        return self._cut(weights, cut, keys=weights if keys is None else keys, erasing=True)

    def tails(self, weights: CpuWeights, cut: Cut) -> Tails:
        """Cut without erasing."""
        return self._cut(weights, cut, keys=weights, erasing=False)

    def weigh(self, weights: CpuWeights, rows: Array, columns: Array) -> CpuWeights:
        """Multiply row by row."""
        rows, columns = demand_factors(weights, rows, columns)
        bits = np.empty(weights.count, np.uint64)
        keys = CpuWeights(dtype="F64", neurons=weights.neurons, fan_in=weights.fan_in, bits=bits, are_keys=True)
        self._over_rows(weights, weighing.weigh_rows, rows, columns, weights.neurons // len(columns), bits)
        demand_finite_keys(self.first_nonfinite(keys), fan_in=weights.fan_in)
        return keys

    def difference(self, before: CpuWeights, after: CpuWeights) -> Tails:
        """Compare chunks; F64 takes a pass for its scale first."""
        demand_alike(before, after)
        demand_one_dtype(before, after)
        largest = np.zeros(before.chunks)
        if before.dtype == "F64":
            self._over_chunks(before, comparing.largest_differences, after.bits, largest)
        exponents = scale_exponents(_by_row(before, largest).max(axis=-1), before.dtype)
        sums = _empty_sums(before)
        self._over_chunks(before, comparing.difference_chunks, after.bits, scale_down(exponents), *sums)
        return _tails_of(before, exponents, *sums)

    def clear_neurons(self, weights: CpuWeights, dead: npt.NDArray[np.bool_]) -> None:
        """Assign."""
        demand_dead(weights, dead)
        weights.bits.reshape(weights.neurons, weights.fan_in)[dead] = 0

    def lasso(self, weights: CpuWeights, matrices: Array, *, epsilon: float) -> Counts:
        """Fit row by row; a row is work for its fan-in, squared, at least."""
        matrices = demand_matrices(weights, matrices, epsilon=epsilon)
        kept = np.empty(weights.neurons, np.int64)
        fitted = (matrices, weights.neurons // len(matrices), epsilon, kept)
        self._over_rows(weights, lasso.lasso_rows, *fitted, weights_each=weights.fan_in**2)
        return kept

    def _cut(self, weights: CpuWeights, cut: Cut, *, keys: CpuWeights, erasing: bool) -> Tails:
        """Cut by the magnitudes of the keys; F64 weights take a pass for their scale first."""
        demand_alike(weights, keys)
        demand_cut(weights, cut)
        thresholds, ties = np.array(cut.threshold, np.float64, order="C"), np.array(cut.ties_kept, np.int64, order="C")
        choice = cutting.Choice(keys.bits, keys.format, thresholds, ties, cut.width)
        largest = np.zeros(weights.neurons)
        if weights.dtype == "F64":
            self._over_rows(weights, cutting.largest_cut_rows, choice, largest)
        exponents = scale_exponents(largest, weights.dtype)
        sums = _empty_sums(weights)
        self._over_rows(weights, cutting.cut_rows, choice, erasing, scale_down(exponents), *sums)
        return _tails_of(weights, exponents, *sums)

    def _over_chunks(self, weights: CpuWeights, kernel: Callable[..., Any], *arguments: object) -> list[Any]:
        """Run kernel(bits, fan_in, format, first, last, *arguments) over ranges of chunks."""
        return self._threads.over(
            weights.chunks,
            weights_each=min(weights.fan_in, CHUNK),
            task=lambda first, last: kernel(weights.bits, weights.fan_in, weights.format, first, last, *arguments),
        )

    def _over_rows(
        self, weights: CpuWeights, kernel: Callable[..., Any], *arguments: object, weights_each: int | None = None
    ) -> list[Any]:
        """Run kernel(bits, fan_in, format, first, last, *arguments) over ranges of rows, each as much work as those weights."""
        return self._threads.over(
            weights.neurons,
            weights_each=weights_each or weights.fan_in,
            task=lambda first, last: kernel(weights.bits, weights.fan_in, weights.format, first, last, *arguments),
        )


def _empty_sums(weights: CpuWeights) -> tuple[Array, Array, Counts]:
    """Return room for the l_1 and squared l_2 sums and the zeros of every chunk."""
    return np.empty(weights.chunks), np.empty(weights.chunks), np.empty(weights.chunks, np.int64)


def _tails_of(weights: CpuWeights, exponents: Counts, l1: Array, l2_squared: Array, zeros: Counts) -> Tails:
    """Return the tails of every row from those of its chunks."""
    return Tails(
        l1=_fold_rows(weights, l1),
        l2_squared=_fold_rows(weights, l2_squared),
        exponents=exponents,
        zeros=_by_row(weights, zeros).sum(axis=-1),
    )


def _by_row(weights: CpuWeights, of_chunks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return what was found in every chunk by row. Shape: (..., chunks) -> (..., neurons, chunks of a row)."""
    return of_chunks.reshape(*of_chunks.shape[:-1], weights.neurons, weights.chunks // weights.neurons)


def _fold_rows(weights: CpuWeights, partial_sums: Array) -> Array:
    """Return the canonical sum of every row from those of its chunks. Shape: (..., chunks) -> (..., neurons)."""
    by_row = _by_row(weights, partial_sums)
    return by_row[..., 0] if by_row.shape[-1] == 1 else canonical_sum(by_row)
