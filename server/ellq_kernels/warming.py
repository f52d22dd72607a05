"""Compiling ahead of the first request."""

import numpy as np

from ellq_kernels.contract import Kernels
from ellq_math.allocation import fixed_points
from ellq_math.dtypes import WEIGHT_DTYPES, WeightDtype
from ellq_math.rules import Tail
from ellq_math.values import PoolUnits

ORDERS = (0.3, 0.5, 1.0, 2.0)
NEURONS, FAN_IN = 2, 4
TAIL = Tail(epsilon=0.5, p=1)

LONG_ROW = (1 << 20) + 1
"""Weights of a row that any maker may treat apart from short ones."""


def warm_up(kernels: Kernels) -> None:
    """Run every operation once for every dtype, so that a maker that compiles on first use has nothing left to compile."""
    for dtype in WEIGHT_DTYPES.values():
        payload = bytearray(np.ones(NEURONS * FAN_IN, dtype.bits).tobytes())  # the smallest subnormal, eight times
        weights = kernels.load(payload, dtype=dtype.name, neurons=NEURONS, fan_in=FAN_IN)
        kernels.first_nonfinite(weights)
        statistics = kernels.measure(weights, ORDERS)
        fixed = fixed_points(TAIL, statistics)
        totals = kernels.unit_totals(weights, fixed)
        kernels.keep_within(weights, totals // 2, fixed)
        kernels.keep_largest(weights, np.ones((NEURONS, 1), np.int64), width=FAN_IN)
        kernels.kth_largest([weights], 1)
        kernels.histogram(weights, level=0, prefix=0, units=None)
        kernels.histogram(weights, level=1, prefix=0, units=None)
        kernels.histogram(weights, level=0, prefix=0, units=PoolUnits(p=1, bits=32))
        cut, _ = kernels.cut_at(weights, threshold=float(statistics.max_magnitude[0]), ties_kept=FAN_IN)
        keys = kernels.weigh(weights, np.ones(NEURONS), np.ones((1, FAN_IN)))
        kernels.tails(weights, cut)
        kernels.apply(weights, cut, keys=keys)
        kernels.apply(weights, cut)
        kernels.difference(weights, weights)
        kernels.lasso(weights, np.eye(FAN_IN)[np.newaxis], epsilon=0.5)
        kernels.clear_neurons(weights, np.ones(NEURONS, np.bool_))
        kernels.payload(weights)
        _warm_up_long_row(kernels, dtype)


def _warm_up_long_row(kernels: Kernels, dtype: WeightDtype) -> None:
    payload = bytearray(np.resize(np.arange(1000, dtype=dtype.bits), LONG_ROW).tobytes())
    row = kernels.load(payload, dtype=dtype.name, neurons=1, fan_in=LONG_ROW)
    fixed = fixed_points(TAIL, kernels.measure(row, ()))
    kernels.keep_within(row, kernels.unit_totals(row, fixed) // 2, fixed)
    kernels.apply(row, kernels.keep_largest(row, np.array([[LONG_ROW // 2]]), width=LONG_ROW))
