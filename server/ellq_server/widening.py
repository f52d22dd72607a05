"""Weights of 8 bits on their way to the kernels and back: to what they are really worth, and to the bytes as they came."""

from collections.abc import Collection
from typing import cast

import numpy as np

from ellq_math.dtypes import WEIGHT_DTYPES, Bits
from ellq_math.float8 import narrow, scale_values, widen, widen_scaled
from ellq_math.sums import Array
from ellq_server.planning import Plan


class ScaleStore:
    """The scales of one call, each from when it comes until its weights do."""

    def __init__(self, awaited: Collection[str] = ()) -> None:
        """Begin with none; `awaited` are the names of those that will be needed."""
        self._awaited = frozenset(awaited)
        self._scales: dict[str, Array] = {}

    def keep(self, plan: Plan, stored: memoryview) -> None:
        """Keep a tensor that passes through, if it is a scale that will be needed."""
        if plan.entry.name in self._awaited:
            self._scales[plan.entry.name] = scale_values(stored, plan.entry.dtype)

    def take(self, name: str) -> Array:
        """Return a scale, and let go of it. It came before its weights, or they would pass through."""
        return self._scales.pop(name)


def widened(plan: Plan, stored: memoryview, scales: ScaleStore) -> memoryview:
    """Return the weights of a tensor in the format of its plan, in stored order; the very buffer when that is its own."""
    if not plan.widened:
        return stored
    codes, dtype, scale = np.frombuffer(stored, np.uint8), plan.entry.dtype, plan.scale
    if scale is None:
        return widen(codes, dtype).data.cast("B")
    numbers = scales.take(scale.name)
    return widen_scaled(codes, dtype, numbers, shape=plan.entry.shape, grid=scale.grid, block=scale.block).data.cast("B")


def narrowed(plan: Plan, stored: memoryview, wide: memoryview) -> memoryview:
    """Return the bytes that go out for widened weights in stored order: `stored`, changed in place where one was cut."""
    bits = np.frombuffer(wide, WEIGHT_DTYPES[plan.wide_dtype].bits)
    narrow(np.frombuffer(stored, np.uint8), cast(Bits, bits))
    return stored
