"""The grade BOX: what holds for each value, at every input in a box.

Three intervals go along with each value: of the original network, of the changed one, and of the difference at one input.
docs/theory_networks.md states and proves the rules.
"""

import math

import numpy as np

from ellq_math.grades import Grade
from ellq_math.interruption import end_if_unwanted
from ellq_math.network.box_steps import Bounds, advance
from ellq_math.network.findings import Ending, EndingReason, GradeCertificate, GradeFindings, LayerEffect, ending_at_unbounded
from ellq_math.network.intervals import Interval, l2_norm, point
from ellq_math.network.knowledge import Box, InvalidInputs, Knowledge
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.linear_maps import enclose, layer_map
from ellq_math.network.nodes import Conv, Input, Linear, Unbounded
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array


def certify_box(graph: Graph, tensors: Tensors, knowledge: Knowledge) -> GradeFindings:
    """Return what holds at every input in the box.

    Errors: InvalidInputs when there is no box, or one of another length than the input.
    """
    if knowledge.box is None:
        raise InvalidInputs("box", "no box is given; this grade speaks of the inputs in a box")
    run = _Run(graph, tensors, _input_bounds(graph.input, knowledge.box))
    with np.errstate(all="ignore"):  # what overflows becomes infinity or NaN, is found, and ends the certificate
        for step in graph.steps:
            end_if_unwanted()
            run.take(step)
    return GradeFindings(run.certificate(), tuple(run.layers), tuple(run.endings))


class _Run:
    """One walk through the graph. Bounds are dropped behind the last step that takes them."""

    def __init__(self, graph: Graph, tensors: Tensors, inputs: Bounds) -> None:
        self.layers: list[LayerEffect] = []
        self.endings: list[Ending] = []
        self._graph, self._tensors, self._inputs = graph, tensors, inputs
        self._bounds: dict[str, Bounds] = {}
        self._furthest: tuple[str, Array] | None = None

    def take(self, step: Step) -> None:
        """Bound the values of a step, or note why there is no bound."""
        taken = [self._bounds[name] for name in step.node.inputs if name in self._bounds]
        if len(taken) == len(step.node.inputs):
            self._bound(step, taken)
        for name in step.node.inputs:
            if self._graph.last_use[name] == step.node.name:
                self._bounds.pop(name, None)

    def certificate(self) -> GradeCertificate | None:
        """Return what is promised of the bounded node that depends on most layers, the last of several."""
        if self._furthest is None:
            return None
        node, errors = self._furthest
        return GradeCertificate(Grade.BOX, node, errors.ravel(), float(errors.max()), l2_norm(errors))

    def _bound(self, step: Step, taken: list[Bounds]) -> None:
        name = step.node.name
        match step.node.operation:
            case Input():
                found = self._inputs
            case Linear() | Conv():
                found = self._through_layer(step, taken[0])
            case Unbounded(what):
                self.endings.append(ending_at_unbounded(name, what))
                return
            case _:
                found = advance(step, taken, self._tensors).settled()
        if not found.is_finite():
            self.endings.append(Ending(name, EndingReason.OVERFLOW, "a bound is above 2^1000"))
            return
        self._bounds[name] = found
        reached = self._graph.layers_above
        if self._furthest is None or reached[name] >= reached[self._furthest[0]]:
            self._furthest = name, found.error.magnitude()

    def _through_layer(self, step: Step, taken: Bounds) -> Bounds:
        """Return the bounds of a step with neurons, and note its effect.

        W' h' - W h = W' (h' - h) + (W' - W) h; the last term is the error of the layer's own.
        """
        found, own = layer_bounds(step, taken, self._tensors)
        operation = step.node.operation
        if isinstance(operation, Linear | Conv) and own.is_bounded():
            size, total = own.magnitude(), found.error.magnitude() if found.is_finite() else None
            self.layers.append(
                LayerEffect(
                    step.node.name,
                    operation.weight,
                    Grade.BOX,
                    own_error_max=float(size.max()),
                    own_error_l2=l2_norm(size),
                    error_max=None if total is None else float(total.max()),
                    error_l2=None if total is None else l2_norm(total),
                )
            )
        return found


def layer_bounds(step: Step, taken: Bounds, tensors: Tensors) -> tuple[Bounds, Interval]:
    """Return the bounds of a Linear or Conv, and those of the error that its own change makes on the original inputs."""
    operation = step.node.operation
    if not isinstance(operation, Linear | Conv):
        raise TypeError(f"node {step.node.name!r} has no neurons")
    stored = tensors.original(operation.weight)
    linear = layer_map(step, stored.shape)
    original, changed = layer_rows(operation, stored), layer_rows(operation, tensors.changed(operation.weight))
    own = enclose(linear, changed - original, taken.before, roundings=1)
    before, after = enclose(linear, original, taken.before), enclose(linear, changed, taken.after)
    error = enclose(linear, changed, taken.error) + own
    if operation.bias is not None:
        bias = point(tensors.original(operation.bias).reshape(-1, *[1] * (before.low.ndim - 1)))
        before, after = before + bias, after + bias
    return Bounds(before, after, error).settled(), own


def _input_bounds(step: Step, box: Box) -> Bounds:
    """Return the box, for both networks alike. Errors: InvalidInputs."""
    shape = step.shape or ()
    inside = Interval(*box.ends(math.prod(shape))).reshape(*shape)
    return Bounds(inside, inside, point(np.zeros(shape)))
