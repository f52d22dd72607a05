"""The walk that both l_2 grades share: errors enter where weights were changed, and travel on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ellq_math.grades import Grade
from ellq_math.interruption import end_if_unwanted
from ellq_math.network.findings import Ending, EndingReason, GradeCertificate, GradeFindings, LayerEffect, ending_at_unbounded
from ellq_math.network.l2_bounds import L2Bounds, added, carried, carried_total, sum_of
from ellq_math.network.nodes import Conv, Linear, Unbounded
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step


@dataclass(frozen=True)
class OwnError:
    """What the change of one layer's weights does to its own values, its inputs being those of the original network."""

    bounds: L2Bounds
    plain: float
    """The total by operator norms alone."""


Own = Callable[[Step], OwnError | None]
"""Returns the own error of a layer; None when too little is known of its inputs."""

Tighten = Callable[[Mapping[str, L2Bounds], str], L2Bounds]
"""Returns bounds of the errors of a node, given those of all nodes: as good or better."""


@dataclass
class _Walk:
    """How far the walk has come."""

    errors: dict[str, L2Bounds] = field(default_factory=dict[str, L2Bounds])
    plain: dict[str, float] = field(default_factory=dict[str, float])
    effects: list[LayerEffect] = field(default_factory=list[LayerEffect])
    endings: list[Ending] = field(default_factory=list[Ending])


def certify_l2(graph: Graph, tensors: Tensors, grade: Grade, own: Own, tighten: Tighten) -> GradeFindings:
    """Return what follows from the own errors of the layers; `tighten` has the last word on the certified node.

    Errors obey d_z = W' d_h + (W' - W) h, so those of a layer are at most its own and what W' makes of those before.
    """
    walk = _Walk()
    for step in graph.steps:
        end_if_unwanted()
        made = own(step) if isinstance(step.node.operation, Linear | Conv) else None
        if all(name in walk.errors for name in step.node.inputs):
            _bound(walk, step, tensors, made)
        if made is not None:
            walk.effects.append(_effect(step, grade, made, walk.errors.get(step.node.name)))
    return GradeFindings(_certificate(graph, walk, grade, tighten), tuple(walk.effects), tuple(walk.endings))


def _bound(walk: _Walk, step: Step, tensors: Tensors, made: OwnError | None) -> None:
    """Bound one step whose inputs are bounded, or note why it cannot be."""
    name, operation = step.node.name, step.node.operation
    if isinstance(operation, Unbounded):
        walk.endings.append(ending_at_unbounded(name, operation.what))
        return
    if isinstance(operation, Linear | Conv) and made is None:
        text = f"nothing is known of what enters tensor {operation.weight!r}; it needs moments"
        walk.endings.append(Ending(name, EndingReason.NO_MOMENTS, text))
        return
    errors = carried(step, tensors.changed, [walk.errors[one] for one in step.node.inputs])
    plain = carried_total(step, tensors.changed, [walk.plain[one] for one in step.node.inputs])
    if made is not None:
        errors, plain = added(errors, made.bounds), sum_of(plain, made.plain)
    if not errors.finite:
        walk.endings.append(Ending(name, EndingReason.OVERFLOW, "a bound is beyond a double"))
        return
    walk.errors[name], walk.plain[name] = errors, plain


def _effect(step: Step, grade: Grade, made: OwnError, errors: L2Bounds | None) -> LayerEffect:
    """Return what is reported of a layer."""
    operation = step.node.operation
    return LayerEffect(
        node=step.node.name,
        tensor=operation.weight if isinstance(operation, Linear | Conv) else "",
        grade=grade,
        own_error_max=float(made.bounds.each.max()),
        own_error_l2=made.bounds.total,
        error_max=float(errors.each.max()) if errors else None,
        error_l2=errors.total if errors else None,
    )


def _certificate(graph: Graph, walk: _Walk, grade: Grade, tighten: Tighten) -> GradeCertificate | None:
    """Return the certificate of the last bounded node that depends on most layers; None when not even the input has a bound."""
    reached = graph.layers_above
    bounded = [step.node.name for step in graph.steps if step.node.name in walk.errors]
    node = max(reversed(bounded), key=reached.__getitem__, default=None)
    if node is None:
        return None
    found = tighten(walk.errors, node)
    errors = np.repeat(found.each, found.groups.length)
    return GradeCertificate(
        grade=grade,
        node=node,
        output_errors=errors,
        output_error_max=float(errors.max()),
        output_error_l2=found.total,
        operator_norm_product=walk.plain[node],
    )
