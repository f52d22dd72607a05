"""Which channels hold the same number whatever the input, and which number: what is left of neurons without weights."""

import math

import numpy as np

from ellq_math.network.factors import Source
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.nodes import (
    Activation,
    ActivationKind,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Linear,
    Pool,
    PoolKind,
    Reshape,
)
from ellq_math.network.shapes import Shape
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array, canonical_sum


def constants(graph: Graph, source: Source) -> dict[str, Array]:
    """Return the number each channel of each node holds, in float64; NaN where it varies, or is not known to stay.

    Shape: (channels,) each; (0,) for nodes of unknown shape.
    """
    found: dict[str, Array] = {}
    for step in graph.steps:
        given = [found[name] for name in step.node.inputs]
        found[step.node.name] = np.full(0, np.nan) if step.shape is None else _constants(step, step.shape, source, given)
    return found


def _constants(step: Step, shape: Shape, source: Source, given: list[Array]) -> Array:
    match step.node.operation:
        case (Linear() | Conv()) as layer:
            return _of_layer(layer, source, given[0])
        case Activation() as activation:
            return np.array([_activated(activation, value) for value in given[0].tolist()])
        case Add():
            return sum(given[1:], given[0])
        case Concat():
            return np.concatenate(given)
        case GlobalMean() | Pool(PoolKind.MAX):
            return given[0]
        case Pool(padding=padding):
            return np.where(given[0] == 0, 0.0, np.nan) if any(padding) else given[0]
        case Reshape():
            values = np.repeat(given[0], math.prod((step.input_shapes[0] or ())[1:])).reshape(shape[0], -1)
            return np.where((values == values[:, :1]).all(axis=1), values[:, 0], np.nan)
        case BatchNorm() as norm:
            return _normalised(norm, source, given[0])
        case Affine(scale, shift):
            return given[0] * np.array(scale or (1.0,)) + np.array(shift or (0.0,))
        case _:
            return np.full(shape[0], np.nan)


def _of_layer(layer: Linear | Conv, source: Source, given: Array) -> Array:
    """Return the constants of a layer: of neurons whose weights are all zero, or meet constants alone.

    A convolution meets its padding, too, where its input is zero: there only constants of zero stay what they are.
    """
    stored = source(layer.weight)
    rows = layer_rows(layer, stored)
    met = np.where(given == 0, 0.0, np.nan) if isinstance(layer, Conv) and any(layer.padding) else given
    each = met_by_weights(layer, stored, met)
    varies = ((rows != 0) & np.isnan(each)).any(axis=1)
    fixed = canonical_sum(rows * np.nan_to_num(each)) + (source(layer.bias) if layer.bias is not None else 0.0)
    return np.where(varies, np.nan, fixed)


def met_by_weights(layer: Linear | Conv, stored: Array, given: Array) -> Array:
    """Return what each weight meets, away from padding. Shape: (channels,) -> (neurons or 1, fan_in)."""
    if isinstance(layer, Linear):
        return given[np.newaxis]
    by_group = np.repeat(given, math.prod(stored.shape[2:])).reshape(layer.groups, -1)
    return np.repeat(by_group, len(stored) // layer.groups, axis=0)


def _activated(activation: Activation, x: float) -> float:
    """Return the activation at one point, within a few roundings; NaN of NaN and where it overflows on the way."""
    try:
        return x if math.isnan(x) else _value(activation, x)
    except OverflowError:
        return math.nan


def _value(activation: Activation, x: float) -> float:
    match activation.kind:
        case ActivationKind.IDENTITY:
            return x
        case ActivationKind.RELU:
            return max(x, 0.0)
        case ActivationKind.LEAKY_RELU:
            return x if x > 0 else activation.parameters[0] * x
        case ActivationKind.CLIP:
            return min(max(x, activation.parameters[0]), activation.parameters[1])
        case ActivationKind.SIGMOID:
            return _sigmoid(x)
        case ActivationKind.TANH:
            return math.tanh(x)
        case ActivationKind.GELU:
            return x * math.erfc(-x * math.sqrt(0.5)) / 2
        case ActivationKind.GELU_TANH:
            return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
        case ActivationKind.SILU:
            return x * _sigmoid(x)
        case ActivationKind.ELU:
            return x if x > 0 else activation.parameters[0] * math.expm1(x)
        case ActivationKind.SOFTPLUS:
            return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
        case ActivationKind.HARD_SIGMOID:
            return min(max(x / 6 + 0.5, 0.0), 1.0)
        case ActivationKind.HARD_SWISH:
            return x * min(max(x / 6 + 0.5, 0.0), 1.0)


def _normalised(norm: BatchNorm, source: Source, given: Array) -> Array:
    normal = (given - source(norm.mean)) / np.sqrt(source(norm.variance) + norm.epsilon)
    scaled = normal if norm.weight is None else normal * source(norm.weight)
    return scaled if norm.bias is None else scaled + source(norm.bias)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
