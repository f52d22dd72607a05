"""What networks compute, by definition: loops over windows, nothing shared with what is tested.

All values have the samples in front: (samples, *shape). They may be float64, or fractions (see `exactly`) for networks without
irrational functions: then every result is the truth.
"""

import itertools
import math
from fractions import Fraction

import numpy as np

from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Pool,
    PoolKind,
    Reshape,
    Softmax,
)


def exactly(values):
    """Return the numbers as fractions."""
    return np.vectorize(Fraction, otypes=[object])(values)


def forward(topology, tensors, x):
    """Return the values of every node by name, for inputs (samples, *shape)."""
    values = {}
    pending = list(topology.nodes)
    while pending:
        node = pending.pop(0)
        if not all(name in values for name in node.inputs):
            pending.append(node)
            continue
        taken = [values[name] for name in node.inputs]
        values[node.name] = x if isinstance(node.operation, Input) else evaluate(node.operation, taken, tensors)
    return values


def evaluate(operation, taken, tensors):
    """Return what one operation makes of the values it takes."""
    x = taken[0]
    match operation:
        case Linear(weight, bias, transposed):
            matrix = tensors[weight].T if transposed else tensors[weight]
            return x @ matrix.T + (0 if bias is None else tensors[bias])
        case Conv():
            return _convolution(operation, x, tensors)
        case Activation(kind, parameters):
            return np.vectorize(FUNCTIONS[kind], otypes=[x.dtype])(x, *_alike(parameters, x))
        case Add():
            return sum(taken[1:], start=x)
        case Concat():
            return np.concatenate(taken, axis=1)
        case Pool():
            return _pool(operation, x)
        case GlobalMean():
            return x.reshape(*x.shape[:2], -1).mean(axis=2)
        case Reshape(shape):
            return x.reshape(len(x), *(shape or (-1,)))
        case BatchNorm(mean, variance, epsilon, weight, bias):
            scale = (1 if weight is None else tensors[weight]) / np.sqrt(tensors[variance] + epsilon)
            shift = 0 if bias is None else tensors[bias]
            return (x - _channels(tensors[mean], x)) * _channels(scale, x) + _channels(shift, x)
        case Affine(scale, shift):
            return x * _channels(scale or 1.0, x) + _channels(shift or 0.0, x)
        case Softmax():
            exponentials = np.exp(x - x.max(axis=1, keepdims=True))
            return exponentials / exponentials.sum(axis=1, keepdims=True)


FUNCTIONS = {
    ActivationKind.IDENTITY: lambda x: x,
    ActivationKind.RELU: lambda x: max(x, 0),
    ActivationKind.LEAKY_RELU: lambda x, slope: x if x > 0 else slope * x,
    ActivationKind.CLIP: lambda x, least, largest: min(max(x, least), largest),
    ActivationKind.SIGMOID: lambda x: 1 / (1 + math.exp(-x)),
    ActivationKind.TANH: math.tanh,
    ActivationKind.GELU: lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    ActivationKind.GELU_TANH: lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    ActivationKind.SILU: lambda x: x / (1 + math.exp(-x)),
    ActivationKind.ELU: lambda x, alpha: x if x > 0 else alpha * math.expm1(x),
    ActivationKind.SOFTPLUS: lambda x: math.log1p(math.exp(-abs(x))) + max(x, 0.0),
    ActivationKind.HARD_SIGMOID: lambda x: min(max(x + 3, 0), 6) / 6,
    ActivationKind.HARD_SWISH: lambda x: x * (min(max(x + 3, 0), 6) / 6),
}


def _alike(numbers, x):
    """Return the numbers as floats or fractions, as those of x are."""
    return exactly(numbers) if x.dtype == object and len(numbers) else np.array(numbers, dtype=x.dtype)


def _channels(numbers, x):
    numbers = _alike(np.atleast_1d(numbers), x)
    return numbers.reshape(1, -1, *[1] * (x.ndim - 2))


def _convolution(conv, x, tensors):
    kernel = tensors[conv.weight]
    neurons, channels, *lengths = kernel.shape
    bias = np.zeros(neurons, dtype=x.dtype) if conv.bias is None else tensors[conv.bias]
    positions, windows = windows_of(x, lengths, conv.stride or (1,), conv.padding or (0,), conv.dilation or (1,), fill=0)
    found = np.empty((len(x), neurons, *positions[-1] + np.array(1)), dtype=x.dtype)
    for (position, window), neuron in itertools.product(zip(positions, windows, strict=True), range(neurons)):
        first = neuron // (neurons // conv.groups) * channels
        products = window[:, first : first + channels] * kernel[neuron]
        found[:, neuron, *position] = products.reshape(len(x), -1).sum(axis=1) + bias[neuron]
    return found


def _pool(pool, x):
    fill = -np.inf if pool.kind is PoolKind.MAX else 0
    positions, windows = windows_of(x, pool.kernel, pool.stride or pool.kernel, pool.padding or (0,), (1,), fill=fill)
    found = np.empty((*x.shape[:2], *positions[-1] + np.array(1)), dtype=x.dtype)
    for position, window in zip(positions, windows, strict=True):
        values = window.reshape(*x.shape[:2], -1)
        found[:, :, *position] = values.max(axis=2) if pool.kind is PoolKind.MAX else values.mean(axis=2)
    return found


def windows_of(x, lengths, stride, padding, dilation, *, fill):
    """Return all positions of a window of `lengths` and what it sees there, (samples, channels, *lengths) each."""
    axes = x.ndim - 2
    lengths, stride, dilation = (tuple(one) * (axes if len(one) == 1 else 1) for one in (lengths, stride, dilation))
    if len(padding) < 2 * axes:
        padding = np.repeat(tuple(padding) * (axes if len(padding) == 1 else 1), 2)
    padded = np.pad(x, [(0, 0), (0, 0), *np.reshape(padding, (axes, 2))], constant_values=fill)
    spans = [(length - 1) * step + 1 for length, step in zip(lengths, dilation, strict=True)]
    counts = [(size - span) // step + 1 for size, span, step in zip(padded.shape[2:], spans, stride, strict=True)]
    positions = list(itertools.product(*map(range, counts)))
    cuts = (
        [slice(at * step, at * step + span, gap) for at, step, span, gap in zip(position, stride, spans, dilation, strict=True)]
        for position in positions
    )
    return positions, (padded[:, :, *cut] for cut in cuts)
