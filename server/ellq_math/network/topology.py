"""A network's graph, checked against its tensors and put in order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush

from ellq_math.network.nodes import Add, BatchNorm, Concat, Conv, Input, Linear, Node, Operation, Pool, Topology
from ellq_math.network.parameters import Misfit
from ellq_math.network.shapes import Shape, batch_norm_tensors, padded_values, settle

MAX_NODES = 10_000
"""Most nodes of a topology."""

MAX_INPUTS = 1_000
"""Most nodes whose values one node takes."""

LONGEST_NAME = 1024
"""Bytes of a node's name in UTF-8."""

NAMED_NODES = 5
"""Most nodes that a message names."""


class InvalidTopology(ValueError):
    """A graph that does not hold together. `node` is the name of the node that is wrong; empty for the graph as a whole."""

    def __init__(self, node: str, message: str) -> None:
        super().__init__(message)
        self.node = node


@dataclass(frozen=True)
class Step:
    """One node in its place. Parameters of its operation are complete (see nodes.Conv), but for pools of unknown shape."""

    node: Node
    shape: Shape | None
    """Of its values; None behind a node that is Unbounded, whose shape nobody knows."""
    input_shapes: tuple[Shape | None, ...]
    """Of what it takes, in the order of node.inputs."""
    fan_in: int
    """How many products each value is a sum of, in a step with neurons; values in a window, in a pool; else 1."""


