"""Rules of global scope: one threshold over all weights, found in one pass when they fit in memory, else through sketches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ellq_kernels.contract import Kernels
from ellq_math.allocation import allocate, fixed_points, tail_budgets
from ellq_math.dtypes import WEIGHT_DTYPES
from ellq_math.indices import log_power_sum
from ellq_math.pooling import from_logs, pool
from ellq_math.pools import START, Descent, KeepCount, KeepWithin, Target, Threshold, bins_are_single, descend, merge
from ellq_math.rules import Rule, Tail
from ellq_math.values import FixedPoint, Histogram, RowStatistics
from ellq_server.refusals import InvalidRequest
from ellq_server.requests import Request
from ellq_server.sentence import Choice, Measured, Workbench
from ellq_server.sketches import Sketch


class PooledCut:
    """Applies one threshold to tensor after tensor; the ties that may stay are used up in offset order."""

    def __init__(self, threshold: Threshold) -> None:
        """Begin before the first tensor."""
        self._magnitude = threshold.magnitude
        self._ties_left = threshold.ties_kept

    def choose(self, bench: Workbench, measured: Measured) -> Choice:
        """Return the choice for the next tensor in offset order."""
        with bench.stopwatch("choose"):
            cut, ties = bench.kernels.cut_at(measured.weights, threshold=self._magnitude, ties_kept=self._ties_left)
        self._ties_left -= ties
        return Choice(cut)


def threshold_in_memory(bench: Workbench, tensors: Sequence[Measured], rule: Rule) -> Threshold:
    """Return the threshold over tensors that are all at hand; `tensors` is not empty."""
    with bench.stopwatch("choose"):
        stats = pool([measured.layer for measured in tensors])
        fixed = fixed_points(rule, stats)[0] if isinstance(rule, Tail) else None
        unit_total = 0 if fixed is None else sum(_unit_total(bench.kernels, measured, fixed) for measured in tensors)
        target = _target(rule, stats, unit_total, ignore_zeros=bench.request.ignore_zeros)
        mantissa_bits = max(_mantissa_bits(measured) for measured in tensors)
        step: Descent | Threshold = START
        while isinstance(step, Descent):
            counted = [_histogram(bench.kernels, measured, step, fixed) for measured in tensors]
            step = descend(step, _merged(counted), target, mantissa_bits=mantissa_bits)
        return step


def threshold_of_sketch(sketch: Sketch, rule: Rule, *, ignore_zeros: bool) -> Threshold:
    """Return the threshold that a final sketch tells. Errors: InvalidRequest (INVALID_SKETCH) when it tells none."""
    found = _next_step(sketch, rule, ignore_zeros=ignore_zeros)
    if isinstance(found, Descent):
        raise _invalid("its bins do not hold single magnitudes, although it says that it is final")
    return found


@dataclass(frozen=True)
class _Pass:
    """What one pass over the weights looks at."""

    descent: Descent
    fixed: FixedPoint | None
    previous: Sketch | None
    settled: bool = False
    """Nothing is kept, which is known before bins hold single magnitudes."""


class SketchBuilder:
    """Gathers the sketch of one pass, tensor by tensor."""

    def __init__(self, request: Request, rule: Rule) -> None:
        """Decide what to look at from the pass before. Errors: InvalidRequest (INVALID_SKETCH)."""
        self._request = request
        self._rule = rule
        self._pass = _plan_pass(request.sketch, rule, ignore_zeros=request.ignore_zeros)
        self._layers: list[RowStatistics] = []
        self._mantissa_bits = 0
        self._unit_total = 0
        self._histogram: Histogram | None = None

    def add(self, bench: Workbench, measured: Measured) -> None:
        """Look at one more tensor."""
        with bench.stopwatch("choose"):
            counted = _histogram(bench.kernels, measured, self._pass.descent, self._pass.fixed)
            if self._pass.fixed is not None and self._pass.descent.level == 0:
                self._unit_total += _unit_total(bench.kernels, measured, self._pass.fixed)
        self._histogram = counted if self._histogram is None else merge(self._histogram, counted)
        self._layers.append(measured.layer)
        self._mantissa_bits = max(self._mantissa_bits, _mantissa_bits(measured))

    def build(self) -> Sketch | None:
        """Return the sketch; None when there was no weight to look at."""
        if self._histogram is None:
            return None
        previous, descent = self._pass.previous, self._pass.descent
        counts_units = self._pass.fixed is not None
        mantissa_bits = previous.mantissa_bits if previous else self._mantissa_bits
        single = bins_are_single(descent.level, mantissa_bits=mantissa_bits)
        gathered = {
            "descent": descent,
            "histogram": self._histogram,
            "counts_units": counts_units,
            "final": self._pass.settled or (single and counts_units == isinstance(self._rule, Tail)),
            "unit_total": previous.unit_total if previous and previous.counts_units else self._unit_total,
        }
        if previous is not None:
            return replace(previous, **gathered)
        stats = pool(self._layers)
        return Sketch(
            options_sha256=self._request.options_sha256,
            weights=stats.fan_in,
            zeros=int(stats.zeros[0]),
            max_magnitude=float(stats.max_magnitude[0]),
            log_sums=tuple((order, float(log_power_sum(stats, order)[0])) for order in stats.orders),
            mantissa_bits=mantissa_bits,
            **gathered,
        )


def _plan_pass(previous: Sketch | None, rule: Rule, *, ignore_zeros: bool) -> _Pass:
    if previous is None:
        return _Pass(START, fixed=None, previous=None)
    if previous.final:
        raise _invalid("it is final already: hand it to Compress")
    fixed = fixed_points(rule, _statistics(previous))[0] if isinstance(rule, Tail) else None
    if fixed is not None and not previous.counts_units:
        return _Pass(START, fixed, previous)
    step = _next_step(previous, rule, ignore_zeros=ignore_zeros)
    if isinstance(step, Threshold):
        return _Pass(previous.descent, fixed, previous, settled=True)
    return _Pass(step, fixed, previous)


def _next_step(sketch: Sketch, rule: Rule, *, ignore_zeros: bool) -> Descent | Threshold:
    if isinstance(rule, Tail) and not sketch.counts_units:
        raise _invalid("it counts no units, which the tail rule needs")
    target = _target(rule, _statistics(sketch), sketch.unit_total, ignore_zeros=ignore_zeros)
    return descend(sketch.descent, sketch.histogram, target, mantissa_bits=sketch.mantissa_bits)


def _target(rule: Rule, stats: RowStatistics, unit_total: int, *, ignore_zeros: bool) -> Target:
    if isinstance(rule, Tail):
        budget = tail_budgets(rule, np.array([unit_total]))
        return KeepWithin(budget=int(budget[0]), weights=stats.fan_in)
    allocation = allocate(rule, stats, ignore_zeros=ignore_zeros)
    return KeepCount(kept=int(allocation.kept[0, 0]), weights=stats.fan_in)


def _statistics(sketch: Sketch) -> RowStatistics:
    return from_logs(dict(sketch.log_sums), max_magnitude=sketch.max_magnitude, zeros=sketch.zeros, weights=sketch.weights)


def _histogram(kernels: Kernels, measured: Measured, descent: Descent, fixed: FixedPoint | None) -> Histogram:
    return kernels.histogram(measured.weights, level=descent.level, prefix=descent.prefix, fixed=fixed)


def _merged(counted: Sequence[Histogram]) -> Histogram:
    found = counted[0]
    for one in counted[1:]:
        found = merge(found, one)
    return found


def _unit_total(kernels: Kernels, measured: Measured, fixed: FixedPoint) -> int:
    return int(kernels.unit_totals(measured.weights, (fixed,))[0])


def _mantissa_bits(measured: Measured) -> int:
    return WEIGHT_DTYPES[measured.plan.entry.dtype].mantissa_bits


def _invalid(what: str) -> InvalidRequest:
    return InvalidRequest(f"options.sketch: {what}", reason="INVALID_SKETCH", field="options.sketch")
