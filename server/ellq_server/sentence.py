"""What happens to one tensor: measure, allocate, choose, apply, certify."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from ellq_kernels.contract import Kernels, Weights
from ellq_math.allocation import allocate, fixed_points, pool_target, tail_budgets
from ellq_math.distributions import Distribution, describe
from ellq_math.pooling import fold
from ellq_math.rules import CountRule, ErrorBudget, Lasso, Tail, orders_for
from ellq_math.values import Tails
from ellq_server.byte_stream import ByteStream
from ellq_server.cautions import nonfinite
from ellq_server.layout import from_rows, numbers, stored_index, to_rows
from ellq_server.moments import invalid_moments
from ellq_server.planning import Plan, Reason
from ellq_server.proofs import prove
from ellq_server.refusals import InvalidRequest, NonfiniteWeight, shorten
from ellq_server.requests import Request
from ellq_server.scoped_rules import Scope, ScopedRule
from ellq_server.thresholds import find_threshold
from ellq_server.widening import narrowed, widened
from ellq_server.workbench import Changed, Choice, Magnitudes, Measured, Outcome, Proof, Workbench

MOST_ORDERS = 16
"""Different orders of power sums in one call: five for the indices, two for a rule, the rest for rules of overrides."""


def pass_through(plan: Plan, reason: Reason, stored: memoryview, request: Request) -> Outcome:
    """Leave a tensor as it is."""
    if not request.sends_weights:
        return Outcome(plan, reason)
    return Outcome(plan, reason, payload=stored)


def read(stream: ByteStream, plan: Plan) -> memoryview:
    """Return the bytes of the next tensor."""
    return stream.read(plan.entry.length_bytes, what=f"tensor {shorten(repr(plan.entry.name))}")


def receive(bench: Workbench, plan: Plan, stored: memoryview) -> Measured | Outcome:
    """Return a tensor as its plan wants it: measured, or the outcome of passing through. Errors: NonfiniteWeight."""
    if plan.reason is None:
        return measure(bench, plan, stored)
    bench.scales.keep(plan, stored)
    return pass_through(plan, plan.reason, stored, bench.request)


def measure(bench: Workbench, plan: Plan, stored: memoryview) -> Measured | Outcome:
    """Return the statistics of a compressible tensor, or the outcome of one that must pass through.

    Errors: NonfiniteWeight, naming tensor and index, unless the request passes such tensors through; InvalidRequest
    (INVALID_MOMENTS) for moments that lead beyond a double.
    """
    kernels = bench.kernels
    with bench.stopwatch("measure"):
        weights = _load(kernels, plan, to_rows(plan, widened(plan, stored, bench.scales)))
        neurons = kernels.measure(weights, bench.orders)
        if not np.isfinite(neurons.max_magnitude).all():  # what else was measured means nothing then
            return _nonfinite(bench, plan, stored, kernels.first_nonfinite(weights))
        distribution = _describe(kernels, plan, weights) if bench.request.distribution else None
        weighed = _weigh(bench, plan, weights)
    original = bytes(kernels.payload(weights)) if bench.needs_original(plan) else None
    goes_out_again = stored if plan.widened and bench.request.sends_weights else None
    return Measured(plan, weights, neurons, fold(neurons), distribution, weighed, original, goes_out_again)


def _load(kernels: Kernels, plan: Plan, rows: memoryview | bytearray) -> Weights:
    return kernels.load(rows, dtype=plan.wide_dtype, neurons=plan.neurons, fan_in=plan.fan_in)


def _weigh(bench: Workbench, plan: Plan, weights: Weights) -> Magnitudes | None:
    """Return the keys |w_j| s_j where selection works on them. Errors: InvalidRequest (INVALID_MOMENTS) when one overflows."""
    moments = bench.moments_of(plan)
    if moments is None or not bench.request.weighs:
        return None
    try:
        keys = bench.kernels.weigh(weights, np.ones(plan.neurons), moments.roots.reshape(-1, plan.fan_in))
    except ValueError as error:  # finite roots and weights can be wrong in no other way
        name = shorten(repr(plan.entry.name))
        message = f"a weight of tensor {name} times the root of its input's second moment leaves the range of a double"
        raise invalid_moments(f"{message}: scale moments or weights down") from error
    neurons = bench.kernels.measure(keys, bench.orders)
    return Magnitudes(keys, neurons, fold(neurons))


def choose(bench: Workbench, measured: Measured, scoped: ScopedRule) -> Choice:
    """Allocate and choose by a rule of neuron or layer scope."""
    with bench.stopwatch("choose"):
        found = _choose(bench, measured, scoped)
    return replace(found, keys=measured.weighed.handle) if measured.weighed else found


def _choose(bench: Workbench, measured: Measured, scoped: ScopedRule) -> Choice:
    kernels, rule, by = bench.kernels, scoped.rule, measured.selected
    assert not isinstance(rule, Lasso | ErrorBudget)  # a budget is of global scope, LASSO replaces values
    if scoped.scope is Scope.LAYER:
        return _choose_in_layer(bench, by, rule)
    if isinstance(rule, Tail):
        fixed = fixed_points(rule, by.neurons)
        cut = kernels.keep_within(by.handle, tail_budgets(rule, kernels.unit_totals(by.handle, fixed)), fixed)
        return Choice(cut, kept_within=int(cut.kept.sum()))
    allocation = allocate(rule, by.neurons, ignore_zeros=bench.request.ignore_zeros)
    return Choice(kernels.keep_largest(by.handle, allocation.kept, width=allocation.width), allocation.kept_floor)


def _choose_in_layer(bench: Workbench, by: Magnitudes, rule: CountRule | Tail) -> Choice:
    """Choose by one threshold over the tensor."""
    kernels, ignore_zeros = bench.kernels, bench.request.ignore_zeros
    threshold = find_threshold(kernels, [by.handle], pool_target(rule, by.layer, ignore_zeros=ignore_zeros))
    cut, _ = kernels.cut_at(by.handle, threshold=threshold.magnitude, ties_kept=threshold.ties_kept)
    if isinstance(rule, Tail):
        return Choice(cut, kept_within=threshold.kept)
    return Choice(cut, allocate(rule, by.layer, ignore_zeros=ignore_zeros).kept_floor)


def keep_all(bench: Workbench, measured: Measured) -> Choice:
    """Choose to cut nothing."""
    plan = measured.plan
    kept = np.full((plan.neurons, 1), plan.fan_in)
    return Choice(bench.kernels.keep_largest(measured.weights, kept, width=plan.fan_in))


def apply(bench: Workbench, measured: Measured, choice: Choice) -> Changed:
    """Cut what was chosen, in place."""
    with bench.stopwatch("apply"):
        tails = bench.kernels.apply(measured.weights, choice.cut, keys=choice.keys)
    return Changed(measured, choice.cut.kept.sum(axis=1), tails, choice)


def replace_values(bench: Workbench, measured: Measured, rule: Lasso) -> Changed:
    """Put shorter neurons in place of a tensor's, by LASSO. The tensor has moments with a matrix."""
    moments, plan, kernels = bench.moments_of(measured.plan), measured.plan, bench.kernels
    assert moments is not None
    assert moments.matrix is not None
    with bench.stopwatch("choose"):
        kernels.lasso(measured.weights, moments.matrix, epsilon=rule.epsilon)
    tails = difference(bench, measured)
    return Changed(measured, plan.fan_in - tails.zeros, tails, choice=None)


