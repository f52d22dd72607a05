"""MEAN_SQUARE: the root mean square of errors, from second moments of what enters each layer of the original network."""

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from ellq_math.grades import Grade
from ellq_math.network.findings import GradeFindings
from ellq_math.network.groups import channels, lifted, root_of_squares
from ellq_math.network.knowledge import Knowledge, Moments
from ellq_math.network.l2_bounds import L2Bounds, settled
from ellq_math.network.l2_grades import OwnError, certify_l2
from ellq_math.network.layer_gains import at_least, layer_rows
from ellq_math.network.nodes import Conv, Linear
from ellq_math.network.pullback import Chain, tightened
from ellq_math.network.quadratic import check_moments, input_roots, row_errors
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, Step
from ellq_math.spectral import spectral_norm_bound
from ellq_math.sums import Array, round_up


def certify_mean_square(graph: Graph, tensors: Tensors, knowledge: Knowledge, *, tighten_output: bool = True) -> GradeFindings:
    """Return what the moments promise.

    A layer whose weights were changed and that has no moments ends the certificate; later layers still tell their own errors.
    `tighten_output` pulls forms back from the output, which takes most of the time and tells nothing of the layers.
    Errors: InvalidMoments when they do not fit the tensors.
    """

    def tighten(errors: Mapping[str, L2Bounds], node: str) -> L2Bounds:
        if not tighten_output:
            return errors[node]
        return tightened(Chain(graph, tensors, knowledge.moments, errors), node)

    return certify_l2(graph, tensors, Grade.MEAN_SQUARE, _own(tensors, knowledge.moments), tighten)


def _own(tensors: Tensors, moments: Mapping[str, Moments]) -> Callable[[Step], OwnError | None]:
    """Return what tells the own error of a layer."""

    def own(step: Step) -> OwnError | None:
        operation = step.node.operation
        if not isinstance(operation, Linear | Conv) or step.shape is None:
            return None
        weight, groups = operation.weight, operation.groups if isinstance(operation, Conv) else 1
        change = tensors.changed(weight) - tensors.original(weight)
        return own_error(step, layer_rows(operation, change), moments.get(weight), groups=groups)

    return own


@np.errstate(over="ignore", invalid="ignore")
def own_error(step: Step, rows: Array, moments: Moments | None, *, groups: int) -> OwnError | None:
    """Return what changes of the weights do on their own. Shape: (neurons, fan_in).

    Moments of a convolution are means over P positions, so a channel of values has sqrt(P) times a neuron's error. The total
    is at most the root of their squares, and ||rows||_2 sqrt(P sum_j s_j^2), where the groups of a convolution stack up.
    """
    shape = step.shape or (1,)
    if not rows.any():
        silent = settled(channels(shape), np.zeros(len(rows)), 0.0)
        return OwnError(silent, 0.0)
    if moments is None:
        return None
    fan_in = rows.shape[1]
    check_moments(moments, groups=groups, fan_in=fan_in)
    positions = np.sqrt(np.array(float(prod(shape[1:]))))
    each = round_up(positions * row_errors(rows, moments, groups=groups), roundings=2)
    sizes = root_of_squares(input_roots(moments, groups=groups, fan_in=fan_in))
    norms = np.array([spectral_norm_bound(part) for part in np.split(rows, groups)])
    products = at_least(lifted(norms) * lifted(sizes), roundings=1)
    plain = float(round_up(positions * root_of_squares(products), roundings=2))
    return OwnError(settled(channels(shape), each, plain), plain)
