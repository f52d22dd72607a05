"""Bounds of l_2 norms, of groups of values and of all together, and how they travel through the steps of a network.

A norm here is sup over inputs of ||.||_2, or sqrt(E ||.||_2^2) under a distribution: whatever obeys the triangle inequality and
grows by no more than a gain that holds at every input. So one set of rules serves errors and values, in a ball and in the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ellq_math.network.conv_norms import conv_norm_bound
from ellq_math.network.factors import Source, factors
from ellq_math.network.gains import GroupErrors, forward
from ellq_math.network.groups import Groups, Norm, channels, input_groups, lifted, regroup, root_of_squares
from ellq_math.network.layer_gains import at_least, combine, layer_gains
from ellq_math.network.nodes import Add, Concat, Conv, Input, Linear, Reshape, Softmax
from ellq_math.network.topology import Step
from ellq_math.spectral import spectral_norm_bound, weighted_norm_bound
from ellq_math.sums import Array, canonical_sum, round_up, sum_roundings

STRETCHES = (1.0, 1.5, 2.0, 4.0, 8.0)
"""Trial multipliers of `mixed_sums`; any gives a bound."""

SAFE = 2.0**400
"""Totals and gains beyond it, or below its inverse, go by the plain rules alone: products of theirs could underflow."""


@dataclass(frozen=True)
class L2Bounds:
    """At most the norms of a node's values: `each` group's, and the `total`."""

    groups: Groups
    each: Array
    """(groups.count,) float64."""
    total: float

    @property
    def finite(self) -> bool:
        """Whether all are."""
        return bool(np.isfinite(self.each).all() and np.isfinite(self.total))


def settled(groups: Groups, each: Array, total: float) -> L2Bounds:
    """Return bounds after each has served the other: a part is at most the whole, the whole the root of its parts' squares."""
    whole = min(total, float(root_of_squares(each)))
    return L2Bounds(groups, np.minimum(each, whole), whole)


def added(one: L2Bounds, other: L2Bounds) -> L2Bounds:
    """Return bounds of a sum (Minkowski)."""
    each = round_up(one.each + other.each, roundings=1)
    return settled(one.groups, each, sum_of(one.total, other.total))


def sum_of(one: float, other: float) -> float:
    """Return one + other, rounded up."""
    return float(round_up(np.array(one + other), roundings=1))


def carried(step: Step, source: Source, given: Sequence[L2Bounds]) -> L2Bounds:
    """Return bounds behind a step, of what is linear in it, or of how far its values move; its own weights stay."""
    operation = step.node.operation
    if isinstance(operation, Linear | Conv):
        return through_layer(step, source(operation.weight), given[0])
    moved = forward(step, source, [GroupErrors(one.groups, one.each) for one in given], Norm.L2)
    return settled(moved.groups, moved.errors, carried_total(step, source, [one.total for one in given]))


def carried_total(step: Step, source: Source, totals: Sequence[float]) -> float:
    """Return a bound of the total behind a step by operator norms alone."""
    given = np.array(totals, dtype=np.float64)
    match step.node.operation:
        case Input():
            return 0.0
        case Linear(weight) | Conv(weight):
            return product(operator_norm(step, source(weight)), totals[0])
        case Add():
            return float(at_least(canonical_sum(given), roundings=sum_roundings(len(given))))
        case Concat():
            return float(root_of_squares(given))
        case Softmax():
            return product(0.5, totals[0])
        case Reshape():
            return totals[0]
        case _:
            largest = float(factors(step, source, channels(step.input_shapes[0] or (1,)), Norm.L2).max())
            return product(largest, totals[0])


def operator_norm(step: Step, stored: Array) -> float:
    """Return at least the spectral norm of a Linear or Conv with the given weights."""
    return conv_norm_bound(stored, step) if isinstance(step.node.operation, Conv) else spectral_norm_bound(stored)


