"""What is known of a network's inputs, measured on samples by definition."""

import math

import numpy as np
from tests.math.network.networks import evaluate, forward

from ellq_math.network.knowledge import Moments
from ellq_math.network.nodes import Conv, Linear


def moments_of(topology, tensors, x):
    """Return the moments of every tensor over the samples, positions included; a hair above what was measured."""
    values = forward(topology, tensors, x)
    found = {}
    for node in topology.nodes:
        if isinstance(node.operation, Linear | Conv):
            squares = values[node.inputs[0]] ** 2
            seen = squares.mean(axis=0) if isinstance(node.operation, Linear) else _of_taps(node.operation, squares, tensors)
            name = node.operation.weight
            raised = seen * (1 + 2.0**-40)  # far fewer than 2^12 roundings went into it
            before = found.get(name)
            found[name] = Moments(name, raised if before is None else np.maximum(raised, before.second_moments))
    return found


def _of_taps(conv, squares, tensors):
    """Return the mean over samples and positions of what each tap sees, group after group."""
    _, channels, *kernel = tensors[conv.weight].shape
    lone = Conv("tap", None, conv.stride, conv.padding, conv.dilation)
    found = []
    for group in range(conv.groups):
        own = squares[:, group * channels : (group + 1) * channels]
        for tap in range(channels * math.prod(kernel)):
            picked = np.zeros(channels * math.prod(kernel))
            picked[tap] = 1.0
            found.append(evaluate(lone, [own], {"tap": picked.reshape(1, channels, *kernel)}).mean())
    return np.array(found)
