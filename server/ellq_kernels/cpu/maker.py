"""The CPU maker: shares blocks of rows, chunks or weights out to threads and puts the results together."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ellq_kernels.contract import POOL_BYTES_A_WEIGHT
from ellq_kernels.cpu import comparing, cutting, lasso, marking, measuring, pooling, selecting, weighing
from ellq_kernels.cpu.histograms import count_weights, sum_over
from ellq_kernels.cpu.long_rows import LONG, LongRow
from ellq_kernels.cpu.rows import empty_sums, fold_rows, join, tails_of
from ellq_kernels.cpu.sifting import sift
from ellq_kernels.cpu.terms import powers_of
from ellq_kernels.cpu.threads import BLOCKS_A_THREAD, Threads
from ellq_kernels.cpu.units import units_of_row
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
    demand_rank,
    weight_bits,
)
from ellq_kernels.ranks import kth_by_digits
from ellq_kernels.scaling import Scale, scale_down, scale_exponents, unit_scale
from ellq_math.network.weighing import demand_finite_keys
from ellq_math.pools import DIGITS, following_bits, histogram_of
from ellq_math.sums import CHUNK, Array
from ellq_math.values import Counts, Cut, FixedPoints, Histogram, PoolUnits, RowStatistics, Tails

UNSCALED = Scale(np.empty(0), np.empty(0))


class CpuKernels:
    """ellq_kernels.contract.Kernels on the CPU. All methods may be called from several threads at once."""

    name = "cpu"
    device = "cpu"

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = Threads(threads)

    @property
    def scratch_bytes_a_weight(self) -> int:
        """Candidates of a threshold; nothing else grows with the weights."""
        return POOL_BYTES_A_WEIGHT

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
            exponents = scale_exponents(join(weights, largest, np.maximum), weights.dtype)
            scale = scale_down(exponents)
        self._over_chunks(weights, measuring.measure_chunks, powers_of(orders, weights.dtype), scale, sums, largest, zeros)
        return RowStatistics(
            orders=orders,
            sums=fold_rows(weights, sums).T,
            exponents=exponents,
            max_magnitude=join(weights, largest, np.maximum),
            zeros=join(weights, zeros, np.add),
            fan_in=weights.fan_in,
        )

    def unit_totals(self, weights: CpuWeights, fixed: FixedPoints) -> Counts:
        """Add up chunks; integers have no order."""
        demand_one_each(weights, len(fixed))
        totals = np.empty(weights.chunks, np.int64)
        self._over_chunks(weights, measuring.total_chunks, unit_scale(fixed, weights.dtype, upper=False), totals)
        return join(weights, totals, np.add)

    def keep_largest(self, weights: CpuWeights, kept: Counts, *, width: int) -> Cut:
        """Count row by row; sift rows that are long."""
        demand_counts(weights, kept, width=width)
        kept = np.array(kept, np.int64, order="C")
        thresholds, ties = np.empty(kept.shape), np.empty(kept.shape, np.int64)
        if width >= LONG and width == weights.fan_in:
            for row, count in enumerate(kept[:, 0].tolist()):
                thresholds[row, 0], ties[row, 0] = self.kth_largest([weights.row(row)], count)
        else:
            self._over_rows(weights, selecting.largest_rows, kept, width, thresholds, ties)
        return Cut(threshold=thresholds, ties_kept=ties, kept=kept, width=width)

    def keep_within(self, weights: CpuWeights, budgets: Counts, fixed: FixedPoints) -> Cut:
        """Add up row by row; share rows that are long; a weight is as much work as four that are only compared."""
        demand_one_each(weights, len(budgets), len(fixed))
        budgets, units = np.array(budgets, np.int64), unit_scale(fixed, weights.dtype, upper=True)
        shape = (weights.neurons, 1)
        thresholds, ties, kept = np.empty(shape), np.empty(shape, np.int64), np.empty(shape, np.int64)
        if weights.fan_in >= LONG:
            for row, room in enumerate(budgets.tolist()):
                long = LongRow(weights.row(row).bits, weights.format, self._threads, units_of_row(units, row))
                thresholds[row, 0], ties[row, 0], kept[row, 0] = long.choose(room)
        else:
            chosen = thresholds, ties, kept
            self._over_rows(weights, selecting.within_rows, budgets, units, *chosen, weights_each=4 * weights.fan_in)
        return Cut(threshold=thresholds, ties_kept=ties, kept=kept, width=weights.fan_in)

    def histogram(self, weights: CpuWeights, *, level: int, prefix: int, units: PoolUnits | None) -> Histogram:
        """Count blocks of weights and add them up."""
        if units is None:
            return Histogram(weights=count_weights(self._threads, weights, level, prefix), units=None, lower_total=None)
        shift, digit_bits = following_bits(level), DIGITS[level]
        found = sum_over(
            self._threads, weights, pooling.count_units, shift, digit_bits, prefix, units.p, math.ldexp(1.0, units.bits)
        )
        return histogram_of(*found, level=level, p=units.p)

    def kth_largest(self, pool: Sequence[CpuWeights], kept: int) -> tuple[float, int]:
        """Sift the candidates that a sample tells; where it misleads, search digit by digit."""
        demand_rank(pool, kept)
        found = sift(self._threads, pool, kept) if kept > 0 else (math.inf, 0)
        return kth_by_digits(self, pool, kept) if found is None else found

    def cut_at(self, weights: CpuWeights, *, threshold: float, ties_kept: int) -> tuple[Cut, int]:
        """Compare chunks and share out the ties in their order."""
        above, equal = np.empty(weights.chunks, np.int64), np.empty(weights.chunks, np.int64)
        self._over_chunks(weights, cutting.compare_chunks, threshold, above, equal)
        return row_cuts(
            join(weights, above, np.add),
            join(weights, equal, np.add),
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
        exponents = scale_exponents(join(before, largest, np.maximum), before.dtype)
        sums = empty_sums(before)
        self._over_chunks(before, comparing.difference_chunks, after.bits, scale_down(exponents), *sums)
        return tails_of(before, exponents, *sums)

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
        choice = marking.Choice(keys.bits, keys.format, thresholds, ties, cut.width)
        ranges = self._ranges_of_cut(weights, choice)
        exponents, scale = np.zeros(weights.neurons, np.int64), UNSCALED
        if weights.dtype == "F64":
            largest = np.empty(weights.chunks)
            self._over_ranges(weights, ranges, cutting.largest_cut_chunks, choice, largest)
            exponents = scale_exponents(join(weights, largest, np.maximum), weights.dtype)
            scale = scale_down(exponents)
        sums = empty_sums(weights)
        self._over_ranges(weights, ranges, cutting.cut_chunks, choice, erasing, scale, *sums)
        return tails_of(weights, exponents, *sums)

    def _ranges_of_cut(self, weights: CpuWeights, choice: marking.Choice) -> list[tuple[int, int, int]]:
        """Return ranges of chunks, and the ties that the group under way at their start has before them.

        Whole rows where there are enough of them, because then there are no such ties.
        """
        each = weights.chunks // weights.neurons
        if weights.neurons >= self._threads.count * BLOCKS_A_THREAD:
            rows = self._threads.ranges(weights.neurons, weights_each=weights.fan_in)
            return [(first * each, last * each, 0) for first, last in rows]
        ranges = self._threads.ranges(weights.chunks, weights_each=min(weights.fan_in, CHUNK))
        found = self._threads.run(lambda *chunks: marking.ties_at_end(choice, weights.fan_in, *chunks), ranges[:-1])
        seen = [0]
        for ties, began_before in found:
            seen.append(ties + seen[-1] if began_before else ties)
        return [(*chunks, before) for chunks, before in zip(ranges, seen, strict=True)]

    def _over_ranges(
        self, weights: CpuWeights, ranges: list[tuple[int, int, int]], kernel: Callable[..., Any], *arguments: object
    ) -> None:
        """Run kernel(bits, fan_in, format, first, last, seen, *arguments) over ranges of chunks."""
        self._threads.run(lambda *given: kernel(weights.bits, weights.fan_in, weights.format, *given, *arguments), ranges)

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
