"""Values of the contract, one by one: rules, indices, plans, reports."""

from collections.abc import Iterator

from ellq.v1 import compression_pb2 as pb
from ellq_math import indices
from ellq_math.distributions import Distribution
from ellq_math.grades import Grade
from ellq_math.rules import ErrorBudget, Fraction, IndexOrders, Lasso, LqBound, NOfM, PqIndex, SparsityIndex, Tail
from ellq_math.sums import Array
from ellq_math.values import RowStatistics
from ellq_server.planning import Plan, Reason
from ellq_server.requests import Request
from ellq_server.scoped_rules import ScopedRule
from ellq_server.workbench import Magnitudes, Measured, Outcome, Proof

NEURONS_A_FRAME = 16384
"""Neurons of a NeuronReports frame: five lists of eight-byte numbers, 0.7 MB."""


def rule_to_wire(scoped: ScopedRule) -> pb.Rule:
    """Return the rule as a message."""
    scope, rule = scoped.scope.value, scoped.rule
    match rule:
        case SparsityIndex():
            return pb.Rule(scope=scope, sparsity_index=pb.SparsityIndexRule(q=rule.q, eta=rule.eta))
        case PqIndex():
            found = pb.PqIndexRule(p=rule.p, q=rule.q, eta=rule.eta, gamma=rule.gamma, beta=rule.beta)
            return pb.Rule(scope=scope, pq_index=found)
        case Tail():
            return pb.Rule(scope=scope, tail=pb.TailRule(epsilon=rule.epsilon, p=rule.p))
        case LqBound():
            return pb.Rule(scope=scope, lq_bound=pb.LqBoundRule(epsilon=rule.epsilon, q=rule.q, p=rule.p))
        case Fraction():
            return pb.Rule(scope=scope, fraction=pb.FractionRule(pruned_ratio=rule.pruned_ratio))
        case NOfM():
            return pb.Rule(scope=scope, n_of_m=pb.NOfMRule(n=rule.n, m=rule.m))
        case Lasso():
            return pb.Rule(scope=scope, lasso=pb.LassoRule(epsilon=rule.epsilon))
        case ErrorBudget():
            grade = pb.GRADE_BOX if rule.grade is Grade.BOX else pb.GRADE_MEAN_SQUARE
            found = pb.ErrorBudgetRule(
                max_error=rule.max_error, pruned_ratio=rule.pruned_ratio, grade=grade, measured=rule.measured
            )
            return pb.Rule(scope=scope, error_budget=found)


def orders_to_wire(orders: IndexOrders) -> pb.IndexOptions:
    """Return the orders of the reported indices as a message."""
    return pb.IndexOptions(q=orders.q, pq_p=orders.pq_p, pq_q=orders.pq_q)


def plan_to_wire(plan: Plan) -> pb.TensorPlan:
    """Return the plan as a message."""
    wire = pb.TensorPlan(tensor=plan.position, name=plan.entry.name, dtype=plan.entry.dtype, shape=plan.entry.shape)
    if plan.reason is not None:
        wire.treatment, wire.reason = pb.TREATMENT_PASS_THROUGH, _reason(plan.reason)
        return wire
    wire.treatment, wire.neurons, wire.fan_in = pb.TREATMENT_COMPRESS, plan.neurons, plan.fan_in
    wire.neuron_axis.extend(plan.neuron_axis)
    if plan.rule is not None:
        wire.rule.CopyFrom(rule_to_wire(plan.rule))
    return wire


def report_to_wire(outcome: Outcome, request: Request) -> pb.TensorReport:
    """Return what became of a tensor as a message, but for its bytes."""
    wire = pb.TensorReport(tensor=outcome.plan.position, name=outcome.plan.entry.name, treatment=pb.TREATMENT_COMPRESS)
    if outcome.reason is not None:
        wire.treatment, wire.reason = pb.TREATMENT_PASS_THROUGH, _reason(outcome.reason)
    if outcome.measured is not None:
        wire.measurement.CopyFrom(_measurement(outcome.measured, request))
        if outcome.measured.distribution is not None:
            wire.distribution.CopyFrom(_distribution(outcome.measured.distribution))
        if outcome.measured.weighed is not None:
            wire.weighed.CopyFrom(_weighed(outcome.measured.weighed, request))
    if outcome.proof is not None:
        _add_proof(wire, outcome.proof)
    return wire


def indices_of_row(row: RowStatistics, request: Request) -> pb.Indices:
    """Return the indices of one-row statistics as a message."""
    sparsity, pq = _indices(row, request)
    return pb.Indices(sparsity_index=float(sparsity[0]), pq_index=float(pq[0]))


