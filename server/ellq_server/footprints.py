"""How much memory the parts of a call take. All these figures are held by tests/server/test_memory.py."""

import math

from ellq_math.network.topology import Graph, largest_values
from ellq_math.rules import ErrorBudget, NOfM
from ellq_server.layout import is_neuron_major
from ellq_server.planning import Plan, Planning
from ellq_server.walks import gains_of
from ellq_server.workbench import Workbench

TENSORS_AT_HAND = 3
"""Copies of the largest tensor that a call can hold: as read, as written, and the one before on its way out."""

WIDE_AT_HAND = 2
"""Widened copies of 8-bit weights: of the tensor at work, and of the one before it or as the kernels hand them back."""

SCALE_BYTES = 16
"""A number of a scale that waits for its weights, as it came and as float64."""

NEURON_BYTES = 400
"""Statistics, choice and certificate of one neuron: some forty numbers of eight bytes, and passing ones."""

SUM_BYTES = 16
"""A power sum of one neuron, once as kept and once in passing."""

GROUP_BYTES = 80
"""Threshold, ties and count of one group of n_of_m, and passing ones."""

DISTRIBUTION_BYTES_A_WEIGHT = 48
"""Distribution works on float64 copies: scaled, magnitudes, sorted, and passing ones."""

DISTRIBUTION_BYTES_A_LINE = 400
"""The same for each row and column, whose sums are padded to sixteen lanes where rows are short."""

KEY_BYTES = 8
"""A weight's key |w_j| s_j or cost, kept while all weights are held."""

MOMENTS_BYTES_A_WEIGHT = 48
"""The change under the moments works on float64 rows: before, after, their difference, and passing ones."""

NETWORK_BYTES_A_WEIGHT = 96
"""A certificate works on float64 copies of the largest layer: before, after, their difference, magnitudes, squares."""

NETWORK_BYTES_A_VALUE = 96
"""Intervals of what a network computes and of its errors: six float64 and passing ones for each value of each node."""


def scales_bytes(planning: Planning) -> int:
    """Return what the scales of 8-bit weights take until their weights come."""
    awaited = planning.awaited_scales
    return SCALE_BYTES * sum(plan.weights for plan in planning.plans if plan.entry.name in awaited)


def held_bytes(plan: Plan, bench: Workbench) -> int:
    """Return what a held tensor takes beside its payload: numbers of its neurons, the weights as they came or widened, keys."""
    held = _neuron_bytes(bench) * plan.neurons
    if bench.needs_original(plan):
        held += plan.rows_bytes
    if plan.widened:
        held += plan.rows_bytes
    rule = bench.request.rule
    if bench.moments_of(plan) is not None or (rule is not None and isinstance(rule.rule, ErrorBudget)):
        held += KEY_BYTES * plan.weights
    return held


def network_bytes(graph: Graph, planning: Planning) -> int:
    """Return what certifying a network takes beside its held tensors."""
    largest = max((gains_of(step) for step in graph.layers), default=0)  # gains write out the zeros between groups
    values = sum(math.prod(step.shape) for step in graph.steps if step.shape is not None)
    untouched = sum(plan.entry.length_bytes for plan in planning.plans if plan.reason is not None)
    values += largest_values(graph)  # with its padding
    return NETWORK_BYTES_A_WEIGHT * largest + NETWORK_BYTES_A_VALUE * values + untouched


def _neuron_bytes(bench: Workbench) -> int:
    return NEURON_BYTES + SUM_BYTES * len(bench.orders)


def tensor_bytes(plan: Plan, bench: Workbench) -> int:
    """Return how much memory one tensor needs while it is worked on."""
    needed = TENSORS_AT_HAND * plan.entry.length_bytes
    if plan.reason is not None:
        return needed
    if plan.widened:
        needed += WIDE_AT_HAND * plan.rows_bytes
    needed += bench.kernels.scratch_bytes_a_weight * plan.weights + _neuron_bytes(bench) * plan.neurons
    if bench.request.masks:
        needed += -(-plan.weights // 8)  # a bit a weight, which waits for the digest
    if bench.moments_of(plan) is not None:
        keys = 2 if bench.request.spends_budget else 1  # of selection and of costs
        needed += plan.rows_bytes + (MOMENTS_BYTES_A_WEIGHT + keys * KEY_BYTES) * plan.weights
    if not is_neuron_major(plan):
        needed += plan.rows_bytes  # the transposed copy
    scoped = plan.rule or bench.request.rule
    if scoped and isinstance(scoped.rule, NOfM):
        needed += GROUP_BYTES * plan.neurons * -(-plan.fan_in // scoped.rule.m)
    if bench.request.distribution:
        needed += DISTRIBUTION_BYTES_A_WEIGHT * plan.weights + DISTRIBUTION_BYTES_A_LINE * (plan.neurons + plan.fan_in)
    return needed
