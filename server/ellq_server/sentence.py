"""What happens to one tensor: measure, allocate, choose, apply, certify."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ellq_kernels.contract import Kernels
from ellq_math.allocation import Allocation, allocate, fixed_points, pool_target, tail_budgets
from ellq_math.bounds import tail_bound
from ellq_math.certificates import (
    LayerCertificate,
    NeuronCertificate,
    SquaredNorm,
    certify_layer,
    certify_neurons,
    cut_norm,
)
from ellq_math.distributions import Distribution, describe
from ellq_math.dtypes import WEIGHT_DTYPES, Bits, decode
from ellq_math.pooling import fold
from ellq_math.rules import NOfM, Rule, Tail, orders_for
from ellq_math.sums import Array, round_down, sum_roundings
from ellq_math.values import Cut, RowStatistics, Tails
from ellq_server.layout import from_rows, stored_index, to_rows
from ellq_server.planning import Plan, Reason
from ellq_server.refusals import CertificateRefuted, InvalidRequest, NonfiniteWeight, shorten
from ellq_server.requests import Request, Scope, ScopedRule
from ellq_server.stopwatch import Stopwatch
from ellq_server.thresholds import find_threshold

MOST_ORDERS = 16
"""Different orders of power sums in one call: five for the indices, two for a rule, the rest for rules of overrides."""


@dataclass(frozen=True)
class Measured:
    """A compressible tensor in the kernels' hands, and its statistics."""

    plan: Plan
    weights: Any
    neurons: RowStatistics
    layer: RowStatistics
    """All neurons as one row."""
    distribution: Distribution | None


@dataclass(frozen=True)
class Choice:
    """What a rule decided for a tensor."""

    cut: Cut
    kept_floor: int | None = None
    kept_within: int | None = None


@dataclass(frozen=True)
class Bound:
    """What was proved of the tails before looking at them: the largest over the neurons, rounded up."""

    tail_l1_max: float
    tail_l2_max: float


@dataclass(frozen=True)
class Proof:
    """What is known of a cut tensor."""

    choice: Choice
    tails: Tails
    neurons: NeuronCertificate
    layer: LayerCertificate
    bound: Bound | None
    """None where Stechkin's theorem does not apply."""
    cut_norm: SquaredNorm


@dataclass(frozen=True)
class Outcome:
    """What became of one tensor."""

    plan: Plan
    reason: Reason | None
    measured: Measured | None = None
    proof: Proof | None = None
    payload: memoryview | None = None
    sha256: bytes = b""


@dataclass(frozen=True)
class Workbench:
    """What every step needs."""

    kernels: Kernels
    request: Request
    orders: tuple[float, ...]
    """Orders of all power sums that indices, bounds and rules of this call need."""
    stopwatch: Stopwatch


def pass_through(plan: Plan, reason: Reason, stored: bytearray, request: Request) -> Outcome:
    """Leave a tensor as it is."""
    if not request.sends_weights:
        return Outcome(plan, reason)
    return Outcome(plan, reason, payload=memoryview(stored), sha256=hashlib.sha256(stored).digest())


def measure(bench: Workbench, plan: Plan, stored: bytearray) -> Measured | Outcome:
    """Return the statistics of a compressible tensor, or the outcome of one that must pass through.

    Errors: NonfiniteWeight, naming tensor and index, unless the request passes such tensors through.
    """
    kernels, entry = bench.kernels, plan.entry
    with bench.stopwatch("measure"):
        rows = to_rows(plan, stored)
        weights = kernels.load(rows, dtype=entry.dtype, neurons=plan.neurons, fan_in=plan.fan_in)
        flat = kernels.first_nonfinite(weights)
        if flat is not None:
            return _nonfinite(bench, plan, stored, flat)
        neurons = kernels.measure(weights, bench.orders)
        distribution = _describe(kernels, plan, weights) if bench.request.distribution else None
    return Measured(plan, weights, neurons, fold(neurons), distribution)


def choose(bench: Workbench, measured: Measured, scoped: ScopedRule) -> Choice:
    """Allocate and choose by a rule of neuron or layer scope."""
    with bench.stopwatch("choose"):
        if scoped.scope is Scope.LAYER:
            return _choose_in_layer(bench, measured, scoped.rule)
        kernels, weights, rule = bench.kernels, measured.weights, scoped.rule
        if isinstance(rule, Tail):
            fixed = fixed_points(rule, measured.neurons)
            cut = kernels.keep_within(weights, tail_budgets(rule, kernels.unit_totals(weights, fixed)), fixed)
            return Choice(cut, kept_within=int(cut.kept.sum()))
        allocation = allocate(rule, measured.neurons, ignore_zeros=bench.request.ignore_zeros)
        cut = kernels.keep_largest(weights, allocation.kept, width=allocation.width)
        return Choice(cut, _floor(allocation))


def _choose_in_layer(bench: Workbench, measured: Measured, rule: Rule) -> Choice:
    """Choose by one threshold over the tensor."""
    kernels, ignore_zeros = bench.kernels, bench.request.ignore_zeros
    target = pool_target(rule, measured.layer, ignore_zeros=ignore_zeros)
    threshold = find_threshold(kernels, [measured.weights], target)
    cut, _ = kernels.cut_at(measured.weights, threshold=threshold.magnitude, ties_kept=threshold.ties_kept)
    if isinstance(rule, Tail):
        return Choice(cut, kept_within=threshold.kept)
    return Choice(cut, _floor(allocate(rule, measured.layer, ignore_zeros=ignore_zeros)))


