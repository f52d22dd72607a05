"""Rules of global scope: one threshold over all weights, found in one pass when they fit in memory, else through sketches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ellq_kernels.contract import Weights
from ellq_math.allocation import pool_target
from ellq_math.pooling import pool, with_orders
from ellq_math.pools import START, Contradiction, Descent, Threshold, bins_are_single, descend, merge
from ellq_math.rules import PoolRule
from ellq_math.sums import Array
from ellq_math.values import Histogram, PoolUnits, RowStatistics
from ellq_server.plausibility import digit_of, unit_power
from ellq_server.requests import Request
from ellq_server.sketches import Sketch, invalid_sketch, sketch_orders
from ellq_server.thresholds import find_threshold
from ellq_server.workbench import Choice, Magnitudes, Measured, Workbench


class PooledCut:
    """Applies one threshold to tensor after tensor; the ties that may stay are used up in offset order."""

    def __init__(self, threshold: Threshold) -> None:
        """Begin before the first tensor."""
        self._magnitude = threshold.magnitude
        self._ties_left = threshold.ties_kept

    def choose(self, bench: Workbench, measured: Measured) -> Choice:
        """Return the choice for the next tensor in offset order, by what selection works on."""
        with bench.stopwatch("choose"):
            choice = self.choose_by(bench, measured.selected.handle)
        return choice if measured.weighed else replace(choice, keys=None)

    def choose_by(self, bench: Workbench, keys: Weights) -> Choice:
        """Return the choice for the next tensor in offset order, by these keys."""
        cut, ties = bench.kernels.cut_at(keys, threshold=self._magnitude, ties_kept=self._ties_left)
        self._ties_left -= ties
        return Choice(cut, keys=keys)


def threshold_in_memory(bench: Workbench, tensors: Sequence[Measured], rule: PoolRule) -> Threshold:
    """Return the threshold over tensors that are all at hand; `tensors` is not empty."""
    with bench.stopwatch("choose"):
        stats = pool([measured.selected.layer for measured in tensors])
        target = pool_target(rule, stats, ignore_zeros=bench.request.ignore_zeros)
        return find_threshold(bench.kernels, [measured.selected.handle for measured in tensors], target)


def threshold_of_sketch(sketch: Sketch, rule: PoolRule, *, ignore_zeros: bool) -> Threshold:
    """Return the threshold that a final sketch tells, with the ties that are left for this stream.

    Errors: InvalidRequest (INVALID_SKETCH) when it tells none.
    """
    found = _next_step(sketch, rule, ignore_zeros=ignore_zeros)
    if isinstance(found, Descent):
        raise invalid_sketch("its bins do not hold single magnitudes, although it says that it is final")
    if sketch.weights_before is None or not math.isfinite(found.magnitude):
        return found
    digit = digit_of(found.magnitude, level=sketch.descent.level)
    return replace(found, ties_kept=max(found.ties_kept - int(sketch.weights_before[digit]), 0))


@dataclass(frozen=True)
class _Pass:
    """What one pass over the weights looks at."""

    descent: Descent
    units: PoolUnits | None
    previous: Sketch | None
    settled: bool = False
    """Nothing is kept, which is known before bins hold single magnitudes."""


class SketchBuilder:
    """Gathers the sketch of one pass, tensor by tensor."""

    def __init__(self, request: Request, rule: PoolRule) -> None:
        """Decide what to look at from the pass before. Errors: InvalidRequest (INVALID_SKETCH)."""
        self._request = request
        self._rule = rule
        self._orders = sketch_orders(request.indices, rule)
        self._pass = _plan_pass(request.sketch, rule, ignore_zeros=request.ignore_zeros)
        self._layers: list[RowStatistics] = []
        self._mantissa_bits = 0
        self._weights = 0
        self._histogram: Histogram | None = None
        self.sensitivities = dict(request.sketch.sensitivities) if request.sketch else dict[str, Array]()
        """What an error budget goes by, for the sketch to hand on. Shape: (neurons,) each."""

    def add(self, bench: Workbench, by: Magnitudes) -> None:
        """Look at one more tensor, at what selection works on. Errors: InvalidRequest (INVALID_SKETCH)."""
        self._weights += by.layer.fan_in
        if self._pass.previous and self._weights > self._pass.previous.weights:
            raise invalid_sketch(f"it counts {self._pass.previous.weights} weights, this stream alone has more")
        descent, units = self._pass.descent, self._pass.units
        with bench.stopwatch("choose"):
            counted = bench.kernels.histogram(by.handle, level=descent.level, prefix=descent.prefix, units=units)
        self._histogram = counted if self._histogram is None else merge(self._histogram, counted)
        self._layers.append(with_orders(by.layer, self._orders))
        self._mantissa_bits = max(self._mantissa_bits, by.handle.mantissa_bits)

    def build(self) -> Sketch | None:
        """Return the sketch; None when there was no weight to look at."""
        if self._histogram is None:
            return None
        previous, descent = self._pass.previous, self._pass.descent
        mantissa_bits = previous.mantissa_bits if previous else self._mantissa_bits
        single = bins_are_single(descent.level, mantissa_bits=mantissa_bits)
        counted_all = (self._pass.units is not None) == (unit_power(self._rule) is not None)
        return Sketch(
            options_sha256=self._request.options_sha256,
            stats=previous.stats if previous else pool(self._layers),
            mantissa_bits=mantissa_bits,
            descent=descent,
            histogram=self._histogram,
            final=self._pass.settled or (single and counted_all),
            sensitivities=self.sensitivities,
        )


def _plan_pass(previous: Sketch | None, rule: PoolRule, *, ignore_zeros: bool) -> _Pass:
    if previous is None:
        return _Pass(START, units=None, previous=None)
    if previous.final:
        raise invalid_sketch("it is final already: hand it to Compress")
    units = pool_target(rule, previous.stats, ignore_zeros=ignore_zeros).units
    if units is not None and not previous.counts_units:
        return _Pass(START, units, previous)
    step = _next_step(previous, rule, ignore_zeros=ignore_zeros)
    if isinstance(step, Threshold):
        return _Pass(previous.descent, units, previous, settled=True)
    return _Pass(step, units, previous)


def _next_step(sketch: Sketch, rule: PoolRule, *, ignore_zeros: bool) -> Descent | Threshold:
    target = pool_target(rule, sketch.stats, ignore_zeros=ignore_zeros)
    try:
        return descend(sketch.descent, sketch.histogram, target, mantissa_bits=sketch.mantissa_bits)
    except Contradiction as error:
        raise invalid_sketch(f"its histogram is not the one that was asked for: {error}") from error
