"""Errors of a chain of layers, measured by what its end makes of them.

Backward from a node, as long as each step takes one input: what the readout makes of an error is a quadratic form, and the own
error of each layer is measured in that form, with all its correlations, before anything is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from ellq_math.interruption import end_if_unwanted
from ellq_math.network.activations import lipschitz
from ellq_math.network.forms import balanced, change_in_form, root_norm, through_activation, through_scale, through_weights
from ellq_math.network.knowledge import Moments
from ellq_math.network.l2_bounds import L2Bounds, product, sum_of
from ellq_math.network.layer_gains import combine, layer_rows
from ellq_math.network.nodes import Activation, Affine, BatchNorm, Linear, Reshape
from ellq_math.network.quadratic import input_roots
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step
from ellq_math.spectral import scaled_down, scaled_up
from ellq_math.sums import Array

MOST_VALUES = 1024
"""Of a node that a form is held of."""

MOST_READOUT_FORMS = 32
"""Beyond as many outputs, no form is made for each of them."""

FORM_SOLVES = 50
"""Cubes of a form's size that one activation takes: solving, inverting and certifying, a few times each."""


def form_work(graph: Graph) -> int:
    """Return about how many multiply-adds the forms of a network take."""
    output = graph.step(graph.output).shape
    readouts = 1 + (prod(output) if output is not None and prod(output) <= MOST_READOUT_FORMS else 0)
    sizes = [prod(step.shape) for step in graph.steps if step.shape is not None and isinstance(step.node.operation, Activation)]
    return readouts * sum(FORM_SOLVES * size**3 for size in sizes if size <= MOST_VALUES)


@dataclass(frozen=True)
class Chain:
    """What forms are pulled through."""

    graph: Graph
    tensors: Tensors
    moments: Mapping[str, Moments]
    errors: Mapping[str, L2Bounds]
    """Of all bounded nodes, as found forward."""


def tightened(chain: Chain, node: str) -> L2Bounds:
    """Return the bounds of a node, the best of forward and backward: the total, and each value where they are few."""
    found = chain.errors[node]
    values = found.groups.count
    if found.groups.length != 1 or not 1 < values <= MOST_VALUES or found.total == 0:
        return found
    total = min(found.total, pulled_error(chain, node, np.eye(values)))
    each = found.each
    if values <= MOST_READOUT_FORMS:
        readouts = np.eye(values)
        each = np.array([pulled_error(chain, node, np.outer(readout, readout)) for readout in readouts])
    return L2Bounds(found.groups, np.minimum(np.minimum(found.each, each), total), total)


@np.errstate(over="ignore", invalid="ignore", under="ignore")
def pulled_error(chain: Chain, node: str, form: Array) -> float:
    """Return at least sqrt(E d' Q d) for the errors d of a node.

    At any node of the chain, what is left of the form meets the errors found forward; the best of them counts. The form's
    largest magnitude is kept near 1; the wanted root is 2^exponent times that of the form at hand.
    """
    best, behind, exponent = np.inf, 0.0, 0
    while True:
        end_if_unwanted()
        form, taken = balanced(form)
        exponent += taken
        best = min(best, sum_of(behind, scaled_up(product(root_norm(form), chain.errors[node].total), exponent)))
        step = chain.graph.step(node)
        if len(step.node.inputs) != 1:
            return best
        if isinstance(step.node.operation, Linear):
            behind = sum_of(behind, scaled_up(_own(chain, step, form), exponent))
        pulled, taken = _pulled(chain, step, form)
        if pulled is None or behind >= best or not np.isfinite(pulled).all():
            return best
        form, exponent, node = pulled, exponent + taken, step.node.inputs[0]


def _pulled(chain: Chain, step: Step, form: Array) -> tuple[Array | None, int]:
    """Return Q 4^-k and k, Q being the form at what enters a step; None where the chain ends."""
    entering = step.input_shapes[0]
    if entering is None or prod(entering) > MOST_VALUES:
        return None, 0
    match step.node.operation:
        case Linear() as layer:
            weights, exponent = scaled_down(layer_rows(layer, chain.tensors.changed(layer.weight)))
            return through_weights(form, weights), int(exponent)
        case Activation() as activation:
            return through_activation(form, activation, lipschitz(activation), _expected(chain, step)), 0
        case BatchNorm() as norm:
            root = np.sqrt(chain.tensors.original(norm.variance) + norm.epsilon)
            weight = chain.tensors.original(norm.weight) if norm.weight is not None else np.ones(len(root))
            return _scaled(form, _spread(weight / root, entering))
        case Affine(scale=scale):
            return _scaled(form, _spread(np.array(scale or (1.0,)), entering))
        case Reshape():
            return form, 0
        case _:
            return None, 0


def _scaled(form: Array, scale: Array) -> tuple[Array | None, int]:
    """Return what `_pulled` does for factors; the chain ends at factors so small that they may have underflowed."""
    if not 2.0**-900 < np.abs(scale).max() < np.inf:
        return None, 0
    factors, exponent = scaled_down(scale[np.newaxis])
    return through_scale(form, factors[0]), int(exponent)


def _own(chain: Chain, step: Step, form: Array) -> float:
    """Return the own error of a layer, measured in the form."""
    change, moments = _change(chain, step)
    if not change.any():
        return 0.0
    if moments is None:
        return np.inf
    (roots,) = input_roots(moments, groups=1, fan_in=change.shape[1])
    matrix = moments.matrix[0] if moments.matrix is not None else None
    return change_in_form(form, change, matrix, roots, combine(np.abs(change), roots))


def _expected(chain: Chain, step: Step) -> Array:
    """Return a guess, maybe wrong, of E z z' for the errors z that enter an activation: those of the layer before it alone."""
    values = prod(step.input_shapes[0] or (1,))
    before = chain.graph.step(step.node.inputs[0])
    if isinstance(before.node.operation, Linear):
        change, moments = _change(chain, before)
        if moments is not None and moments.matrix is not None and change.any():
            return change @ moments.matrix[0] @ change.T
    errors = chain.errors[before.node.name]
    return np.diag(np.repeat(errors.each**2, errors.groups.length) + 2.0**-500) if errors.total else np.eye(values)


def _change(chain: Chain, step: Step) -> tuple[Array, Moments | None]:
    """Return W' - W of a linear step, one row for each neuron, and the moments of its inputs."""
    layer = step.node.operation
    if not isinstance(layer, Linear):
        raise TypeError(f"node {step.node.name!r} is not linear")
    change = chain.tensors.changed(layer.weight) - chain.tensors.original(layer.weight)
    return layer_rows(layer, change), chain.moments.get(layer.weight)


def _spread(factors: Array, shape: tuple[int, ...]) -> Array:
    """Return the factor of every value, given those of the channels."""
    return np.repeat(np.broadcast_to(factors, shape[0]), prod(shape[1:]))
