"""How far the outputs of a network move when a neuron moves by one, and how large what it sees can be.

One pass backward and one forward through the gains of the ORIGINAL network, which dominate those of any pruned one. Everything
is rounded up, and has the same bits on every machine: weights are chosen by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from ellq_math.grades import Grade
from ellq_math.interruption import end_if_unwanted
from ellq_math.network.factors import Source
from ellq_math.network.gains import GroupErrors, backward, forward
from ellq_math.network.groups import Norm, graph_groups, input_groups, regroup
from ellq_math.network.knowledge import Box
from ellq_math.network.layer_gains import at_least
from ellq_math.network.nodes import BatchNorm, Conv, Linear, Unbounded
from ellq_math.network.offsets import input_magnitudes, largest, offsets
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array, round_up

MOST_READOUTS = 64
"""Beyond this many groups of outputs, one readout stands for all: their sum, which is at least each."""

NORMS = {Grade.BOX: Norm.SUP, Grade.MEAN_SQUARE: Norm.L2}
"""What a grade bounds of each group."""


class Unreachable(ValueError):
    """No finite sum of costs bounds what the outputs do. `node` is where it is lost."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(message)
        self.node = node


@dataclass(frozen=True)
class Layout:
    """How the nodes that use a tensor see it."""

    transposed: bool
    groups: int
    """Of channels that do not mix."""


def layouts(graph: Graph) -> dict[str, Layout]:
    """Return the layout of every tensor of weights. Errors: Unreachable when nodes see one tensor in different ways."""
    found: dict[str, Layout] = {}
    for step in graph.layers:
        match step.node.operation:
            case Linear(weight, transposed=transposed):
                layout = Layout(transposed, 1)
            case Conv(weight, groups=groups):
                layout = Layout(False, groups)
            case _:
                continue
        if found.setdefault(weight, layout) != layout:
            message = f"node {step.node.name!r} and another one see tensor {weight!r} in different layouts"
            raise Unreachable(step.node.name, f"{message}, so its weights have no neuron that costs could be counted by")
    return found


def sensitivities(graph: Graph, tensors: Tensors, grade: Grade) -> dict[str, Array]:
    """Return, by tensor, c with: no output moves by more than sum c_i own_i over all neurons i of all tensors.

    own_i is sum_j |w_ij - w'_ij| s_j: with the roots s of the second moments for MEAN_SQUARE (c accounts for positions), with
    bounds s of the magnitudes for BOX. It holds for every network whose weights are 0 or those of the original. A tensor
    that several nodes use has the sum over them. Shape: (neurons,) each. Errors: Unreachable; KeyError for BALL.
    """
    found: dict[str, Array] = {}
    for weight, felt in walk_back(graph, tensors.original, grade):
        _add(found, weight, felt)
    return found


def walk_back(graph: Graph, source: Source, grade: Grade) -> Iterator[tuple[str, Array]]:
    """Yield tensor and sensitivities of layer after layer, the last one first, before any number of its own is asked for.

    So a walk needs no more than one layer at a time; `tensors_on_the_way` tells in which order. A tensor that several nodes use
    comes once for each, and the sum counts. Shape: (neurons,) each. Errors: Unreachable; KeyError for BALL.
    """
    _demand_costs(graph)
    norm, groups = NORMS[grade], graph_groups(graph)
    outputs = groups[graph.output].count
    felt = {graph.output: np.eye(outputs) if readouts(outputs) == outputs else np.ones((1, outputs))}
    for step in reversed(graph.steps):
        end_if_unwanted()
        here = felt.pop(step.node.name)
        if isinstance(step.node.operation, Linear | Conv):
            yield step.node.operation.weight, _of_neurons(step, here, norm)
        given = [groups[name] for name in step.node.inputs]
        for name, back in zip(step.node.inputs, backward(step, source, given, here, norm), strict=True):
            _demand_finite(step, back)
            _add(felt, name, back)


def readouts(outputs: int) -> int:
    """Return how many readouts stand for so many groups of outputs."""
    return outputs if outputs <= MOST_READOUTS else 1


def tensors_on_the_way(graph: Graph) -> Iterator[tuple[Step, list[str]]]:
    """Yield the steps whose numbers a walk back asks for, in its order, and the names of the tensors. Biases do not matter."""
    for step in reversed(graph.steps):
        match step.node.operation:
            case Linear(weight) | Conv(weight):
                yield step, [weight]
            case BatchNorm(variance=variance, weight=weight):
                yield step, [variance] if weight is None else [variance, weight]
            case _:
                pass


@np.errstate(over="ignore", invalid="ignore")
def input_bounds(graph: Graph, tensors: Tensors, box: Box) -> dict[str, Array]:
    """Return, by tensor, at least the magnitude of what each weight of its neurons meets, at every input of the box.

    For a convolution those of one group follow those of another, as in Moments. A tensor that several nodes use has the
    largest over them. Shape: (groups * fan_in,) each. Errors: Unreachable; InvalidInputs when the box has the wrong length.
    """
    _demand_costs(graph)
    sizes = {graph.input.node.name: input_magnitudes(graph.input, box)}
    found: dict[str, Array] = {}
    for step in graph.steps:
        end_if_unwanted()
        given = [sizes[name] for name in step.node.inputs]
        if isinstance(step.node.operation, Linear | Conv):
            weight = step.node.operation.weight
            met = _of_weights(step, tensors.original(weight), given[0])
            found[weight] = np.maximum(found[weight], met) if weight in found else met
        if given:
            moved = forward(step, tensors.original, given, Norm.SUP)
            shifted = at_least(moved.errors + offsets(step, tensors.original, moved.groups), roundings=1)
            _demand_finite(step, shifted)
            sizes[step.node.name] = GroupErrors(moved.groups, np.minimum(shifted, largest(step.node.operation)))
    return found


@np.errstate(over="ignore")
def _of_neurons(step: Step, felt: Array, norm: Norm) -> Array:
    """Return the largest over all readouts, for a unit of a neuron's root mean square at one position (l2), or magnitude.

    Shape: (readouts, neurons) -> (neurons,).
    """
    most = felt.max(axis=0)
    positions = prod((step.shape or ())[1:])
    if norm is Norm.SUP or positions == 1:
        return most
    return round_up(most * np.sqrt(np.float64(positions)), roundings=2)


def _of_weights(step: Step, stored: Array, sizes: GroupErrors) -> Array:
    """Return the bound of what each weight of a neuron meets. Padding meets zeros, which are smaller than any bound."""
    (groups,) = input_groups(step, [sizes.groups])
    each = regroup(sizes.errors, sizes.groups, groups, Norm.SUP)
    return np.repeat(each, groups.length if isinstance(step.node.operation, Linear) else prod(stored.shape[2:]))


@np.errstate(over="ignore")
def _add(found: dict[str, Array], name: str, more: Array) -> None:
    found[name] = round_up(found[name] + more, roundings=1) if name in found else more


def _demand_costs(graph: Graph) -> None:
    layouts(graph)
    for step in graph.steps:
        if isinstance(step.node.operation, Unbounded):
            what = step.node.operation.what or "this step"
            raise Unreachable(step.node.name, f"no bound is known for {what} at node {step.node.name!r}")


def _demand_finite(step: Step, bounds: Array) -> None:
    if not np.isfinite(bounds).all():
        raise Unreachable(step.node.name, f"a bound leaves the range of a double at node {step.node.name!r}")
