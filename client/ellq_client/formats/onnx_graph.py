"""Which constant tensors an ONNX model has, wherever they are, and which nodes take them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import onnx
from onnx import numpy_helper

_MOST_PARTS = 128
"""Parts that one name is followed for: a few nodes that join a tensor with itself could multiply them without end."""

_PASSING = ("Identity", "Cast", "Dropout", "Slice", "Concat", "Transpose", "Unsqueeze")
"""Operators that hand a tensor on, whole or in parts, so that what takes their output takes the tensor."""

Axes: TypeAlias = tuple[int | None, ...]
"""For every axis that a node sees, the axis of the stored tensor; None for one of size 1 that it does not have."""


@dataclass(frozen=True)
class Use:
    """A node that takes a tensor."""

    node: onnx.NodeProto
    place: int
    """Which of its inputs."""
    axes: Axes


@dataclass(frozen=True, eq=False)
class Site:
    """A constant tensor in its place: changing it changes the model."""

    name: str
    """That of the initializer, or of the output of the Constant; with a path where several graphs use the same."""
    tensor: onnx.TensorProto
    uses: list[Use] = field(default_factory=list[Use])

    @property
    def small(self) -> bool:
        """Whether these are a few integers inside the model, such as the axes of a node."""
        within = self.tensor.data_location != onnx.TensorProto.EXTERNAL
        return within and self.tensor.data_type == onnx.TensorProto.INT64 and list(self.tensor.dims) in ([1], [2], [3])


_Scope: TypeAlias = dict[str, list[tuple[Site, Axes]]]
"""What a name stands for: one tensor, or parts of several."""


def sites_of(model: onnx.ModelProto) -> list[Site]:
    """Return every initializer and Constant of the model and the graphs inside it, always in the same order."""
    walk = _Walk()
    walk.graph(model.graph, {}, "")
    for function in model.functions:
        walk.nodes(function.node, {}, f"{function.name}/")
    return walk.sites


class _Walk:
    def __init__(self) -> None:
        self.sites: list[Site] = []
        self._names: set[str] = set()

    def graph(self, graph: onnx.GraphProto, outer: _Scope, path: str) -> None:
        """Take a graph, which sees the tensors of those around it."""
        scope = dict(outer)
        for tensor in graph.initializer:
            self._add(tensor.name, tensor, scope, path)
        self.nodes(graph.node, scope, path)
        for output in graph.output:
            for site, axes in scope.get(output.name, ()):
                site.uses.append(Use(onnx.NodeProto(op_type="the outputs of the graph"), 0, axes))

    def nodes(self, nodes: Any, scope: _Scope, path: str) -> None:
        """Take nodes, which ONNX keeps in order."""
        for node in nodes:
            if node.op_type == "Constant":
                for name, tensor in zip(node.output, _tensors(node), strict=False):
                    self._add(name, tensor, scope, path)
                continue
            taken = [(place, part) for place, name in enumerate(node.input) for part in scope.get(name, ())]
            if (passed := _passed_on(node, scope)) and node.output:
                scope[node.output[0]] = passed
                taken = [(place, part) for place, part in taken if node.op_type != "Concat" and place > 0]
            for place, (site, axes) in taken:
                site.uses.append(Use(node, place, axes))
            for attribute in node.attribute:
                for number, below in enumerate([attribute.g] if attribute.HasField("g") else attribute.graphs):
                    self.graph(below, scope, f"{path}{_called(node)}/{attribute.name}{number or ''}/")

    def _add(self, name: str, tensor: onnx.TensorProto, scope: _Scope, path: str) -> None:
        unique = name if name not in self._names else f"{path}{name}"
        while unique in self._names:
            unique += "'"
        self._names.add(unique)
        site = Site(unique, tensor)
        self.sites.append(site)
        scope[name] = [(site, tuple(range(len(tensor.dims))))]


def _called(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), node.op_type)


def _passed_on(node: onnx.NodeProto, scope: _Scope) -> list[tuple[Site, Axes]]:
    """Return what the output of a node stands for; nothing when it computes something else."""
    if node.op_type not in _PASSING or not node.input:
        return []
    names = node.input if node.op_type == "Concat" else node.input[:1]
    if any(name not in scope for name in names):
        return []  # of something that flows
    parts = list(dict.fromkeys(part for name in dict.fromkeys(names) for part in scope[name]))
    if len(parts) > _MOST_PARTS:
        return []
    if node.op_type == "Transpose":
        return [(site, reordered) for site, axes in parts if (reordered := _transposed(node, axes))]
    if node.op_type == "Unsqueeze":
        return [(site, widened) for site, axes in parts if (widened := _unsqueezed(node, axes, scope))]
    return parts


def _transposed(node: onnx.NodeProto, axes: Axes) -> Axes | None:
    given = [tuple(one.ints) for one in node.attribute if one.name == "perm"]
    order = given[0] if given else tuple(reversed(range(len(axes))))
    return tuple(axes[place] for place in order) if sorted(order) == list(range(len(axes))) else None


def _unsqueezed(node: onnx.NodeProto, axes: Axes, scope: _Scope) -> Axes | None:
    """Return the axes with new ones between; None when a node says where in a way that no runtime takes."""
    places = [tuple(one.ints) for one in node.attribute if one.name == "axes"]
    if len(node.input) > 1:  # since opset 13
        places = [_integers(site.tensor) for site, _ in scope.get(node.input[1], ()) if site.small]
    if not places or not places[0]:
        return None
    width = len(axes) + len(places[0])
    new = {place % width for place in places[0] if -width <= place < width}
    if len(new) < len(places[0]):
        return None
    old = iter(axes)
    return tuple(None if place in new else next(old, None) for place in range(width))


def _integers(tensor: onnx.TensorProto) -> tuple[int, ...]:
    """Return the numbers of a tensor; none when it does not hold together."""
    try:
        return tuple(numpy_helper.to_array(tensor).tolist())
    except (ValueError, TypeError):
        return ()


def _tensors(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    return (one.t for one in node.attribute if one.name == "value" and one.HasField("t"))
