"""The error budget against uniform magnitude: how much either cuts for the same certified error."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ellq_client import Client
from ellq_client.rules import ErrorBudget, Fraction
from ellq_math.grades import Grade
from ellq_math.network.budget import CostScales, cost_scales, spent_cost
from ellq_math.network.knowledge import Moments
from ellq_math.network.weighing import weigh
from ellq_server.networks import network_from_wire
from tests.benchmarks.degradation.measuring import Array, Weights
from tests.benchmarks.degradation.records import Case, Duel
from tests.benchmarks.degradation.runs import Outcome, outcome_of
from tests.benchmarks.degradation.subjects import Subject
from tests.benchmarks.degradation.trials import SCOPES, Grid, Trial

GRADES = ("mean_square", "box")
"""Those that a budget can be spent in."""


def duels_of(client: Client, subject: Subject, grid: Grid) -> Iterator[Case | Duel]:
    """Yield every duel and the cases it is made of. The budget is given what magnitude spent.

    By "cost" both are held to the sum of costs, by "certificate" both to the certificate of the grade.
    """
    prices = {grade: Prices(subject, Grade(grade)) for grade in GRADES}
    for scope in SCOPES:
        for ratio in grid.cost_duels:
            magnitude = _magnitude(client, subject, ratio, scope)
            yield magnitude.case
            for grade, priced in prices.items():
                yield from _duel(client, subject, magnitude, scope, grade, cost=priced.cost_of(magnitude.weights))
    for ratio in grid.certificate_duels:
        magnitude = _magnitude(client, subject, ratio, "layer")
        yield magnitude.case
        for grade in GRADES:
            yield from _duel(client, subject, magnitude, "layer", grade, cost=None)


def _magnitude(client: Client, subject: Subject, ratio: float, scope: str) -> Outcome:
    return outcome_of(client, subject, Trial(f"magnitude, {scope}", Fraction(pruned_ratio=ratio, scope=scope)))


def _duel(
    client: Client, subject: Subject, magnitude: Outcome, scope: str, grade: str, *, cost: float | None
) -> Iterator[Case | Duel]:
    """Yield the case of the budget and the duel: over this cost, or over the certificate that magnitude has."""
    certificate = magnitude.certificate.grade(grade)
    assert certificate is not None, f"the box and the moments are known, but grade {grade} is missing"
    max_error = certificate.output_error_max if cost is None else cost
    rule = ErrorBudget(max_error=max_error, grade=grade, measured=cost is None)
    budget = outcome_of(client, subject, Trial(f"error_budget, {grade}, duel", rule))
    spent = budget.certificate.budget
    assert spent is not None, "an error budget tells what it spent"
    yield budget.case
    yield Duel(
        model=budget.case.model,
        kind=budget.case.kind,
        seed=budget.case.seed,
        scope=scope,
        grade=grade,
        by="certificate" if cost is None else "cost",
        max_error=max_error,
        weights=budget.case.weights,
        magnitude_pruned=magnitude.case.pruned,
        budget_pruned=budget.case.pruned,
        budget_certified_error=spent.certified_error,
    )


@dataclass(frozen=True)
class Prices:
    """What cutting each weight of a subject costs its outputs."""

    subject: Subject
    grade: Grade

    def original(self, name: str) -> Array:
        """Return the tensor as it came (see ellq_math.network.tensors)."""
        return self.subject.weights[name].astype(np.float64)

    def changed(self, name: str) -> Array:
        """Return the same: prices are those of the original network."""
        return self.original(name)

    @cached_property
    def scales(self) -> dict[str, CostScales]:
        """By name of tensor."""
        network = network_from_wire(self.subject.network.to_proto())
        graph = network.graph({name: weight.shape for name, weight in self.subject.weights.items()})
        calibration = self.subject.calibration.tensors
        moments = {name: Moments(name, known.second_moments, known.matrix) for name, known in calibration.items()}
        return cost_scales(graph, self, network.knowledge(moments), grade=self.grade, names=list(moments))

    def cost_of(self, compressed: Weights) -> float:
        """Return the cost of the cut that led to these weights."""
        keys: list[Array] = []
        for name, scales in self.scales.items():
            stored = self.original(name).reshape(len(scales.rows), -1)
            cut = (compressed[name].reshape(stored.shape) == 0) & (stored != 0)
            keys.append(np.where(cut, weigh(np.abs(stored), scales.rows, scales.columns), 0.0))
        return spent_cost(keys, weights=sum(each.size for each in keys))
