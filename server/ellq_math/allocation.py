"""How many weights a rule keeps, from the statistics of each row.

Counts come out of logs and exps, so they are guarded: a necessary count is rounded so that it can only be understated, a
sufficient one so that it can only be overstated.
"""

import fractions
import math
from dataclasses import dataclass

import numpy as np

from ellq_math.bounds import log_stechkin_constant
from ellq_math.indices import log_effective_count, population
from ellq_math.pool_units import pool_units, units_within
from ellq_math.pools import KeepCount, KeepWithin, KeepWithinRoom, Target
from ellq_math.rules import CountRule, ErrorBudget, Fraction, LqBound, NOfM, PoolRule, PqIndex, SparsityIndex, Tail
from ellq_math.shares import whole_shares
from ellq_math.sums import Array
from ellq_math.values import Counts, FixedPoints, RowStatistics

GUARD = 2.0**-40
"""Relative error of an effective count, per unit of its sensitivity upper / (upper - lower), with room to spare.

2^-40 is 8192 units of roundoff. Two logs within 4 ulp of power sums of 32-bit weights cost at most 5000 (a log of such a
sum is below 240), the power sums themselves below 1000 for any row that fits a machine; F64 rows are scaled and cost less.
"""

FIXED_POINT_BITS = 61
"""Sums of fixed-point units stay within 2^61, well inside int64."""


@dataclass(frozen=True)
class Allocation:
    """How many weights stay, group by group."""

    kept: Counts
    """(rows, groups) int64, each in [0, group length]."""
    width: int
    """Weights in a full group."""
    kept_floor: Counts | None
    """(rows,) int64: the necessary count of an index rule, before gamma and beta. NO guarantee. None: not an index rule."""


def allocate(rule: CountRule, stats: RowStatistics, *, ignore_zeros: bool) -> Allocation:
    """Return how many weights of each row the rule keeps; `stats` must hold the orders of `rules.orders_for`."""
    weights = population(stats, ignore_zeros=ignore_zeros)
    match rule:
        case SparsityIndex():
            floor = _necessary_count(stats, lower=rule.q, upper=1.0, eta=rule.eta, weights=weights)
            return _whole_rows(floor, stats, kept_floor=floor)
        case PqIndex():
            floor = _necessary_count(stats, lower=rule.p, upper=rule.q, eta=rule.eta, weights=weights)
            formula = np.where(stats.max_magnitude > 0, floor, weights)  # PQI of a zero row is 0: nothing to prune
            # as written in the published code, in doubles: d (1 - r/d) can fall just below d - r and prune one weight less
            share = np.clip(rule.gamma * (1 - formula / np.maximum(weights, 1)), 0.0, rule.beta)
            return _whole_rows(weights - np.floor(weights * share).astype(np.int64), stats, kept_floor=floor)
        case LqBound():
            return _whole_rows(_sufficient_count(rule, stats, weights=weights), stats, kept_floor=None)
        case Fraction():
            return _whole_rows(weights - _prunable(_share(weights, rule.pruned_ratio)), stats, kept_floor=None)
        case NOfM():
            return _groups(rule, stats)


def pool_target(rule: PoolRule, stats: RowStatistics, *, ignore_zeros: bool) -> Target:
    """Return what the rule keeps of a pool; `stats` are its one-row statistics with the orders of `rules.orders_for`.

    An error budget counts and orders costs (network/budget.py) in place of magnitudes.
    """
    if isinstance(rule, Tail):
        share = fractions.Fraction(rule.epsilon) ** rule.p
        return KeepWithin(share=share, weights=stats.fan_in, units=pool_units(stats.fan_in, p=rule.p))
    if isinstance(rule, ErrorBudget):
        return _budget_target(rule, stats, ignore_zeros=ignore_zeros)
    allocation = allocate(rule, stats, ignore_zeros=ignore_zeros)
    return KeepCount(kept=int(allocation.kept[0, 0]), weights=stats.fan_in)


