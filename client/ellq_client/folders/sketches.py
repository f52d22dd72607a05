"""Adds up the sketches of shards to that of the whole checkpoint, as the contract says."""

from collections.abc import Sequence

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_client.contract import expect
from ellq_client.values import IndexOrders, Indices
from ellq_math import indices
from ellq_math.pooling import pool
from ellq_math.values import RowStatistics

_OF_ALL = ("weights", "zeros", "max_magnitude", "exponent", "power_sums", "mantissa_bits")
"""What a sketch of the first pass tells of its own shard, and one of a later pass of all of them."""


def merged(sketches: Sequence[pb.Sketch], *, first_pass: bool) -> pb.Sketch:
    """Return the sketch of all shards; those without one are left out, and one is left. Errors: ProtocolError."""
    expect(all(_is_whole(one) for one in sketches), "the lists of a sketch differ in length")
    found = pb.Sketch()
    found.CopyFrom(sketches[0])
    own = ("bins", "unit_total", "final", *(_OF_ALL if first_pass else ()))
    alike = all(_without(own, one) == _without(own, found) and _orders(one) == _orders(found) for one in sketches)
    expect(alike, "sketches of shards do not belong together")
    found.bins.CopyFrom(_bins(sketches))
    if found.level == 0:
        found.unit_total = _added([one.unit_total for one in sketches])
    found.final = all(one.final for one in sketches)
    if first_pass:
        _take_statistics(found, pool([_statistics(one) for one in sketches]))
        found.mantissa_bits = max(one.mantissa_bits for one in sketches)
    return found


def for_shard(whole: pb.Sketch, before: Sequence[pb.Sketch]) -> pb.Sketch:
    """Return the final sketch of all shards as Compress of one takes it; `before` are the last ones of those before it."""
    found = pb.Sketch()
    found.CopyFrom(whole)
    counts = np.zeros(len(whole.bins.digits), np.int64)
    for sketch in before:
        counts[np.searchsorted(whole.bins.digits, sketch.bins.digits)] += np.array(sketch.bins.weights, np.int64)
    if before:
        found.bins.weights_before.extend(counts.tolist())
    return found


def indices_of(sketch: pb.Sketch, orders: IndexOrders, *, ignore_zeros: bool) -> Indices:
    """Return the indices of all weights that a sketch counts as one row."""
    row = _statistics(sketch)
    return Indices(
        sparsity_index=float(indices.sparsity_index(row, q=orders.q, ignore_zeros=ignore_zeros)[0]),
        pq_index=float(indices.pq_index(row, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros)[0]),
    )


def _bins(sketches: Sequence[pb.Sketch]) -> pb.Bins:
    digits = np.unique(np.concatenate([np.array(one.bins.digits, np.int64) for one in sketches]))
    weights, units = np.zeros_like(digits), np.zeros_like(digits)
    for sketch in sketches:
        places = np.searchsorted(digits, sketch.bins.digits)
        weights[places] += np.array(sketch.bins.weights, np.int64)
        if sketch.counts_units:
            units[places] += np.array(sketch.bins.units, np.int64)
    bins = pb.Bins(digits=digits.tolist(), weights=weights.tolist())
    if sketches[0].counts_units:
        bins.units.extend(units.tolist())
    return bins


def _statistics(sketch: pb.Sketch) -> RowStatistics:
    return RowStatistics(
        orders=_orders(sketch),
        sums=np.array([[one.sum for one in sketch.power_sums]]),
        exponents=np.array([sketch.exponent]),
        max_magnitude=np.array([sketch.max_magnitude]),
        zeros=np.array([sketch.zeros]),
        fan_in=sketch.weights,
    )


def _orders(sketch: pb.Sketch) -> tuple[float, ...]:
    return tuple(one.order for one in sketch.power_sums)


def _is_whole(sketch: pb.Sketch) -> bool:
    bins = sketch.bins
    return len(bins.weights) == len(bins.digits) and len(bins.units) == (len(bins.digits) if sketch.counts_units else 0)


def _take_statistics(sketch: pb.Sketch, row: RowStatistics) -> None:
    sketch.weights, sketch.zeros = row.fan_in, int(row.zeros[0])
    sketch.max_magnitude, sketch.exponent = float(row.max_magnitude[0]), int(row.exponents[0])
    for power_sum, total in zip(sketch.power_sums, row.sums[0].tolist(), strict=True):
        power_sum.sum = total


def _added(totals: Sequence[bytes]) -> bytes:
    """Return the sum of unsigned integers, big-endian and without a leading zero byte."""
    total = sum(int.from_bytes(one, "big") for one in totals)
    return total.to_bytes(-(-total.bit_length() // 8), "big")


def _without(names: Sequence[str], sketch: pb.Sketch) -> pb.Sketch:
    found = pb.Sketch()
    found.CopyFrom(sketch)
    for name in names:
        found.ClearField(name)  # pyright: ignore[reportArgumentType]
    return found
