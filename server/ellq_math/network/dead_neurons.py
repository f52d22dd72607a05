"""Which values of a network its outputs never see, and which neurons are therefore dead.

A value is alive if a live value uses it through a weight that is not zero. One pass backward: weights into a dead neuron keep
nothing alive, so whole chains of neurons die at once.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.layers import layer_of
from ellq_math.network.nodes import (
    Activation,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Pool,
    Reshape,
    Softmax,
    Unbounded,
)
from ellq_math.network.shapes import Shape
from ellq_math.network.topology import Graph, Step

Flags = npt.NDArray[np.bool_]

Stored = Callable[[str], npt.NDArray[Any]]
"""Returns a tensor by name: its numbers, or any array of its shape that is zero where it is."""


def dead_neurons(graph: Graph, stored: Stored) -> dict[str, Flags]:
    """Return, by tensor, the neurons whose values no output sees, whichever node uses the tensor. Shape: (neurons,) each.

    Their weights may be zeroed, and the function of the network stays the same. Behind a node that is Unbounded everything is
    alive. A tensor whose neurons are rows to one node and columns to another has none that are dead.
    """
    live = live_values(graph, stored)
    found: dict[str, Flags] = {}
    mixed = _tensors_of_mixed_layouts(graph)
    for step in graph.layers:
        weight = layer_of(step).weight
        dead = ~_live_neurons(step, stored, live[step.node.name])
        found[weight] = np.zeros_like(dead) if weight in mixed else dead & found.get(weight, dead)
    return found


def live_values(graph: Graph, stored: Stored) -> dict[str, Flags | None]:
    """Return which values of every node the outputs see, row-major, shape (values,); None where the shape is unknown: all."""
    live = {step.node.name: _flags(step.shape, alive=step.node.name == graph.output) for step in graph.steps}
    for step in reversed(graph.steps):
        used = _used(step, stored, live[step.node.name])
        for name, more in zip(step.node.inputs, used, strict=True):
            before = live[name]
            live[name] = None if before is None or more is None else before | more
    return live


def channel_flags(live: Flags, shape: Shape) -> Flags:
    """Return which channels have any live value. Shape: (values,) -> (channels,)."""
    return np.any(live.reshape(shape[0], -1), axis=1)


def _flags(shape: Shape | None, *, alive: bool) -> Flags | None:
    return None if shape is None else np.full(prod(shape), alive)


def _used(step: Step, stored: Stored, live: Flags | None) -> list[Flags | None]:
    """Return which values of each input the live values of a step use."""
    operation, shapes = step.node.operation, step.input_shapes
    if live is None or step.shape is None or isinstance(operation, Unbounded):
        return [_flags(shape, alive=True) for shape in shapes]
    match operation:
        case Linear(weight):
            return [(layer_rows(operation, stored(weight))[live] != 0).any(axis=0)]
        case Conv(weight):
            return [_whole(_used_channels(operation, stored(weight), channel_flags(live, step.shape)), shapes[0])]
        case Pool() | GlobalMean():
            return [_whole(channel_flags(live, step.shape), shapes[0])]
        case Softmax():
            return [np.full(len(live), live.any())]
        case Concat():
            return list(np.split(live, np.cumsum([prod(shape or ()) for shape in shapes])[:-1]))
        case Input() | Activation() | Add() | Reshape() | BatchNorm() | Affine():
            return [live for _ in shapes]
        case _:  # an operation unknown here must not pass for one that maps each value to itself
            raise TypeError(f"node {step.node.name!r} uses who knows which values")


def _used_channels(conv: Conv, stored: npt.NDArray[Any], live: Flags) -> Flags:
    """Return which input channels live neurons use. Shape: as stored, (out,) -> (in,)."""
    used = (stored != 0).reshape(*stored.shape[:2], -1).any(axis=2) & live[:, np.newaxis]
    return used.reshape(conv.groups, -1, stored.shape[1]).any(axis=1).ravel()


def _whole(channels: Flags, shape: Shape | None) -> Flags:
    """Return flags of values, those of a channel alike. Shape: (channels,) -> (values,)."""
    return np.repeat(channels, prod(shape[1:]) if shape else 1)


def _live_neurons(step: Step, stored: Stored, live: Flags | None) -> Flags:
    if live is not None and step.shape is not None:
        return channel_flags(live, step.shape)
    operation = layer_of(step)
    return np.full(len(layer_rows(operation, stored(operation.weight))), True)


def _tensors_of_mixed_layouts(graph: Graph) -> set[str]:
    """Return the tensors that some node uses transposed and another one not."""
    transposed: dict[bool, set[str]] = {False: set(), True: set()}
    for operation in map(layer_of, graph.layers):
        transposed[isinstance(operation, Linear) and operation.transposed].add(operation.weight)
    return transposed[False] & transposed[True]
