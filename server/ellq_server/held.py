"""Calls that hold all weights before the first may leave: for one threshold over everything, or for the network's sake."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ellq_math.network.certify import NetworkFindings, certify
from ellq_math.network.dead_neurons import dead_neurons
from ellq_math.network.topology import Graph
from ellq_math.rules import ErrorBudget
from ellq_server.budgets import cost_of, open_budget, spend
from ellq_server.byte_stream import ByteStream
from ellq_server.network_plans import neuron_axes
from ellq_server.network_tensors import NetworkTensors
from ellq_server.networks import network_refusals
from ellq_server.planning import Plan, Planning
from ellq_server.pooled import PooledCut, threshold_in_memory, threshold_of_sketch
from ellq_server.refusals import CertificateRefuted
from ellq_server.scoped_rules import Scope, ScopedRule
from ellq_server.sentence import apply, change, difference, finish, keep_all, read, receive
from ellq_server.workbench import Changed, Choice, Dead, Measured, Outcome, Workbench


@dataclass(frozen=True)
class NetworkReply:
    """What a call found out about the network."""

    findings: NetworkFindings
    budget: ErrorBudget | None
    cost: float
    """Sum of the costs of what the budget cut, rounded up; 0 without a budget."""

    @property
    def certified_error(self) -> float:
        """The certified error of the budget's grade."""
        assert self.budget is not None
        if not self.findings.reaches_output:
            return self.cost
        here = [one for one in self.findings.grades if one.node == self.findings.node]
        return min([self.cost, *(one.output_error_max for one in here if one.grade is self.budget.grade)])


@dataclass(frozen=True)
class _Held:
    """A held tensor, and what a rule did to it."""

    found: Measured | Outcome
    rule: ScopedRule | None = None
    changed: Changed | None = None


def hold_all(bench: Workbench, stream: ByteStream, planning: Planning) -> Generator[Outcome, None, NetworkReply | None]:
    """Read everything, change everything, certify the network; then yield tensor after tensor, and return the certificate."""
    graph = bench.graph
    tensors = NetworkTensors(graph.tensors if graph else (), bench.kernels)
    found = [_read(bench, stream, plan, tensors) for plan in planning.plans]
    stream.expect_end()
    held, cost = _change_all(bench, found, tensors)
    found.clear()
    if graph and bench.request.remove_dead_neurons:
        held = _without_dead(bench, graph, held, tensors)
    reply = _certify(bench, graph, tensors, cost) if graph and bench.request.rule else None
    held.reverse()
    while held:
        yield _finished(bench, held.pop())  # let go of every tensor as soon as it is sent
    return reply


def _read(bench: Workbench, stream: ByteStream, plan: Plan, tensors: NetworkTensors) -> Measured | Outcome:
    stored = read(stream, plan)
    found = receive(bench, plan, stored)
    tensors.keep(plan, stored, found if isinstance(found, Measured) else None)
    return found


def _change_all(bench: Workbench, found: Sequence[Measured | Outcome], tensors: NetworkTensors) -> tuple[list[_Held], float]:
    """Apply every rule; also return what a budget spent."""
    request_rule = bench.request.rule
    counted = [one for one in found if isinstance(one, Measured) and one.plan.rule is None]
    choices, cost = dict[int, Choice](), 0.0
    if request_rule and request_rule.scope is Scope.GLOBAL and counted:
        choices, cost = _choose_together(bench, counted, request_rule, tensors)
    held: list[_Held] = []
    for one in found:
        rule = one.plan.rule or request_rule
        if isinstance(one, Outcome) or rule is None:
            held.append(_Held(one))
        elif one.plan.position in choices:
            held.append(_Held(one, rule, apply(bench, one, choices[one.plan.position])))
        else:
            held.append(_Held(one, rule, change(bench, one, rule)))
    return held, cost


def _choose_together(
    bench: Workbench, counted: Sequence[Measured], scoped: ScopedRule, tensors: NetworkTensors
) -> tuple[dict[int, Choice], float]:
    """Return the choices of a rule of global scope by position, and what a budget spent."""
    rule, sketch = scoped.pool_rule, bench.request.sketch
    if isinstance(rule, ErrorBudget):
        return _choose_by_budget(bench, counted, rule, tensors)
    if sketch:
        threshold = threshold_of_sketch(sketch, rule, ignore_zeros=bench.request.ignore_zeros)
    else:
        threshold = threshold_in_memory(bench, counted, rule)
    pooled = PooledCut(threshold)
    return {one.plan.position: pooled.choose(bench, one) for one in counted}, 0.0


def _choose_by_budget(
    bench: Workbench, counted: Sequence[Measured], rule: ErrorBudget, tensors: NetworkTensors
) -> tuple[dict[int, Choice], float]:
    """Return the choices of an error budget; what the network does not use is kept whole."""
    graph = bench.graph
    assert graph is not None
    weighted = neuron_axes(graph)
    priced = [one for one in counted if one.plan.entry.name in weighted]
    choices = {one.plan.position: keep_all(bench, one) for one in counted}
    if not priced:
        return choices, 0.0
    budget = open_budget(bench, rule, graph, tensors, priced)
    spent = spend(bench, budget)
    choices |= {one.plan.position: choice for one, choice in zip(priced, spent, strict=True)}
    return choices, cost_of(bench, budget, spent)


def _without_dead(bench: Workbench, graph: Graph, held: Sequence[_Held], tensors: NetworkTensors) -> list[_Held]:
    """Cut the incoming weights of neurons that nothing uses any more."""
    with bench.stopwatch("apply"):
        dead = dead_neurons(graph, tensors.changed)
    return [replace(one, changed=_clear(bench, one.changed, dead)) if one.changed else one for one in held]


def _clear(bench: Workbench, changed: Changed, dead: dict[str, np.ndarray]) -> Changed:
    measured = changed.measured
    rows = dead.get(measured.plan.entry.name)
    if rows is None or not rows.any():
        return replace(changed, dead=Dead(neurons=0, weights=0))
    bench.kernels.clear_neurons(measured.weights, rows)
    tails = difference(bench, measured)
    gone = int(tails.zeros.sum()) - int(changed.tails.zeros.sum())
    return replace(changed, tails=tails, dead=Dead(neurons=int(rows.sum()), weights=gone))


def _certify(bench: Workbench, graph: Graph, tensors: NetworkTensors, cost: float) -> NetworkReply:
    """Return what is certified of the network. Errors: CertificateRefuted when a budget is exceeded all the same."""
    with network_refusals(), bench.stopwatch("certify"):
        findings = certify(graph, tensors, bench.knowledge, nonfinite=tensors.nonfinite())
    rule = bench.request.rule.rule if bench.request.rule else None
    budget = rule if isinstance(rule, ErrorBudget) else None
    reply = NetworkReply(findings, budget, cost)
    if budget and budget.max_error is not None and reply.certified_error > budget.max_error:
        message = f"the certified error {reply.certified_error!r} exceeds the budget {budget.max_error!r}"
        raise CertificateRefuted(message)
    return reply


def _finished(bench: Workbench, held: _Held) -> Outcome:
    if isinstance(held.found, Outcome):
        return held.found
    if held.changed is None or held.rule is None:
        return Outcome(held.found.plan, None, held.found)
    return finish(bench, held.changed, held.rule)
