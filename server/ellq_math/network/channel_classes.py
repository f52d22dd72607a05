"""Channels of a network that can only go together: those that a step maps one to one, and those that it adds."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ellq_math.network.dead_neurons import Flags
from ellq_math.network.nodes import Add, Concat, Conv, Input, Linear, Reshape, Softmax
from ellq_math.network.topology import Graph, Step, tensor_names

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Classes:
    """Numbers of classes, from 0."""

    count: int
    of: Mapping[str, Ids]
    """By node, (channels,): the class of each channel; empty where the shape is unknown."""
    pinned: Mapping[int, str]
    """Classes that must stay, and why."""

    def any_of(self, flags: Mapping[str, Flags]) -> Flags:
        """Return which classes have a channel with a flag. Shape: (channels,) of each node -> (count,)."""
        found = np.zeros(self.count, dtype=np.bool_)
        for name, ids in self.of.items():
            found[ids[flags[name]]] = True
        return found


def channel_classes(graph: Graph) -> Classes:
    """Return the classes of all channels.

    Pinned are the input and the output of the network, what softmax and steps without a bound take and give, what reshapes
    tear apart, convolutions with groups, and all that touches a tensor which several nodes use.
    """
    builder = _Builder()
    shared = _shared_tensors(graph)
    for step in graph.steps:
        builder.add(step)
        names = [name for name in tensor_names(step.node.operation) if name in shared]
        if names:
            builder.pin(step, f"several nodes use tensor {names[0]!r}")
    builder.pin_values(graph.output, "it is an output of the network")
    return builder.build()


def _shared_tensors(graph: Graph) -> set[str]:
    uses = Counter(name for step in graph.steps for name in tensor_names(step.node.operation))
    return {name for name, count in uses.items() if count > 1}


@dataclass
class _Builder:
    """Gathers classes step by step; two that turn out to be one point to the smaller number."""

    parents: list[int] = field(default_factory=list[int])
    of: dict[str, Ids] = field(default_factory=dict[str, Ids])
    pins: list[tuple[Ids, str]] = field(default_factory=list[tuple[Ids, str]])

    def add(self, step: Step) -> None:
        """Take one more step, all that it takes being there."""
        name, given = step.node.name, [self.of[taken] for taken in step.node.inputs]
        self.of[name] = np.zeros(0, dtype=np.int64) if step.shape is None else self._ids(step, step.shape, given)
        match step.node.operation:
            case Input():
                self.pin(step, "it is an input of the network")
            case Conv(groups=groups) if groups > 1:
                self.pin(step, f"node {name!r} is a convolution with groups")
            case Softmax():
                self.pin(step, f"node {name!r} is a softmax")
            case _ if step.shape is None:
                self.pin(step, f"nothing is known of the values of node {name!r}")
            case _:
                pass

    def pin(self, step: Step, why: str) -> None:
        """Keep all that the step takes and gives."""
        for name in (*step.node.inputs, step.node.name):
            self.pin_values(name, why)

    def pin_values(self, name: str, why: str) -> None:
        """Keep all channels of a node."""
        self.pins.append((self.of[name], why))

    def build(self) -> Classes:
        """Return the classes, numbered anew."""
        roots, numbers = np.unique([self._root(one) for one in range(len(self.parents))], return_inverse=True)
        pinned: dict[int, str] = {}
        for ids, why in self.pins:
            for one in numbers[ids].tolist():
                pinned.setdefault(one, why)
        return Classes(len(roots), {name: numbers[ids] for name, ids in self.of.items()}, pinned)

    def _ids(self, step: Step, shape: tuple[int, ...], given: list[Ids]) -> Ids:
        match step.node.operation:
            case Input() | Linear() | Conv():
                return self._new(shape[0])
            case Add():
                for other in given[1:]:
                    for one, same in zip(given[0].tolist(), other.tolist(), strict=True):
                        self._join(one, same)
                return given[0]
            case Concat():
                return np.concatenate(given)
            case Reshape():
                return self._reshaped(step, shape, given[0])
            case _:
                return given[0]

    def _reshaped(self, step: Step, shape: tuple[int, ...], given: Ids) -> Ids:
        if shape[0] == len(given):
            return given
        if len(shape) == 1:
            return np.repeat(given, shape[0] // len(given))
        self.pins.append((given, f"node {step.node.name!r} puts values of several channels together"))
        fresh = self._new(shape[0])
        self.pins.append((fresh, f"node {step.node.name!r} takes channels apart"))
        return fresh

    def _new(self, count: int) -> Ids:
        first = len(self.parents)
        self.parents += range(first, first + count)
        return np.arange(first, first + count)

    def _root(self, one: int) -> int:
        while self.parents[one] != one:
            self.parents[one] = self.parents[self.parents[one]]
            one = self.parents[one]
        return one

    def _join(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        self.parents[second] = first
