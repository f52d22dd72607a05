"""The error budget: weights are cut by what the network's outputs feel, cheapest first."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ellq_kernels.contract import Weights
from ellq_math.allocation import pool_target
from ellq_math.measuring import cut_mask
from ellq_math.network.budget import KnowledgeRequired, cost_scales, spent_cost
from ellq_math.network.certify import certify_grade
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.sensitivities import Unreachable
from ellq_math.network.topology import Graph
from ellq_math.network.variances import check_variances
from ellq_math.pooling import pool
from ellq_math.pools import KeepCount, Threshold
from ellq_math.rules import ErrorBudget
from ellq_math.sums import Array
from ellq_server.network_tensors import NetworkTensors
from ellq_server.networks import FIELD, network_refusals
from ellq_server.pooled import PooledCut
from ellq_server.refusals import InvalidRequest
from ellq_server.sentence import loaded_again
from ellq_server.thresholds import find_threshold
from ellq_server.workbench import Choice, Measured, Workbench

TRIALS = 16
"""Trial cuts of a measured budget: bisection narrows the open share of the weights down to 2^-16."""


@dataclass(frozen=True)
class Budget:
    """An error budget in the hands of a call: the weights it may cut, with what the outputs feel of each."""

    rule: ErrorBudget
    graph: Graph
    tensors: NetworkTensors
    knowledge: Knowledge
    priced: Sequence[Measured]
    """In offset order; not empty."""
    costs: Sequence[Weights]
    """Keys of the weights of `priced`, in the kernels' hands."""


def open_budget(
    bench: Workbench, rule: ErrorBudget, graph: Graph, tensors: NetworkTensors, priced: Sequence[Measured]
) -> Budget:
    """Return the budget over these tensors of the network.

    Errors: InvalidRequest (INVALID_TOPOLOGY) where no finite bound leads to the output; (MOMENTS_REQUIRED), (INVALID_INPUTS).
    """
    knowledge = bench.knowledge
    with network_refusals(), budget_refusals(), bench.stopwatch("price"):
        check_variances(graph, tensors)
        names = [measured.plan.entry.name for measured in priced]
        scales = cost_scales(graph, tensors, knowledge, grade=rule.grade, names=names)
        found = [scales[name] for name in names]
        costs = [bench.kernels.weigh(one.weights, scale.rows, scale.columns) for one, scale in zip(priced, found, strict=True)]
    return Budget(rule, graph, tensors, knowledge, priced, costs)


@contextmanager
def budget_refusals() -> Iterator[None]:
    """Turn the math's refusals of a budget into ours."""
    try:
        yield
    except Unreachable as error:
        message = f"an error budget needs a bound through to the output: {error}"
        raise InvalidRequest(message, reason="INVALID_TOPOLOGY", field="options.network.topology") from error
    except KnowledgeRequired as error:
        if error.tensor is None:
            raise InvalidRequest(str(error), reason="INPUTS_REQUIRED", field=f"{FIELD}.inputs.box") from error
        raise InvalidRequest(str(error), reason="MOMENTS_REQUIRED", field="moments") from error


def spend(bench: Workbench, budget: Budget) -> list[Choice]:
    """Return the choice for each tensor: cheapest first, as many as the rule allows."""
    with bench.stopwatch("choose"):
        stats = pool([one.layer for one in budget.priced])
        target = pool_target(budget.rule, stats, ignore_zeros=bench.request.ignore_zeros)
        threshold = find_threshold(bench.kernels, budget.costs, target)
        if budget.rule.measured and budget.rule.max_error is not None:
            threshold = _widest(bench, budget, threshold, max_error=budget.rule.max_error)
        return _choices(bench, budget, threshold)


def cost_of(bench: Workbench, budget: Budget, choices: Sequence[Choice]) -> float:
    """Return the sum of what was cut, rounded up."""
    weights = sum(one.plan.weights for one in budget.priced)
    return spent_cost((cut_keys(bench, costs, one) for costs, one in zip(budget.costs, choices, strict=True)), weights=weights)


def cut_keys(bench: Workbench, costs: Weights, choice: Choice) -> Array:
    """Return the costs of what is cut, 0 where it is kept. Shape: (neurons, fan_in)."""
    keys = np.frombuffer(bench.kernels.payload(costs), np.float64).reshape(costs.neurons, costs.fan_in)
    return np.where(cut_mask(keys, choice.cut), keys, 0.0)


def _choices(bench: Workbench, budget: Budget, threshold: Threshold) -> list[Choice]:
    pooled = PooledCut(threshold)
    return [pooled.choose_by(bench, costs) for costs in budget.costs]


def _widest(bench: Workbench, budget: Budget, surely: Threshold, *, max_error: float) -> Threshold:
    """Return the widest of some trial cuts whose certificate stays within the budget; that of `surely` does.

    Bisection over the number of weights kept. A certificate need not grow with the cut, so there can be a wider one yet.
    """
    weights = sum(one.plan.weights for one in budget.priced)
    best, least = surely, 0
    for _ in range(TRIALS):
        if least >= best.kept:
            break
        kept = (least + best.kept) // 2
        trial = find_threshold(bench.kernels, budget.costs, KeepCount(kept=kept, weights=weights))
        if _certified_error(bench, budget, trial) <= max_error:
            best = trial
        else:
            least = kept + 1
    return best


def _certified_error(bench: Workbench, budget: Budget, threshold: Threshold) -> float:
    """Return the certified error of a trial cut; infinity when there is none."""
    trial: dict[str, Weights] = {}
    for measured, choice in zip(budget.priced, _choices(bench, budget, threshold), strict=True):
        trial[measured.plan.entry.name] = loaded_again(bench, measured)
        bench.kernels.apply(trial[measured.plan.entry.name], choice.cut, keys=choice.keys)
    trial_tensors = budget.tensors.with_trial(trial)
    found = certify_grade(budget.graph, trial_tensors, budget.knowledge, budget.rule.grade).certificate
    return found.output_error_max if found is not None and found.node == budget.graph.output else np.inf
