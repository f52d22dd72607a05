"""Dead and constant neurons really taken out: smaller tensors, and the topology that goes with them.

The function of the network stays the same in exact arithmetic. In floating point, taking out what no output sees removes terms
that are zero; folding a constant into biases rounds them once more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ellq_math.network.constants import met_by_weights
from ellq_math.network.dead_neurons import Flags
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.layers import layer_of
from ellq_math.network.nodes import Affine, Conv, Linear, Node, Reshape, Topology
from ellq_math.network.removal import Removal, plan_removal
from ellq_math.network.topology import Graph, Step, read_graph, tensor_names
from ellq_math.sums import Array, canonical_sum

Stored = npt.NDArray[Any]


@dataclass(frozen=True)
class Stays:
    """Neurons that no output sees or that are constant, and stay all the same."""

    node: str
    neurons: int
    why: str
    """Part of a sentence for a person."""


@dataclass(frozen=True)
class Shrunk:
    """A network without what it does not need, and what became of it."""

    tensors: dict[str, Stored]
    """All tensors, those that no node uses among them; same dtypes."""
    topology: Topology
    """In the order of the data flow, without nodes that the output does not depend on."""
    removed: dict[str, int]
    """Neurons that are gone, by node; nodes that lost none are left out."""
    rounded: tuple[str, ...]
    """Bias tensors that took in a constant, which rounds."""
    stays: tuple[Stays, ...]


def shrink(topology: Topology, tensors: Mapping[str, Stored]) -> Shrunk:
    """Return the network without its dead and constant neurons, as far as their removal is exact.

    `tensors` are all that the topology names, of any floating point dtype, finite. Errors: InvalidTopology.
    """
    graph = read_graph(topology, {name: stored.shape for name, stored in tensors.items()})
    plan = plan_removal(graph, lambda name: tensors[name].astype(np.float64))
    kept = {name: ~going for name, going in plan.going.items()}
    found = dict(tensors)
    rounded: list[str] = []
    for step in graph.steps:
        if isinstance(step.node.operation, Linear | Conv):
            bias = _absorb(step, tensors, plan)
            if bias is not None:
                name, found[name] = bias
                rounded.append(name)
        found |= _cut(step, found, kept)
    return Shrunk(
        tensors=found,
        topology=Topology(tuple(_smaller(step, kept) for step in graph.steps), graph.output),
        removed=_removed(graph, plan),
        rounded=tuple(rounded),
        stays=tuple(Stays(node, count, why) for node, reasons in plan.obstacles.items() for why, count in reasons.items()),
    )


def _absorb(step: Step, tensors: Mapping[str, Stored], plan: Removal) -> tuple[str, Stored] | None:
    """Return the bias of a layer with the constants that are taken from its input, by name; None where it stays the same."""
    layer, folded = layer_of(step), plan.folded[step.node.inputs[0]]
    if layer.bias is None or not folded.any():
        return None
    stored, bias = tensors[layer.weight].astype(np.float64), tensors[layer.bias]
    taken_in: Array = canonical_sum(layer_rows(layer, stored) * met_by_weights(layer, stored, folded))
    if not taken_in.any():
        return None
    return layer.bias, (bias.astype(np.float64) + taken_in).astype(bias.dtype)


def _cut(step: Step, tensors: Mapping[str, Stored], kept: Mapping[str, Flags]) -> dict[str, Stored]:
    """Return the tensors of a step without what is gone, by name."""
    names, here = tensor_names(step.node.operation), kept[step.node.name]
    if not names or all(kept[name].all() for name in (*step.node.inputs, step.node.name)):
        return {}
    found = {name: tensors[name][here] for name in names if tensors[name].ndim == 1}
    match step.node.operation:
        case Linear(weight, transposed=True):
            found[weight] = tensors[weight][np.ix_(kept[step.node.inputs[0]], here)]
        case Linear(weight) | Conv(weight):
            found[weight] = tensors[weight][np.ix_(here, kept[step.node.inputs[0]])]
        case _:
            pass
    return found


def _smaller(step: Step, kept: Mapping[str, Flags]) -> Node:
    """Return the node with parameters for what is left."""
    here = kept[step.node.name]
    match step.node.operation:
        case Affine(scale, shift) as affine if len(here):
            smaller = replace(affine, scale=_kept_entries(scale, here), shift=_kept_entries(shift, here))
        case Reshape() if step.shape is not None:
            smaller = Reshape() if len(step.shape) == 1 else Reshape((int(here.sum()), *step.shape[1:]))
        case operation:
            smaller = operation
    return replace(step.node, operation=smaller)


def _kept_entries(entries: tuple[float, ...], here: Flags) -> tuple[float, ...]:
    """Return the entries of channels that stay; a single one is for all."""
    return entries if len(entries) < 2 else tuple(np.array(entries)[here].tolist())


def _removed(graph: Graph, plan: Removal) -> dict[str, int]:
    counts = {step.node.name: int(plan.going[step.node.name].sum()) for step in graph.layers}
    return {name: count for name, count in counts.items() if count}