def _floor(allocation: Allocation) -> int | None:
    return None if allocation.kept_floor is None else int(allocation.kept_floor.sum())


def finish(bench: Workbench, measured: Measured, choice: Choice | None, rule: ScopedRule | None) -> Outcome:
    """Apply the choice, certify what is left, and hand over the bytes."""
    if choice is None or rule is None:
        return Outcome(measured.plan, None, measured)
    with bench.stopwatch("apply"):
        tails = bench.kernels.apply(measured.weights, choice.cut)
    proof = _prove(bench, measured, choice, tails, rule)
    if not bench.request.sends_weights:
        return Outcome(measured.plan, None, measured, proof)
    with bench.stopwatch("write"):
        payload = from_rows(measured.plan, bench.kernels.payload(measured.weights))
        return Outcome(measured.plan, None, measured, proof, payload, hashlib.sha256(payload).digest())


def _prove(bench: Workbench, measured: Measured, choice: Choice, tails: Tails, rule: ScopedRule) -> Proof:
    stats = measured.neurons
    _recount(measured, choice, tails)
    neurons = certify_neurons(tails, fan_in=stats.fan_in)
    return Proof(
        choice=choice,
        tails=tails,
        neurons=neurons,
        layer=certify_layer(tails, stats),
        # n_of_m keeps the largest of groups, not of the row: the theorem does not apply
        bound=None if isinstance(rule.rule, NOfM) else _bound(bench, measured, choice, neurons),
        cut_norm=cut_norm(tails, fan_in=stats.fan_in),
    )


def _bound(bench: Workbench, measured: Measured, choice: Choice, neurons: NeuronCertificate) -> Bound:
    stats, kept, q = measured.neurons, choice.cut.kept[:, 0], bench.request.indices.q
    bound_l1 = tail_bound(stats, kept, q=q, p=1.0)
    bound_l2 = tail_bound(stats, kept, q=q, p=2.0)
    _recheck(measured, neurons.tail_l1, bound_l1)
    _recheck(measured, neurons.tail_l2, bound_l2)
    return Bound(tail_l1_max=float(bound_l1.max()), tail_l2_max=float(bound_l2.max()))


def _recount(measured: Measured, choice: Choice, tails: Tails) -> None:
    """Refuse to send a tensor with more or fewer zeros than the choice explains.

    Errors: CertificateRefuted.
    """
    cut = measured.plan.fan_in - choice.cut.kept.sum(axis=1)
    if np.any(tails.zeros < cut) or np.any(tails.zeros > cut + measured.neurons.zeros):
        name = shorten(repr(measured.plan.entry.name))
        raise CertificateRefuted(f"tensor {name}: the zeros after the cut do not match what was to be cut")


def _recheck(measured: Measured, tail: Array, bound: Array) -> None:
    """Refuse to send a tail, measured after the cut, that lies above its bound, proved before it: one of them is wrong.

    Errors: CertificateRefuted.
    """
    surely = round_down(tail, roundings=4 * sum_roundings(measured.plan.fan_in))  # takes back what rounding up added
    if np.any(surely > bound):
        neuron = int(np.argmax(surely > bound))
        name = shorten(repr(measured.plan.entry.name))
        raise CertificateRefuted(
            f"tensor {name}, neuron {neuron}: measured tail {tail[neuron]!r} exceeds its bound {bound[neuron]!r}"
        )


def _nonfinite(bench: Workbench, plan: Plan, stored: bytearray, flat: int) -> Outcome:
    if bench.request.pass_nonfinite:
        return pass_through(plan, Reason.NONFINITE, stored, bench.request)
    index = list(stored_index(plan, flat))
    name = shorten(repr(plan.entry.name))
    message = f"tensor {name} holds NaN or infinity at index {index}; allowed are finite weights, or nonfinite=pass_through"
    raise NonfiniteWeight(message, field="data")


def _describe(kernels: Kernels, plan: Plan, weights: Any) -> Distribution:
    bits = cast(Bits, np.frombuffer(kernels.payload(weights), WEIGHT_DTYPES[plan.entry.dtype].bits))
    return describe(decode(bits, plan.entry.dtype).reshape(plan.neurons, plan.fan_in))


def orders_of(request: Request, rules: Collection[ScopedRule]) -> tuple[float, ...]:
    """Return all orders of power sums that a call needs, ascending.

    Errors: InvalidRequest (INVALID_RULE) when they are too many, each being measured in every tensor.
    """
    needed = set(request.indices.orders)
    for scoped in rules:
        needed |= set(orders_for(scoped.rule))
    if len(needed) > MOST_ORDERS:
        message = f"the rules and indices need power sums of {len(needed)} different orders; at most {MOST_ORDERS} are allowed"
        raise InvalidRequest(message, reason="INVALID_RULE", field="options.selection.overrides")
    return tuple(sorted(needed))
