"""The error budget: what cutting each weight costs the outputs, in a sum over all that is cut.

cost(i, j) = |w_ij| rows[i] columns[group of i, j]: the sensitivity of the outputs to neuron i, times the size of its input j.
Costs add up to a bound of the error, so the most weights that a budget pays for are the cheapest ones: docs/theory_networks.md.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from ellq_math.grades import Grade
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.sensitivities import Unreachable, input_bounds, layouts, sensitivities
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, tensor_names
from ellq_math.pool_units import pool_units, value_of, whole_units
from ellq_math.pools import count_digits, exponent_fields
from ellq_math.sums import Array
from ellq_math.values import PoolUnits

LARGEST_KEY_BITS = 1000
"""Keys stay below 2^1000, far from overflow."""


class KnowledgeRequired(ValueError):
    """Costs need something that is not known: moments of `tensor`, or a box where `tensor` is None."""

    def __init__(self, tensor: str | None, message: str) -> None:
        super().__init__(message)
        self.tensor = tensor


@dataclass(frozen=True)
class CostScales:
    """What turns magnitudes of one tensor into costs (see weighing.weigh). Finite and at least 0."""

    rows: Array
    """(neurons,) float64."""
    columns: Array
    """(groups, fan_in) float64; neuron i is of group i // (neurons // groups)."""


def cost_scales(
    graph: Graph, tensors: Tensors, knowledge: Knowledge, *, grade: Grade, names: Collection[str]
) -> dict[str, CostScales]:
    """Return the scales of those tensors of the network that are in `names`: the ones that may be cut.

    For every network whose tensors in `names` hold 0 or the original weights, and whose others are the original ones, no output
    moves by more than the sum of the costs of what was cut. The same bits on every machine. Errors: Unreachable, also where
    costs leave the range of a double; KnowledgeRequired; InvalidInputs when the box has the wrong length.
    """
    groups = {name: layout.groups for name, layout in layouts(graph).items() if name in names}
    sizes = _input_sizes(graph, tensors, knowledge, grade, groups)
    felt = sensitivities(graph, tensors, grade)
    found = {name: CostScales(felt[name], sizes[name].reshape(count, -1)) for name, count in groups.items()}
    for name, scales in found.items():
        _demand_room(graph, name, float(np.abs(tensors.original(name)).max()), scales)
    return found


def has_room(largest: float, scales: CostScales) -> bool:
    """Return whether keys of magnitudes up to `largest` stay in range, after the first product and after the second."""
    factors = (np.array([largest]), scales.rows, scales.columns)
    finite = all(np.isfinite(factor).all() for factor in factors)
    return finite and max(accumulate(math.frexp(float(factor.max()))[1] for factor in factors)) <= LARGEST_KEY_BITS


def spent_cost(cut_keys: Iterable[Array], *, weights: int) -> float:
    """Return the sum of the keys of what was cut, rounded up; see Spending, which takes those of one tensor at a time."""
    spending = Spending(pool_units(weights, p=1))
    for keys in cut_keys:
        spending.add(keys)
    return spending.cost


@dataclass
class Spending:
    """The sum of the keys of what was cut, rounded up: at most the budget that paid for it.

    What was cleared with dead neurons costs nothing and does not belong.
    """

    units: PoolUnits
    """Those of all weights of the pool, in which the threshold was found."""
    _whole: int = 0

    def add(self, cut_keys: Array) -> None:
        """Add those of one more tensor, float64, kept weights left out or 0."""
        counted = count_digits(cut_keys, self.units, level=0, prefix=0).units
        assert counted is not None  # it was given units
        self._whole += whole_units(counted, exponent_fields(0, 0), p=1)

    @property
    def cost(self) -> float:
        """What was spent so far."""
        return value_of(self._whole, self.units)


def _input_sizes(
    graph: Graph, tensors: Tensors, knowledge: Knowledge, grade: Grade, names: Collection[str]
) -> Mapping[str, Array]:
    """Return how large the input of each weight of a neuron can be. Shape: (groups * fan_in,) each."""
    if grade is Grade.BOX:
        if knowledge.box is None:
            raise KnowledgeRequired(None, "an error budget of grade box needs a box of inputs, and none is given")
        return input_bounds(graph, tensors, knowledge.box)
    missing = [name for name in names if name not in knowledge.moments]
    if missing:
        message = f"an error budget of grade mean_square needs moments of tensor {missing[0]!r}, and none are given"
        raise KnowledgeRequired(missing[0], message)
    return {name: knowledge.moments[name].roots for name in names}


def _demand_room(graph: Graph, name: str, largest: float, scales: CostScales) -> None:
    if not has_room(largest, scales):
        node = next(step.node.name for step in graph.layers if name in tensor_names(step.node.operation))
        raise Unreachable(node, f"costs of tensor {name!r} at node {node!r} leave the range of a double")
