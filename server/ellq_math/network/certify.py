"""All that can be promised of a network whose weights were changed: every grade that the knowledge allows."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ellq_math.grades import Grade
from ellq_math.network.ball import certify_ball
from ellq_math.network.box import certify_box
from ellq_math.network.dead_neurons import Flags, dead_neurons
from ellq_math.network.findings import Ending, EndingReason, GradeCertificate, GradeFindings, LayerEffect
from ellq_math.network.knowledge import Knowledge
from ellq_math.network.margins import unchanged_share_everywhere, unchanged_share_in_mean
from ellq_math.network.mean_square import certify_mean_square
from ellq_math.network.nodes import Unbounded
from ellq_math.network.shapes import Shape
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step, tensor_names
from ellq_math.network.variances import check_variances
from ellq_math.sums import Array

GRADES: dict[Grade, Callable[[Graph, Tensors, Knowledge], GradeFindings]] = {
    Grade.BOX: certify_box,
    Grade.BALL: certify_ball,
    Grade.MEAN_SQUARE: certify_mean_square,
}

EFFECTS: dict[Grade, Callable[[Graph, Tensors, Knowledge], GradeFindings]] = {
    **GRADES,
    Grade.MEAN_SQUARE: partial(certify_mean_square, tighten_output=False),
}
"""The same where only the layers matter."""


@dataclass(frozen=True)
class NetworkFindings:
    """What all grades say together."""

    node: str
    """The node that the tightest certificate speaks of; empty when there is none."""
    reaches_output: bool
    endings: tuple[Ending, ...]
    """Of all grades, each node and reason once."""
    grades: tuple[GradeCertificate, ...]
    tightest: Grade | None
    """Among the certificates of that node the one with the smallest largest error; None when there is none."""
    layers: tuple[LayerEffect, ...]


def grades_of(knowledge: Knowledge) -> tuple[Grade, ...]:
    """Return the grades that the knowledge allows. A box lies in a ball."""
    found: list[Grade] = []
    if knowledge.box is not None:
        found.append(Grade.BOX)
    if knowledge.box is not None or knowledge.l2_radius is not None:
        found.append(Grade.BALL)
    if knowledge.moments:
        found.append(Grade.MEAN_SQUARE)
    return tuple(found)


def certify(graph: Graph, tensors: Tensors, knowledge: Knowledge, *, nonfinite: Collection[str] = ()) -> NetworkFindings:
    """Return what can be promised. `nonfinite` names tensors that hold NaN or infinity: certificates end before them.

    Errors: InvalidInputs, InvalidMoments when the knowledge does not fit the graph; InvalidTopology for a negative variance.
    """
    check_variances(graph, tensors)
    bounded = _without(graph, nonfinite)
    found = [
        _with_share(_with_reasons(certify_grade(bounded, tensors, knowledge, grade), nonfinite, graph), graph, knowledge)
        for grade in grades_of(knowledge)
    ]
    certificates = tuple(one.certificate for one in found if one.certificate and _says_something(one.certificate, graph))
    order = {step.node.name: place for place, step in enumerate(graph.steps)}
    best = min(certificates, key=lambda one: (-order[one.node], one.output_error_max), default=None)
    return NetworkFindings(
        node=best.node if best else "",
        reaches_output=best is not None and best.node == graph.output,
        endings=tuple({(ending.node, ending.reason): ending for one in found for ending in one.endings}.values()),
        grades=certificates,
        tightest=best.grade if best else None,
        layers=tuple(effect for one in found for effect in one.layers),
    )


def certify_grade(graph: Graph, tensors: Tensors, knowledge: Knowledge, grade: Grade) -> GradeFindings:
    """Return what one grade says; the tensors that the graph uses are finite.

    Neurons that the outputs of the changed network do not see count as unchanged, as long as outputs are what it speaks of; in
    the effects of the layers they count.
    """
    dead = dead_neurons(graph, tensors.changed)
    if any(flags.any() for flags in dead.values()):
        found = GRADES[grade](graph, _Revived(graph, tensors, dead), knowledge)
        if found.certificate is not None and found.certificate.node == graph.output:
            return replace(found, layers=EFFECTS[grade](graph, tensors, knowledge).layers)
    return GRADES[grade](graph, tensors, knowledge)


@dataclass(frozen=True)
class _Revived:
    """The tensors of a network that has the same function as the changed one: dead neurons keep their weights.

    So a certificate is the same whether dead neurons were removed or not, and what happens to them adds nothing to it.
    """

    graph: Graph
    tensors: Tensors
    dead: Mapping[str, Flags]

    def original(self, name: str) -> Array:
        """Return the tensor as it came."""
        return self.tensors.original(name)

    def changed(self, name: str) -> Array:
        """Return the tensor as it goes, but for the neurons that no output sees."""
        changed, dead = self.tensors.changed(name), self.dead.get(name)
        if dead is None or not dead.any():
            return changed
        axis = 1 if name in self.graph.transposed else 0  # no neuron is dead that is a row to one node, a column to another
        lengths = [-1 if place == axis else 1 for place in range(changed.ndim)]
        return np.where(dead.reshape(lengths), self.tensors.original(name), changed)


def _without(graph: Graph, nonfinite: Collection[str]) -> Graph:
    """Return the graph with unbounded steps in place of those that use broken tensors; behind them no shape is known."""
    shapes: dict[str, Shape | None] = {}
    steps: list[Step] = []
    for step in graph.steps:
        taken = tuple(shapes[name] for name in step.node.inputs)
        node = replace(step.node, operation=Unbounded("NaN or infinity")) if _uses(step, nonfinite) else step.node
        lost = None in taken or isinstance(node.operation, Unbounded)
        shapes[node.name] = None if lost else step.shape
        steps.append(replace(step, node=node, shape=shapes[node.name], input_shapes=taken))
    return replace(graph, steps=tuple(steps))


def _uses(step: Step, names: Collection[str]) -> bool:
    return any(name in names for name in tensor_names(step.node.operation))


def _says_something(certificate: GradeCertificate, graph: Graph) -> bool:
    """Return whether the certificate is of more than steps before the first layer, which never move."""
    return certificate.node == graph.output or graph.layers_above[certificate.node] > 0


def _with_reasons(found: GradeFindings, nonfinite: Collection[str], graph: Graph) -> GradeFindings:
    """Return the findings with the true reason of endings that broken tensors made."""
    return replace(found, endings=tuple(_reasoned(ending, nonfinite, graph) for ending in found.endings))


def _with_share(found: GradeFindings, graph: Graph, knowledge: Knowledge) -> GradeFindings:
    """Return the findings with the share of unchanged classes, where margins tell."""
    certificate, margins = found.certificate, knowledge.margins
    if certificate is None or margins is None or certificate.node != graph.output:
        return found
    if certificate.grade is Grade.MEAN_SQUARE:
        share = unchanged_share_in_mean(margins, error_l2=certificate.output_error_l2)
    else:
        largest, l2 = certificate.output_error_max, certificate.output_error_l2
        share = unchanged_share_everywhere(margins, error_max=largest, error_l2=l2)
    return replace(found, certificate=replace(certificate, unchanged_share=share))


def _reasoned(ending: Ending, nonfinite: Collection[str], graph: Graph) -> Ending:
    broken = [name for name in tensor_names(graph.step(ending.node).node.operation) if name in nonfinite]
    if not broken or ending.reason is not EndingReason.UNBOUNDED:
        return ending
    text = f"tensor {broken[0]!r} of node {ending.node!r} holds NaN or infinity"
    return Ending(ending.node, EndingReason.NONFINITE, text)