@dataclass(frozen=True)
class Graph:
    """All nodes that the output depends on, each after those that it takes."""

    steps: tuple[Step, ...]
    output: str

    def step(self, name: str) -> Step:
        """Return the step of the node of that name."""
        return self._by_name[name]

    @cached_property
    def input(self) -> Step:
        """The step of the input."""
        return next(step for step in self.steps if isinstance(step.node.operation, Input))

    @cached_property
    def layers(self) -> tuple[Step, ...]:
        """The steps with neurons: linear ones and convolutions."""
        return tuple(step for step in self.steps if isinstance(step.node.operation, Linear | Conv))

    @cached_property
    def transposed(self) -> frozenset[str]:
        """The names of the tensors of weights that some step takes (in, out)."""
        operations = (step.node.operation for step in self.layers)
        return frozenset(one.weight for one in operations if isinstance(one, Linear) and one.transposed)

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors that the steps use, each once."""
        return tuple(dict.fromkeys(name for step in self.steps for name in tensor_names(step.node.operation)))

    @cached_property
    def last_use(self) -> Mapping[str, str]:
        """For each node that another takes, the last that takes it: behind it, its values are needed no more."""
        return {taken: step.node.name for step in self.steps for taken in step.node.inputs}

    @cached_property
    def layers_above(self) -> Mapping[str, int]:
        """For each node, how many steps with neurons it depends on, itself counted."""
        masks: dict[str, int] = {}  # one bit for each step
        for place, step in enumerate(self.steps):
            masks[step.node.name] = 1 << place if isinstance(step.node.operation, Linear | Conv) else 0
            for name in step.node.inputs:
                masks[step.node.name] |= masks[name]
        return {name: mask.bit_count() for name, mask in masks.items()}

    @cached_property
    def _by_name(self) -> Mapping[str, Step]:
        return {step.node.name: step for step in self.steps}


def tensor_names(operation: Operation) -> list[str]:
    """Return the names of the tensors that an operation uses."""
    match operation:
        case Linear(weight, bias) | Conv(weight, bias):
            return [weight] if bias is None else [weight, bias]
        case BatchNorm():
            return batch_norm_tensors(operation)
        case _:
            return []


def work(graph: Graph) -> int:
    """Return the multiplications and additions, a pair counted once, of one forward pass, up to steps of unknown shape.

    A step takes as much as it has products, or values that it reads, padding counted: whichever is more.
    """
    return sum(max(step.fan_in * math.prod(step.shape), _values_taken(step)) for step in graph.steps if step.shape)


def values_passed(graph: Graph) -> int:
    """Return how many values all steps read, padding counted, and give, up to steps of unknown shape."""
    return sum(_values_taken(step) + math.prod(step.shape) for step in graph.steps if step.shape is not None)


def _values_taken(step: Step) -> int:
    """Return how many values a step reads, padding counted."""
    taken = [shape for shape in step.input_shapes if shape is not None]
    return max(sum(map(math.prod, taken)), padded_values(step.node.operation, taken))


def largest_values(graph: Graph) -> int:
    """Return the most values that any step has, or takes with its padding."""
    sizes = (max(math.prod(step.shape), _values_taken(step)) for step in graph.steps if step.shape is not None)
    return max(sizes, default=0)


def read_graph(topology: Topology, shapes: Mapping[str, Shape]) -> Graph:
    """Return the graph; `shapes` are those of all tensors by name.

    Nodes keep the order they are listed in as far as each comes after those that it takes. All are checked, and those that the
    output does not depend on are left out; the input stays, because all chains of nodes begin there.
    Errors: InvalidTopology, naming node, what was found and what is allowed.
    """
    nodes = _named(topology)
    order = _ordered(nodes)
    output = _output(topology, nodes)
    steps: dict[str, Step] = {}
    for node in order:
        taken = tuple(steps[name].shape for name in node.inputs)
        try:
            operation, shape = settle(node.operation, taken, shapes)
        except Misfit as misfit:
            raise InvalidTopology(node.name, f"node {node.name!r}: {misfit}") from misfit
        steps[node.name] = Step(replace(node, operation=operation), shape, taken, _fan_in(operation, shapes))
    needed = _needed(nodes, output)
    return Graph(tuple(step for name, step in steps.items() if name in needed), output)


def _named(topology: Topology) -> dict[str, Node]:
    """Return the nodes by name, names and numbers of inputs checked."""
    if not 1 <= len(topology.nodes) <= MAX_NODES:
        raise InvalidTopology("", f"the topology has {len(topology.nodes)} nodes; allowed is 1 to {MAX_NODES}")
    nodes: dict[str, Node] = {}
    for place, node in enumerate(topology.nodes):
        if not node.name:
            raise InvalidTopology("", f"nodes[{place}] has no name; every node needs one")
        if (length := len(node.name.encode(errors="replace"))) > LONGEST_NAME:
            raise InvalidTopology("", f"the name of nodes[{place}] has {length} bytes; allowed are {LONGEST_NAME}")
        if node.name in nodes:
            raise InvalidTopology(node.name, f"two nodes are named {node.name!r}; names are distinct")
        nodes[node.name] = node
    for node in topology.nodes:
        _check_inputs(node, nodes)
    sources = [node.name for node in topology.nodes if isinstance(node.operation, Input)]
    if len(sources) != 1:
        raise InvalidTopology("", f"the topology has {len(sources)} input nodes{_listed(sources)}; it needs exactly one")
    return nodes


def _check_inputs(node: Node, nodes: Mapping[str, Node]) -> None:
    count = len(node.inputs)
    match node.operation:
        case Input():
            right, allowed = count == 0, "none for the input"
        case Add() | Concat():
            right, allowed = 2 <= count <= MAX_INPUTS, f"two or more for add and concat, up to {MAX_INPUTS}"
        case _:
            right, allowed = count == 1, "one for all but input, add and concat"
    if not right:
        raise InvalidTopology(node.name, f"node {node.name!r} takes {count} inputs; allowed is {allowed}")
    for name in node.inputs:
        if name not in nodes:
            raise InvalidTopology(node.name, f"node {node.name!r} takes {name[:LONGEST_NAME]!r}, and no node has that name")


def _ordered(nodes: Mapping[str, Node]) -> list[Node]:
    """Return the nodes, each after those that it takes; otherwise as they are listed."""
    listed = list(nodes.values())
    places = {name: place for place, name in enumerate(nodes)}
    sorter = TopologicalSorter({node.name: set(node.inputs) for node in listed})
    try:
        sorter.prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        raise InvalidTopology(cycle[0], f"nodes take each other's values in a circle{_listed(cycle)}") from error
    ready: list[int] = []
    order: list[Node] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heappush(ready, places[name])
        order.append(listed[heappop(ready)])
        sorter.done(order[-1].name)
    return order


def _output(topology: Topology, nodes: Mapping[str, Node]) -> str:
    if topology.output:
        if topology.output not in nodes:
            raise InvalidTopology("", f"the output is {topology.output[:LONGEST_NAME]!r}, and no node has that name")
        return topology.output
    taken = {name for node in topology.nodes for name in node.inputs}
    last = [name for name in nodes if name not in taken]
    if len(last) != 1:
        raise InvalidTopology("", f"no other node takes any of {len(last)} nodes{_listed(last)}; say which is the output")
    return last[0]


def _needed(nodes: Mapping[str, Node], output: str) -> set[str]:
    """Return the names of the output and of all that it depends on."""
    needed: set[str] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += nodes[name].inputs
    return needed


def _fan_in(operation: Operation, shapes: Mapping[str, Shape]) -> int:
    match operation:
        case Linear(weight, transposed=transposed):
            return shapes[weight][0 if transposed else 1]
        case Conv(weight):
            return math.prod(shapes[weight][1:])
        case Pool(kernel=kernel):
            return math.prod(kernel)
        case _:
            return 1


def _listed(names: list[str]) -> str:
    """Return the first few names for the end of a phrase."""
    shown = ", ".join(repr(name) for name in names[:NAMED_NODES])
    more = ", ..." if len(names) > NAMED_NODES else ""
    return f": {shown}{more}" if names else ""