def through_layer(step: Step, stored: Array, given: L2Bounds) -> L2Bounds:
    """Return bounds behind a Linear or Conv with the given weights, without bias.

    Each output takes the best of sums of gains and row norms; the total the best of its parts, operator norm and weighted
    operator norms: ||W x|| <= ||W R|| ||R^-1 x|| for every positive diagonal R.
    """
    (taken,) = input_groups(step, [given.groups])
    parts = regroup(given.each, given.groups, taken, Norm.L2)
    each = mixed_sums(layer_gains(step, stored, taken, Norm.L2), parts, given.total)
    norm = operator_norm(step, stored)
    total = product(norm, given.total)
    if norm > 2.0**-900 and total < np.inf and 1 / SAFE < given.total < SAFE:  # so that no weight that counts underflows
        for weights in _weightings(parts, given.total):
            total = min(total, _weighted_total(step, stored, taken, parts, weights))
    return settled(channels(step.shape or (1,)), each, total)


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def mixed_sums(gains: Array, parts: Array, total: float) -> Array:
    """Return at least the largest sum_i g_i x_i with 0 <= x_i <= parts_i and ||x||_2 <= total, for every row g of gains.

    Shape: (out, in), (in,) -> (out,). For any t > 0, sum g_i x_i <= sum (g_i x_i - x_i^2 / 2t) + total^2 / 2t, and each term is
    largest at x_i = min(parts_i, t g_i): Lagrange's bound, which lies between sum g_i parts_i and ||g|| total, and below both.
    """
    roots = root_of_squares(gains)
    best = np.minimum(combine(gains, parts), _at_least_product(roots, total))
    safe = (roots > 1 / SAFE) & (roots < SAFE)
    if not (1 / SAFE < total < SAFE and safe.any()) or float(root_of_squares(parts)) <= total:
        return best
    raised, caps = lifted(gains), lifted(parts)
    for stretch in STRETCHES:
        reach = np.where(safe, stretch * total / roots, 1.0)[:, np.newaxis]
        free = reach * raised  # a rounding more or less: at either formula's edge both are within a rounding of each other
        terms = np.where(caps < free, caps * (raised - caps / (2 * reach)), free * raised / 2)
        sums = canonical_sum(terms) + total * (total / (2 * reach[:, 0]))
        bounds = at_least(sums, roundings=sum_roundings(gains.shape[1]) + 12)
        best = np.where(safe, np.minimum(best, bounds), best)
    return best


def _weightings(parts: Array, total: float) -> list[Array]:
    """Return trial weights r of groups for `_weighted_total`; any positive ones give a bound. Shape: (groups.count,) each.

    The total lies well inside of what a double holds; then no weight is far below 2^-40.
    """
    floor = np.maximum(parts, total * 2.0**-40)
    mean = total / len(parts) ** 0.5
    return [np.sqrt(floor / floor.max()), 1 / np.sqrt(1 + (mean / floor) ** 2)]


def _weighted_total(step: Step, stored: Array, groups: Groups, parts: Array, weights: Array) -> float:
    """Return at least ||W R|| ||R^-1 x||, the latter from the parts. The weights are rounded to powers of two in a Conv."""
    operation = step.node.operation
    if isinstance(operation, Conv):
        weights = np.ldexp(1.0, np.frexp(weights)[1])
        shape = (operation.groups, 1, -1, *(1,) * (stored.ndim - 2))
        scaled = stored.reshape(operation.groups, -1, *stored.shape[1:]) * weights.reshape(shape)
        norm = conv_norm_bound(scaled.reshape(stored.shape), step)
    else:
        spread = np.repeat(weights, groups.length)
        transposed = isinstance(operation, Linear) and operation.transposed
        norm = weighted_norm_bound(stored.T if transposed else stored, spread)
    rest = root_of_squares(round_up(lifted(parts) / weights, roundings=1))
    return product(norm, float(rest))


def product(one: float, other: float) -> float:
    """Return one * other, rounded up; 0 when either is."""
    return float(_at_least_product(np.array(one), other))


@np.errstate(over="ignore", invalid="ignore")
def _at_least_product(one: Array, other: float) -> Array:
    return at_least(lifted(one) * lifted(np.array(other)), roundings=1)
