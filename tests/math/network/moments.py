"""Second moments of what enters the layers of a network, measured on samples: what the grades are given in tests."""

import math

import numpy as np

from ellq_math.network.knowledge import Moments
from ellq_math.network.nodes import Conv
from ellq_math.sums import UNIT_ROUNDOFF

from .by_definition import windows_of


def measured_moments(graph, values, tensors, *, matrices):
    """Return the moments of all layers by tensor, for the values of all nodes of the original network, (samples, *shape) each.

    Raised for the rounding of the means, so that they are least upper bounds: n products are added. A matrix S is raised to
    S + 4 n u (sum of s) diag(s): computed entries are off by at most (n + 1) u s_i s_j, and the quadratic form of s s' is below
    that of (sum of s) diag(s).
    """
    found = {}
    for step in graph.layers:
        operation = step.node.operation
        patches = layer_inputs(operation, values[step.node.inputs[0]], tensors)
        count = patches.shape[1]
        matrix = np.einsum("gni,gnj->gij", patches, patches) / count
        second = np.diagonal(matrix, axis1=1, axis2=2)
        roots = np.sqrt(second)
        slack = 4 * count * UNIT_ROUNDOFF * roots * roots.sum(axis=1, keepdims=True)
        raised = matrix + slack[:, :, np.newaxis] * np.eye(matrix.shape[1])
        known = np.diagonal(raised, axis1=1, axis2=2).ravel()
        found[operation.weight] = Moments(operation.weight, known, raised if matrices else None)
    return found


def underflow(graph, values, tensors):
    """Return whether squares of what a layer sees do: gelu of -27 is 1e-161. A matrix with 0 there is of no inputs."""
    seen = (layer_inputs(step.node.operation, values[step.node.inputs[0]], tensors) for step in graph.layers)
    return any(((patches != 0) & (np.abs(patches) < 2.0**-500)).any() for patches in seen)


def layer_inputs(operation, x, tensors):
    """Return what the neurons of a layer see, one row for each sample and position. Shape: (groups, rows, fan_in)."""
    if not isinstance(operation, Conv):
        return x[np.newaxis]
    kernel = tensors[operation.weight]
    _, windows = windows_of(x, kernel.shape[2:], operation.stride, operation.padding, operation.dilation, fill=0.0)
    rows = np.concatenate(list(windows))
    split = rows.reshape(len(rows), operation.groups, math.prod(kernel.shape[1:]))
    return np.moveaxis(split, 1, 0)
