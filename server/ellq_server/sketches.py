"""What Analyze hands out so that a rule of global scope can be carried from pass to pass, by a server that keeps nothing."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_math.pools import DIGITS, Descent
from ellq_math.values import Histogram
from ellq_server.refusals import InvalidRequest

MOST_WEIGHTS = 2**61


@dataclass(frozen=True)
class Sketch:
    """Merged statistics of all weights that a rule of global scope counts, and one histogram of their magnitudes."""

    options_sha256: bytes
    weights: int
    zeros: int
    max_magnitude: float
    log_sums: tuple[tuple[float, float], ...]
    """(order, log of the power sum), ascending by order."""
    mantissa_bits: int
    descent: Descent
    histogram: Histogram
    final: bool
    counts_units: bool
    unit_total: int


def sketch_to_wire(sketch: Sketch) -> pb.Sketch:
    """Return the sketch as a message; only non-empty bins travel."""
    units = sketch.histogram.units
    return pb.Sketch(
        options_sha256=sketch.options_sha256,
        weights=sketch.weights,
        zeros=sketch.zeros,
        max_magnitude=sketch.max_magnitude,
        power_sums=[pb.PowerSum(order=order, log_sum=log_sum) for order, log_sum in sketch.log_sums],
        mantissa_bits=sketch.mantissa_bits,
        level=sketch.descent.level,
        prefix=sketch.descent.prefix,
        weights_below=sketch.descent.weights_below,
        units_below=sketch.descent.units_below,
        bins=[
            pb.Bin(digit=digit, weights=int(sketch.histogram.weights[digit]), units=0 if units is None else int(units[digit]))
            for digit in np.flatnonzero(sketch.histogram.weights).tolist()
        ],
        final=sketch.final,
        counts_units=sketch.counts_units,
        unit_total=sketch.unit_total,
    )


def sketch_from_wire(wire: pb.Sketch, options_sha256: bytes, *, must_be_final: bool) -> Sketch:
    """Return the sketch that a caller sent back.

    Errors: InvalidRequest (INVALID_SKETCH) when it belongs to other options, is not final where it must be, or cannot have
    come from this service.
    """
    if wire.options_sha256 != options_sha256:
        raise _invalid("it belongs to other options (selection, indices, rule, nonfinite and ignore_zeros must be the same)")
    if must_be_final and not wire.final:
        raise _invalid("it is not final: call Analyze with it once more")
    if not _holds_together(wire):
        raise _invalid("it does not hold together; send back what Analyze returned, merged as the contract says")
    return Sketch(
        options_sha256=wire.options_sha256,
        weights=wire.weights,
        zeros=wire.zeros,
        max_magnitude=wire.max_magnitude,
        log_sums=tuple((one.order, one.log_sum) for one in wire.power_sums),
        mantissa_bits=wire.mantissa_bits,
        descent=Descent(wire.level, wire.prefix, wire.weights_below, wire.units_below),
        histogram=_histogram(wire),
        final=wire.final,
        counts_units=wire.counts_units,
        unit_total=wire.unit_total,
    )


def _holds_together(wire: pb.Sketch) -> bool:
    if wire.level >= len(DIGITS):
        return False
    digits = [one.digit for one in wire.bins]
    in_bins = sum(one.weights for one in wire.bins)
    return (
        0 < wire.weights <= MOST_WEIGHTS
        and wire.zeros <= wire.weights
        and in_bins + wire.weights_below <= wire.weights
        and (wire.level > 0 or in_bins == wire.weights)
        and all(0 <= one.digit < 2 ** DIGITS[wire.level] and one.weights > 0 for one in wire.bins)
        and all(before < after for before, after in pairwise(digits))
        and sum(one.units for one in wire.bins) + wire.units_below <= MOST_WEIGHTS
        and wire.unit_total <= MOST_WEIGHTS
        and wire.prefix < 2 ** sum(DIGITS[: wire.level])
        and wire.mantissa_bits in (7, 10, 23, 52)
        and 0 <= wire.max_magnitude < math.inf
        and all(one.log_sum < math.inf for one in wire.power_sums)
    )


def _histogram(wire: pb.Sketch) -> Histogram:
    digits = [one.digit for one in wire.bins]
    weights = np.zeros(2 ** DIGITS[wire.level], np.int64)
    weights[digits] = [one.weights for one in wire.bins]
    if not wire.counts_units:
        return Histogram(weights=weights, units=None)
    units = np.zeros_like(weights)
    units[digits] = [one.units for one in wire.bins]
    return Histogram(weights=weights, units=units)


def _invalid(what: str) -> InvalidRequest:
    return InvalidRequest(f"options.sketch: {what}", reason="INVALID_SKETCH", field="options.sketch")