def difference(bench: Workbench, measured: Measured) -> Tails:
    """Return the tails of all that changed in a tensor whose original is at hand."""
    with bench.stopwatch("apply"):
        return bench.kernels.difference(loaded_again(bench, measured), measured.weights)


def loaded_again(bench: Workbench, measured: Measured) -> Weights:
    """Return the original weights of a tensor in the kernels' hands, a copy."""
    assert measured.original is not None
    return _load(bench.kernels, measured.plan, bytearray(measured.original))


def change(bench: Workbench, measured: Measured, scoped: ScopedRule) -> Changed:
    """Change a tensor by a rule of neuron or layer scope."""
    if isinstance(scoped.rule, Lasso):
        return replace_values(bench, measured, scoped.rule)
    return apply(bench, measured, choose(bench, measured, scoped))


def finish(bench: Workbench, changed: Changed, scoped: ScopedRule) -> Outcome:
    """Certify what was changed, and hand over the bytes."""
    plan = changed.measured.plan
    proof = prove(bench, changed, scoped)
    if not bench.request.sends_weights:
        return _without_weights(proof, payload=None)
    with bench.stopwatch("write"):
        payload = from_rows(plan, bench.kernels.payload(changed.measured.weights))
        if changed.measured.stored is not None:
            return _without_weights(proof, narrowed(plan, changed.measured.stored, payload))
        return Outcome(plan, None, changed.measured, proof, payload)


def _without_weights(proof: Proof, payload: memoryview | None) -> Outcome:
    """Return the outcome of weights that go out in other bytes, or not at all: their memory is free for the next tensor."""
    measured, choice = proof.changed.measured.without_weights(), proof.changed.choice
    changed = replace(proof.changed, measured=measured, choice=choice and replace(choice, keys=None))
    return Outcome(measured.plan, None, measured, replace(proof, changed=changed), payload)


def _nonfinite(bench: Workbench, plan: Plan, stored: memoryview, flat: int | None) -> Outcome:
    assert flat is not None  # statistics tell of one
    if bench.request.pass_nonfinite:
        return pass_through(plan, Reason.NONFINITE, stored, bench.request)
    index = list(stored_index(plan, flat))
    message = f"{nonfinite(plan)} at index {index}; allowed are finite weights, or nonfinite=pass_through"
    raise NonfiniteWeight(message, field="data")


def _describe(kernels: Kernels, plan: Plan, weights: Weights) -> Distribution:
    return describe(numbers(plan, kernels.payload(weights)).reshape(plan.neurons, plan.fan_in))


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
