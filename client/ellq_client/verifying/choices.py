"""What a rule must cut, chosen once more: plainly, block by block, from the original alone."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.verifying.matrices import Matrix
from ellq_math import measuring
from ellq_math.allocation import allocate, fixed_points, tail_budgets
from ellq_math.measuring import Mask
from ellq_math.pools import Descent, Target, Threshold, count_digits, merge, search
from ellq_math.rules import CountRule, Tail
from ellq_math.sums import Array
from ellq_math.values import Histogram, RowStatistics

Chooser: TypeAlias = Callable[[Array], Mask]
"""Takes the magnitudes of block after block and returns what must be cut, as a mask of the same shape."""


def choose_by_neuron(rule: CountRule | Tail, matrix: Matrix, stats: RowStatistics, *, ignore_zeros: bool) -> Chooser:
    """Return the choice of a rule of neuron scope; `stats` are of all neurons."""
    first = 0

    def choose(magnitudes: Array) -> Mask:
        nonlocal first
        rows = slice(first, first + len(magnitudes))
        first = rows.stop
        some = RowStatistics(
            stats.orders, stats.sums[rows], stats.exponents[rows], stats.max_magnitude[rows], stats.zeros[rows], stats.fan_in
        )
        if isinstance(rule, Tail):
            fixed = fixed_points(rule, some)
            lower = [
                measuring.fixed_units(row, point, inexact_square=matrix.scale)[1].sum()
                for row, point in zip(magnitudes, fixed, strict=True)
            ]
            budgets = tail_budgets(rule, np.array(lower, dtype=np.int64))
            cut = measuring.keep_within(magnitudes, budgets, fixed, inexact_square=matrix.scale)
        else:
            allocation = allocate(rule, some, ignore_zeros=ignore_zeros)
            cut = measuring.keep_largest(magnitudes, allocation.kept, width=allocation.width)
        return measuring.cut_mask(magnitudes, cut)

    return choose


def choose_at(threshold: Threshold) -> Chooser:
    """Return the choice of one threshold over many blocks: ties stay in order until they are used up."""
    ties_left = threshold.ties_kept

    def choose(magnitudes: Array) -> Mask:
        nonlocal ties_left
        ties = magnitudes == threshold.magnitude
        staying_ties = ties & (ties.cumsum().reshape(ties.shape) <= ties_left)
        ties_left -= int(staying_ties.sum())
        return ~((magnitudes > threshold.magnitude) | staying_ties)

    return choose


def find_threshold(target: Target, matrices: Sequence[Matrix], original: Checkpoint) -> Threshold:
    """Return the threshold over all these tensors as one row."""

    def count(descent: Descent) -> Histogram:
        blocks = (block for matrix in matrices for block in matrix.magnitudes(original))
        return reduce(
            merge, (count_digits(block, target.units, level=descent.level, prefix=descent.prefix) for block in blocks)
        )

    return search(count, target, mantissa_bits=max(matrix.mantissa_bits for matrix in matrices))
