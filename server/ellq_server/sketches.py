"""What Analyze hands out so that a rule of global scope can be carried from pass to pass, by a server that keeps nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_math.pools import DIGITS, Descent
from ellq_math.rules import ErrorBudget, IndexOrders, Rule, orders_for
from ellq_math.sums import Array
from ellq_math.values import Counts, Histogram, RowStatistics
from ellq_server.plausibility import complaints_about, unit_power
from ellq_server.refusals import InvalidRequest, shorten

MOST_WEIGHTS = 2**48
"""Weights of a sketch: leaves 12 bits to units, and every sum an int64."""

MOST_NEURONS = 2**18
"""Neurons whose sensitivities a sketch carries: 2 MiB of a message, which has 4."""

MOST_WHOLE_UNITS = 2**4151
"""Above every sum of whole units: 2^61 of them in one exponent field, 2^4090 in each at most (p = 2)."""

_MOST_UNIT_BYTES = MOST_WHOLE_UNITS.bit_length() // 8
"""As many bytes hold every smaller number: longer ones are refused before they are made into integers."""


@dataclass(frozen=True)
class Sketch:
    """Merged statistics of all weights that a rule of global scope counts, and one histogram of their magnitudes."""

    options_sha256: bytes
    stats: RowStatistics
    """All weights as one row."""
    mantissa_bits: int
    descent: Descent
    histogram: Histogram
    final: bool
    sensitivities: Mapping[str, Array] = field(default_factory=dict[str, Array])
    """What an error budget goes by, by tensor: (neurons,) each. Empty for other rules."""
    weights_before: Counts | None = None
    """Of the histogram's weights, those in shards before this stream. Shape: that of the bins. None: there are none."""

    @property
    def weights(self) -> int:
        """Weights counted."""
        return self.stats.fan_in

    @property
    def total_before(self) -> int:
        """Weights of the histogram in shards before this stream."""
        return 0 if self.weights_before is None else int(self.weights_before.sum())

    @property
    def counts_units(self) -> bool:
        """Whether the histogram counts units."""
        return self.histogram.units is not None


def sketch_orders(indices: IndexOrders, rule: Rule) -> tuple[float, ...]:
    """Return the orders of the power sums in a sketch, ascending."""
    return tuple(sorted({*indices.orders, *orders_for(rule)}))


def sketch_to_wire(sketch: Sketch) -> pb.Sketch:
    """Return the sketch as a message; only non-empty bins travel."""
    stats, descent, histogram = sketch.stats, sketch.descent, sketch.histogram
    filled = np.flatnonzero(histogram.weights)
    unit_total = descent.unit_total if histogram.lower_total is None else histogram.lower_total
    return pb.Sketch(
        options_sha256=sketch.options_sha256,
        weights=stats.fan_in,
        zeros=int(stats.zeros[0]),
        max_magnitude=float(stats.max_magnitude[0]),
        exponent=int(stats.exponents[0]),
        power_sums=[
            pb.PowerSum(order=order, sum=total) for order, total in zip(stats.orders, stats.sums[0].tolist(), strict=True)
        ],
        mantissa_bits=sketch.mantissa_bits,
        level=descent.level,
        prefix=descent.prefix,
        weights_below=descent.weights_below,
        bins=pb.Bins(
            digits=filled.tolist(),
            weights=histogram.weights[filled].tolist(),
            units=None if histogram.units is None else histogram.units[filled].tolist(),
        ),
        counts_units=sketch.counts_units,
        units_below=_to_bytes(descent.units_below),
        unit_total=_to_bytes(unit_total),
        final=sketch.final,
        sensitivities=[pb.Sensitivities(tensor=name, neurons=felt) for name, felt in sketch.sensitivities.items()],
    )