def _budget_target(rule: ErrorBudget, stats: RowStatistics, *, ignore_zeros: bool) -> Target:
    if rule.max_error is not None:
        units = pool_units(stats.fan_in, p=1)
        return KeepWithinRoom(room=units_within(rule.max_error, units), weights=stats.fan_in, units=units)
    assert rule.pruned_ratio is not None  # by its own check
    return pool_target(Fraction(pruned_ratio=rule.pruned_ratio), stats, ignore_zeros=ignore_zeros)


def fixed_points(rule: Tail, stats: RowStatistics) -> FixedPoints:
    """Return the fixed-point form of each row's weights, fine enough that no total exceeds 2^61."""
    bits = FIXED_POINT_BITS - stats.fan_in.bit_length()
    return FixedPoints(p=rule.p, exponents=np.frexp(stats.max_magnitude)[1].astype(np.int64), bits=bits)


def tail_budgets(rule: Tail, unit_totals: Counts) -> Counts:
    """Return how many fixed-point units may be cut from each row: floor(epsilon^p total), exactly. Shape: (rows,) -> same.

    `unit_totals` must not exceed the true totals (sums of floors, not of ceilings); then cutting at most this many rounded-up
    units proves tail <= epsilon norm.
    """
    return whole_shares(unit_totals, share=fractions.Fraction(rule.epsilon) ** rule.p)


def _necessary_count(stats: RowStatistics, *, lower: float, upper: float, eta: float, weights: Counts) -> Counts:
    """Return ceil((1 + eta)^(-upper/(upper-lower)) effective count) of each row, understated by the guard; 0 for a zero row.

    At least 1 for any other row: cut weights that hold eta times what is kept need something kept.
    """
    sensitivity = upper / (upper - lower)
    log_count = log_effective_count(stats, lower, upper) - sensitivity * math.log1p(eta)
    with np.errstate(over="ignore"):  # orders that nearly agree, from sums that a caller sent
        count = np.maximum(np.ceil(np.exp(log_count - GUARD * sensitivity)), 1.0)
    return _clipped(count, stats, weights=weights)


def _sufficient_count(rule: LqBound, stats: RowStatistics, *, weights: Counts) -> Counts:
    """Return ceil((c ||w||_q / (epsilon ||w||_p))^(1/(1/q - 1/p))) of each row, overstated by the guard; 0 for a zero row."""
    rate = 1 / rule.q - 1 / rule.p
    log_loss = log_stechkin_constant(q=rule.q, p=rule.p) - math.log(rule.epsilon)
    log_count = log_effective_count(stats, rule.q, rule.p) + log_loss / rate
    with np.errstate(over="ignore"):
        count = np.ceil(np.exp(log_count + GUARD * rule.p / (rule.p - rule.q)))
    return _clipped(count, stats, weights=weights)


def _clipped(count: Array, stats: RowStatistics, *, weights: Counts) -> Counts:
    """Return counts in [0, weights] as integers; 0 for zero rows, whose weights cost nothing."""
    return np.where(stats.max_magnitude > 0, np.minimum(count, weights), 0).astype(np.int64)


def _share(weights: Counts, ratio: float) -> Array:
    return weights.astype(np.float64) * ratio


def _prunable(share: Array) -> Counts:
    """Return floor(share), where a share within the guard below an integer is that integer: 10 * 0.7 must prune 7."""
    return np.floor(share * (1 + GUARD)).astype(np.int64)


def _whole_rows(kept: Counts, stats: RowStatistics, *, kept_floor: Counts | None) -> Allocation:
    return Allocation(kept=kept[:, np.newaxis], width=stats.fan_in, kept_floor=kept_floor)


def _groups(rule: NOfM, stats: RowStatistics) -> Allocation:
    width = min(rule.m, stats.fan_in)
    starts = np.arange(0, stats.fan_in, width)
    lengths = np.minimum(width, stats.fan_in - starts)
    kept = np.tile(np.minimum(rule.n, lengths), (len(stats.zeros), 1))
    return Allocation(kept=kept, width=width, kept_floor=None)
