"""What only the values of a network's tensors can tell: whether its normalisations are functions at all."""

import numpy as np

from ellq_math.network.nodes import BatchNorm
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Graph, InvalidTopology, Step
from ellq_math.sums import Array


def check_variances(graph: Graph, tensors: Tensors) -> None:
    """Refuse variances that have no root, of all normalisations. Errors: InvalidTopology."""
    for step in graph.steps:
        if isinstance(step.node.operation, BatchNorm):
            check_variance(step, step.node.operation, tensors.original(step.node.operation.variance))


def check_variance(step: Step, norm: BatchNorm, variance: Array) -> None:
    """Refuse variances that have no root. NaN and infinity are left to whoever ends certificates there.

    Shape: (channels,). Errors: InvalidTopology, naming node, tensor and index, for a negative variance and for one near the end
    of the doubles.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = (variance < 0) | (np.isfinite(variance) & ~np.isfinite(variance + norm.epsilon))
    if wrong.any():
        channel, name = int(np.argmax(wrong)), step.node.name
        message = f"node {name!r}: tensor {norm.variance!r} is {float(variance[channel])!r} at index {channel}"
        raise InvalidTopology(name, f"{message}; allowed are variances of 0 or more whose sum with epsilon is a double")
