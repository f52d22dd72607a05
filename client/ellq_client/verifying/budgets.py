"""What an error budget must cut: the cheapest weights of the network, by costs that are reckoned once more."""

from collections.abc import Mapping, Sequence

import numpy as np

from ellq_client.checkpoint import Checkpoint
from ellq_client.errors import ReportError
from ellq_client.verifying.choices import choose_at, find_threshold
from ellq_client.verifying.enclosed import Enclosed
from ellq_client.verifying.matrices import Matrix
from ellq_client.verifying.weighing import WeighedMatrix, weighed
from ellq_math.allocation import pool_target
from ellq_math.network.budget import KnowledgeRequired, cost_scales, spent_cost
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.sensitivities import Unreachable
from ellq_math.network.topology import InvalidTopology
from ellq_math.pools import KeepCount, Threshold
from ellq_math.rules import ErrorBudget
from ellq_math.values import RowStatistics


def price(
    rule: ErrorBudget, enclosed: Enclosed, knowledge: Knowledge, matrices: Mapping[str, Matrix]
) -> dict[str, WeighedMatrix]:
    """Return the tensors that the budget may cut as costs, in offset order.

    Errors: ReportError when no server takes this budget.
    """
    assert enclosed.graph is not None
    names = [name for name in matrices if name in enclosed.weighted]
    try:
        scales = cost_scales(enclosed.graph, enclosed.tensors, knowledge, grade=rule.grade, names=names)
    except (InvalidTopology, Unreachable, KnowledgeRequired) as error:
        raise ReportError(f"report.request: no server takes this error budget: {error}") from error
    return {name: weighed(matrices[name], scales[name].rows, scales[name].columns) for name in names}


def choose_cheapest(
    rule: ErrorBudget,
    costs: Sequence[WeighedMatrix],
    stats: RowStatistics,
    original: Checkpoint,
    *,
    kept: int,
    ignore_zeros: bool,
) -> Threshold:
    """Return the threshold of a budget; `stats` are those of all its weights as one row.

    One that is spent by measured certificates may cut more than the sum of costs allows; how many more is taken from the report
    (`kept` weights stay), and that these are the cheapest is what can be checked.
    """
    target = pool_target(rule, stats, ignore_zeros=ignore_zeros)
    if rule.measured and rule.max_error is not None:
        target = KeepCount(kept=kept, weights=stats.fan_in)
    return find_threshold(target, costs, original)


def cost_of(costs: Sequence[WeighedMatrix], original: Checkpoint, threshold: Threshold) -> float:
    """Return the sum of the costs of what is cut, rounded up."""
    choose = choose_at(threshold)
    keys = (block for matrix in costs for block in matrix.magnitudes(original))
    weights = sum(matrix.neurons * matrix.fan_in for matrix in costs)
    return spent_cost((np.where(choose(block), block, 0.0) for block in keys), weights=weights)
