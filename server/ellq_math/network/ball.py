"""BALL: l_2 norms of errors at every input of a ball, from operator norms of all layers."""

from math import prod

import numpy as np

from ellq_math.grades import Grade
from ellq_math.interruption import end_if_unwanted
from ellq_math.network.findings import GradeFindings
from ellq_math.network.groups import Groups, Norm, channels, lifted, regroup
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.l2_bounds import (
    L2Bounds,
    added,
    carried,
    carried_total,
    operator_norm,
    product,
    settled,
    sum_of,
    through_layer,
)
from ellq_math.network.l2_grades import OwnError, certify_l2
from ellq_math.network.nodes import Conv, Input, Linear
from ellq_math.network.offsets import largest, offsets
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import round_up

Sizes = dict[str, tuple[L2Bounds, float]]
"""By node: bounds of the original values, and the total by operator norms alone."""


def certify_ball(graph: Graph, tensors: Tensors, knowledge: Knowledge) -> GradeFindings:
    """Return what the radius promises, the box, which lies in a ball, or both, of inputs that lie in both.

    Errors: InvalidInputs for a box of wrong length.
    """
    sizes = _sizes(graph, tensors, input_bounds(graph.input, knowledge))

    def own(step: Step) -> OwnError | None:
        operation, given = step.node.operation, sizes.get(step.node.inputs[0])
        if not isinstance(operation, Linear | Conv) or given is None:
            return None
        change = tensors.changed(operation.weight) - tensors.original(operation.weight)
        if not change.any():
            return OwnError(settled(channels(step.shape or (1,)), np.zeros((step.shape or (1,))[0]), 0.0), 0.0)
        return OwnError(through_layer(step, change, given[0]), product(operator_norm(step, change), given[1]))

    return certify_l2(graph, tensors, Grade.BALL, own, lambda errors, node: errors[node])


def input_bounds(step: Step, knowledge: Knowledge) -> L2Bounds:
    """Return bounds of the norms of the input: of those inputs that lie in the ball and in the box, as far as either is known.

    Errors: InvalidInputs when the box has the wrong length.
    """
    groups = channels(step.shape or (1,))
    radius = np.inf if knowledge.l2_radius is None else knowledge.l2_radius
    if knowledge.box is None:
        return L2Bounds(groups, np.full(groups.count, radius), radius)
    values = Groups(prod(step.shape or (1,)), 1)
    return settled(groups, regroup(knowledge.box.magnitudes(values.count), values, groups, Norm.L2), radius)


@np.errstate(over="ignore")
def _sizes(graph: Graph, tensors: Tensors, entering: L2Bounds) -> Sizes:
    """Return bounds of the original values of all nodes that have any."""
    found: Sizes = {}
    for step in graph.steps:
        end_if_unwanted()
        given = [found[name] for name in step.node.inputs if name in found]
        if isinstance(step.node.operation, Input):
            found[step.node.name] = entering, entering.total
        elif step.shape is not None and len(given) == len(step.node.inputs):
            sizes = _sized(step, tensors, given)
            if sizes[0].finite:
                found[step.node.name] = sizes
    return found


def _sized(step: Step, tensors: Tensors, given: list[tuple[L2Bounds, float]]) -> tuple[L2Bounds, float]:
    """Return bounds of the values of a step: what its inputs make of them, and what it gives at inputs of zero."""
    moved = carried(step, tensors.original, [bounds for bounds, _ in given])
    groups = moved.groups
    root = float(np.nextafter(groups.length**0.5, np.inf))
    constant = round_up(lifted(offsets(step, tensors.original, groups)) * root, roundings=1)
    shift = settled(groups, constant, np.inf)
    most = largest(step.node.operation) * root
    bounds = added(moved, shift)
    capped = settled(groups, np.minimum(bounds.each, np.nextafter(most, np.inf)), bounds.total)
    total = carried_total(step, tensors.original, [total for _, total in given])
    return capped, sum_of(total, shift.total)