def sketch_from_wire(
    wire: pb.Sketch, rule: Rule, orders: tuple[float, ...], options_sha256: bytes, *, must_be_final: bool
) -> Sketch:
    """Return the sketch that a caller sent back; `orders` are those of `sketch_orders`.

    Errors: InvalidRequest (INVALID_SKETCH) when it belongs to other options, is not final where it must be, or contradicts
    itself or the rule.
    """
    if wire.options_sha256 != options_sha256:
        raise invalid_sketch(
            "it belongs to other options (selection, indices, rule, nonfinite and ignore_zeros must be the same)"
        )
    if must_be_final and not wire.final:
        raise invalid_sketch("it is not final: call Analyze with it once more")
    if tuple(one.order for one in wire.power_sums) != orders:
        raise _contradictory(f"its power sums are not of the orders {', '.join(map(str, orders))}")
    if not (0 < wire.weights <= MOST_WEIGHTS and wire.zeros <= wire.weights and -1073 <= wire.exponent <= 1024):
        raise _contradictory("its weights, zeros or exponent are out of range")
    if wire.level >= len(DIGITS) or wire.prefix >= 2 ** sum(DIGITS[: wire.level]) or wire.weights_below > wire.weights:
        raise _contradictory("its level, prefix or weights_below are out of range")
    if wire.bins.weights_before and (isinstance(rule, ErrorBudget) or not must_be_final):
        raise _contradictory("it has weights_before, which are for Compress alone, and not for an error budget")
    sketch = Sketch(
        options_sha256=wire.options_sha256,
        stats=RowStatistics(
            orders=orders,
            sums=np.array([[one.sum for one in wire.power_sums]]),
            exponents=np.array([wire.exponent]),
            max_magnitude=np.array([wire.max_magnitude]),
            zeros=np.array([wire.zeros]),
            fan_in=wire.weights,
        ),
        mantissa_bits=wire.mantissa_bits,
        descent=_descent(wire),
        histogram=_histogram(wire),
        final=wire.final,
        sensitivities=_sensitivities(wire, rule),
        weights_before=_weights_before(wire),
    )
    for complaint in complaints_about(sketch.stats, sketch.descent, sketch.histogram, rule, sketch.mantissa_bits):
        raise _contradictory(complaint)
    if wire.final and sketch.counts_units != (unit_power(rule) is not None):
        raise _contradictory("it is final, although it lacks units")
    return sketch


def _sensitivities(wire: pb.Sketch, rule: Rule) -> dict[str, Array]:
    found = {one.tensor: np.array(one.neurons, np.float64) for one in wire.sensitivities}
    if bool(found) != isinstance(rule, ErrorBudget):
        raise _contradictory("it has sensitivities, or has none, although its rule is no error budget, or is one")
    if len(found) != len(wire.sensitivities):
        raise _contradictory("it has sensitivities of a tensor twice")
    for name, felt in found.items():
        if not (np.isfinite(felt) & (felt >= 0)).all():
            raise _contradictory(f"sensitivities of tensor {shorten(repr(name))} are not finite, or below 0")
    return found


def _descent(wire: pb.Sketch) -> Descent:
    unit_total = _from_bytes(wire.unit_total) if wire.level else 0
    return Descent(wire.level, wire.prefix, wire.weights_below, _from_bytes(wire.units_below), unit_total)


def _histogram(wire: pb.Sketch) -> Histogram:
    """Return the histogram as arrays that are safe to add up. One at a time in Python would hold up the event loop."""
    digits = np.array(wire.bins.digits, np.int64)
    weights = np.array(wire.bins.weights, np.uint64)
    units = np.array(wire.bins.units, np.uint64)
    if len(weights) != len(digits) or len(units) != (len(digits) if wire.counts_units else 0):
        raise _contradictory("the lists of its bins differ in length")
    if len(digits) == 0 or digits[-1] >= 2 ** DIGITS[wire.level] or (np.diff(digits) <= 0).any():
        raise _contradictory("its digits do not ascend, or are none")
    if weights.min() == 0 or sum(wire.bins.weights) > wire.weights - wire.weights_below:
        raise _contradictory("its bins are empty, or hold more weights than there are")
    if wire.counts_units and units.max() >= 2**61:
        raise _contradictory("its units are out of range")
    if not wire.counts_units:
        if wire.unit_total:
            raise _contradictory("it has a unit_total without units")
        return Histogram(weights=_spread(digits, weights, wire.level), units=None, lower_total=None)
    lower_total = None if wire.level else _from_bytes(wire.unit_total)
    return Histogram(_spread(digits, weights, wire.level), _spread(digits, units, wire.level), lower_total)


def _weights_before(wire: pb.Sketch) -> Counts | None:
    before = np.array(wire.bins.weights_before, np.uint64)
    if len(before) == 0:
        return None
    if len(before) != len(wire.bins.digits) or (before > np.array(wire.bins.weights, np.uint64)).any():
        raise _contradictory("its weights_before are not one for each bin, or more than the bin holds")
    return _spread(np.array(wire.bins.digits, np.int64), before, wire.level)


def _spread(digits: Counts, values: np.ndarray, level: int) -> Counts:
    spread = np.zeros(2 ** DIGITS[level], np.int64)
    spread[digits] = values
    return spread


def _to_bytes(units: int) -> bytes:
    return units.to_bytes(-(-units.bit_length() // 8), "big")


def _from_bytes(units: bytes) -> int:
    if len(units) > _MOST_UNIT_BYTES or (found := int.from_bytes(units, "big")) >= MOST_WHOLE_UNITS:
        raise _contradictory("its sums of units are out of range")
    return found


def _contradictory(what: str) -> InvalidRequest:
    return invalid_sketch(f"{what}; send back what Analyze returned, merged as the contract says")


def invalid_sketch(what: str) -> InvalidRequest:
    """Return the refusal of a sketch."""
    return InvalidRequest(f"options.sketch: {what}", reason="INVALID_SKETCH", field="options.sketch")