def neuron_reports(outcome: Outcome, request: Request) -> Iterator[pb.NeuronReports]:
    """Yield the neurons of a measured tensor, as many messages as it takes."""
    if outcome.measured is None:
        return
    sparsity, pq = _indices(outcome.measured.neurons, request)
    for first in range(0, len(sparsity), NEURONS_A_FRAME):
        some = slice(first, first + NEURONS_A_FRAME)
        wire = pb.NeuronReports(
            tensor=outcome.plan.position,
            first_neuron=first,
            sparsity_index=sparsity[some].tolist(),
            pq_index=pq[some].tolist(),
        )
        if outcome.proof is not None:
            wire.kept.extend(outcome.proof.changed.kept[some].tolist())
            wire.tail_l1.extend(outcome.proof.neurons.tail_l1[some].tolist())
            wire.tail_l2.extend(outcome.proof.neurons.tail_l2[some].tolist())
        yield wire


def _indices(stats: RowStatistics, request: Request) -> tuple[Array, Array]:
    orders, ignore_zeros = request.indices, request.ignore_zeros
    return (
        indices.sparsity_index(stats, q=orders.q, ignore_zeros=ignore_zeros),
        indices.pq_index(stats, p=orders.pq_p, q=orders.pq_q, ignore_zeros=ignore_zeros),
    )


def _measurement(measured: Measured, request: Request) -> pb.Measurement:
    layer = measured.layer
    sparsity, pq = _indices(measured.neurons, request)
    return pb.Measurement(
        neurons=measured.plan.neurons,
        fan_in=measured.plan.fan_in,
        weights=measured.plan.weights,
        zeros=int(layer.zeros[0]),
        layer=indices_of_row(layer, request),
        neuron_sparsity_index=_spread(sparsity),
        neuron_pq_index=_spread(pq),
        max_magnitude=float(layer.max_magnitude[0]),
        l1=float(indices.l1_norm(layer)[0]),
        l2=float(indices.l2_norm(layer)[0]),
        hoyer=float(indices.hoyer(layer, ignore_zeros=request.ignore_zeros)[0]),
    )


def _weighed(by: Magnitudes, request: Request) -> pb.Weighed:
    sparsity, pq = _indices(by.neurons, request)
    return pb.Weighed(
        layer=indices_of_row(by.layer, request), neuron_sparsity_index=_spread(sparsity), neuron_pq_index=_spread(pq)
    )


def _spread(values: Array) -> pb.Spread:
    return pb.Spread(min=float(values.min()), mean=float(values.mean()), max=float(values.max()))


def _distribution(found: Distribution) -> pb.Distribution:
    return pb.Distribution(
        gini=found.gini,
        excess_kurtosis=found.excess_kurtosis,
        tail_index=found.tail_index,
        tail_curve=found.tail_curve,
        spectral_norm_bound=found.spectral_norm_bound,
        stable_rank_floor=found.stable_rank_floor,
    )


def _add_proof(wire: pb.TensorReport, proof: Proof) -> None:
    changed, choice = proof.changed, proof.changed.choice
    allocation = pb.Allocation(kept=int(changed.kept.sum()), zeros=int(changed.tails.zeros.sum()))
    if choice is not None:
        floor = None if choice.kept_floor is None else int(choice.kept_floor.sum())
        allocation.MergeFrom(pb.Allocation(kept_floor=floor, kept_within=choice.kept_within))
    if changed.dead is not None:
        allocation.dead_neurons, allocation.dead_weights = changed.dead.neurons, changed.dead.weights
    wire.allocation.CopyFrom(allocation)
    if proof.bound is not None:
        wire.bound.CopyFrom(pb.Bound(tail_l1_max=proof.bound.tail_l1_max, tail_l2_max=proof.bound.tail_l2_max))
    layer = proof.layer
    wire.certificate.CopyFrom(
        pb.Certificate(
            tail_l1_max=layer.tail_l1_max,
            tail_l2_max=layer.tail_l2_max,
            frobenius=layer.frobenius,
            frobenius_ratio=layer.frobenius_ratio,
        )
    )
    if proof.mean_square is not None:
        wire.certificate.mean_square_max, wire.certificate.mean_square_l2 = proof.mean_square.largest, proof.mean_square.l2


def _reason(reason: Reason) -> pb.PassThroughReason:
    return getattr(pb, f"PASS_THROUGH_REASON_{reason.name}")
