"""From stored order to rows of neurons, and back."""

from typing import cast

import numpy as np

from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.sums import Array
from ellq_server.planning import Plan


def to_rows(plan: Plan, stored: memoryview) -> memoryview:
    """Return the weights in neuron-major order; the very buffer when they are stored that way."""
    return stored if is_neuron_major(plan) else _transposed(plan, stored, forwards=True)


def from_rows(plan: Plan, rows: memoryview) -> memoryview:
    """Return the weights as stored; the very buffer when that is neuron-major order."""
    return rows if is_neuron_major(plan) else _transposed(plan, rows, forwards=False)


def numbers(plan: Plan, payload: bytes | memoryview) -> Array:
    """Return the weights of a tensor in float64, in the order in which they lie there. Shape: (weights,)."""
    return decode(cast(Bits, np.frombuffer(payload, WEIGHT_DTYPES[plan.wide_dtype].bits)), plan.wide_dtype)


def stored_index(plan: Plan, flat: int) -> tuple[int, ...]:
    """Return the index in the stored shape of a weight, given its flat index in neuron-major order."""
    order = _order(plan)
    moved = np.unravel_index(flat, [plan.entry.shape[axis] for axis in order])
    return tuple(int(moved[order.index(axis)]) for axis in range(len(order)))


def _order(plan: Plan) -> list[int]:
    return [*plan.neuron_axis, *(axis for axis in range(len(plan.entry.shape)) if axis not in plan.neuron_axis)]


def is_neuron_major(plan: Plan) -> bool:
    """Return whether the rows of neurons are stored one after the other."""
    return plan.neuron_axis == tuple(range(len(plan.neuron_axis)))


def _transposed(plan: Plan, source: memoryview, *, forwards: bool) -> memoryview:
    order = _order(plan)
    shape = plan.entry.shape
    bits = np.frombuffer(source, WEIGHT_DTYPES[plan.wide_dtype].bits)
    target = np.empty(bits.size, bits.dtype)
    moved_shape = [shape[axis] for axis in order]
    if forwards:
        target.reshape(moved_shape)[...] = bits.reshape(shape).transpose(order)
    else:
        target.reshape(shape).transpose(order)[...] = bits.reshape(moved_shape)
    return target.data.cast("B")
