"""How large values can be besides what their inputs do: at inputs of zero, at the input of the network, and at most."""

import math

import numpy as np

from ellq_math.network.activations import at_zero
from ellq_math.network.factors import Source, factors
from ellq_math.network.gains import GroupErrors
from ellq_math.network.groups import Groups, Norm, channels, lifted, regroup
from ellq_math.network.knowledge import Box
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
    Operation,
    Pool,
    Reshape,
    Softmax,
)
from ellq_math.network.topology import Step
from ellq_math.sums import Array, round_up

BOUNDED = (ActivationKind.SIGMOID, ActivationKind.TANH, ActivationKind.HARD_SIGMOID)
"""Activations whose values never exceed 1 in magnitude."""


def input_magnitudes(step: Step, box: Box) -> GroupErrors:
    """Return the largest magnitude of each channel of the input. Errors: InvalidInputs when the box has the wrong length."""
    values, groups = Groups(math.prod(step.shape or ()), 1), channels(step.shape or ())
    return GroupErrors(groups, regroup(box.magnitudes(values.count), values, groups, Norm.SUP))


@np.errstate(over="ignore")
def offsets(step: Step, source: Source, groups: Groups) -> Array:
    """Return at least the magnitudes of the values at inputs of zero. Shape: (groups.count,)."""
    match step.node.operation:
        case Linear(bias=str(bias)) | Conv(bias=str(bias)):
            return np.abs(source(bias))
        case BatchNorm() as norm:
            mean = lifted(np.abs(source(norm.mean))) * lifted(factors(step, source, groups, Norm.SUP))
            return round_up(mean + (np.abs(source(norm.bias)) if norm.bias is not None else 0.0), roundings=2)
        case Affine(shift=shift):
            return np.broadcast_to(np.abs(np.array(shift or (0.0,), dtype=np.float64)), groups.count)
        case Activation() as activation:
            return np.full(groups.count, abs(at_zero(activation)))
        case Softmax():
            return np.full(groups.count, 1.0)
        case Input() | Linear() | Conv() | Add() | Concat() | Pool() | GlobalMean() | Reshape():
            return np.zeros(groups.count)
        case _:  # an operation unknown here must not pass for one that takes zeros to zeros
            raise TypeError(f"node {step.node.name!r} has values that nobody knows at inputs of zero")


def largest(operation: Operation) -> float:
    """Return the largest magnitude that the operation ever gives; infinity without one."""
    match operation:
        case Softmax():
            return 1.0
        case Activation(ActivationKind.CLIP, (least, most)):
            return max(abs(least), abs(most))
        case Activation(kind) if kind in BOUNDED:
            return 1.0
        case _:
            return math.inf
