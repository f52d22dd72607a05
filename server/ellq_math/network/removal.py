"""Which channels of a network can go, all that hang together at once.

Channels that a step maps one to one, or adds, form a class (channel_classes.py). A class goes when no output sees any of its
channels, or when all of them are constants that the layers which take them can absorb.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ellq_math.network.channel_classes import Classes, channel_classes
from ellq_math.network.constants import constants, met_by_weights
from ellq_math.network.dead_neurons import Flags, channel_flags, live_values
from ellq_math.network.factors import Source
from ellq_math.network.layer_gains import layer_rows
from ellq_math.network.layers import layer_of
from ellq_math.network.nodes import Conv
from ellq_math.network.topology import Graph, Step
from ellq_math.sums import Array


@dataclass(frozen=True)
class Removal:
    """What goes, and what could go but for one thing. All but obstacles by node: (channels,), empty for unknown shapes."""

    going: Mapping[str, Flags]
    folded: Mapping[str, Array]
    """Constants of what goes, for layers to absorb; 0 for all other channels."""
    obstacles: Mapping[str, Mapping[str, int]]
    """By node with weights: why neurons stay that no output sees or that are constant, and how many."""


def plan_removal(graph: Graph, source: Source) -> Removal:
    """Return what can go without changing the function of the network, in exact arithmetic."""
    classes = channel_classes(graph)
    live = _live_classes(graph, source, classes)
    fixed = constants(graph, source)
    varies = classes.any_of({name: np.isnan(values) for name, values in fixed.items()})
    reasons = dict(classes.pinned)
    for step in graph.layers:
        _demand_absorption(step, source, classes, np.nan_to_num(fixed[step.node.inputs[0]]), live, reasons)
    idle = ~live | ~varies
    going = idle.copy()
    going[list(reasons)] = False
    _keep_one(graph, classes, going, reasons)
    return Removal(
        going={name: going[ids] for name, ids in classes.of.items()},
        folded={name: np.where(going[ids], np.nan_to_num(fixed[name]), 0.0) for name, ids in classes.of.items()},
        obstacles={step.node.name: _obstacles(classes.of[step.node.name], idle & ~going, reasons) for step in graph.layers},
    )


def _live_classes(graph: Graph, source: Source, classes: Classes) -> Flags:
    live: dict[str, Flags] = {}
    for name, values in live_values(graph, source).items():
        shape = graph.step(name).shape
        live[name] = np.ones(0, dtype=np.bool_) if values is None or shape is None else channel_flags(values, shape)
    return classes.any_of(live)


def _demand_absorption(
    step: Step, source: Source, classes: Classes, fixed: Array, live: Flags, reasons: dict[int, str]
) -> None:
    """Pin live classes whose constants the layer could not absorb: it has no bias, or padding that they do not reach."""
    layer, ids = layer_of(step), classes.of[step.node.inputs[0]]
    padded = isinstance(layer, Conv) and any(layer.padding)
    if len(ids) == 0 or (layer.bias is not None and not padded):
        return
    stored = source(layer.weight)
    met = met_by_weights(layer, stored, np.arange(len(ids), dtype=np.float64)).astype(np.int64)
    weighs = (layer_rows(layer, stored) != 0) & (fixed[met] != 0)
    for channel in np.unique(np.broadcast_to(met, weighs.shape)[weighs]).tolist():
        if live[ids[channel]]:
            why = "pads with zeros" if padded else "has no bias"
            reasons.setdefault(int(ids[channel]), f"node {step.node.name!r} cannot absorb the constant: it {why}")


def _keep_one(graph: Graph, classes: Classes, going: Flags, reasons: dict[int, str]) -> None:
    """Let one class stay where all channels of a node would go: shapes without values are no shapes."""
    emptied = True
    while emptied:
        emptied = False
        for step in graph.steps:
            ids = classes.of[step.node.name]
            if len(ids) and going[ids].all():
                emptied = True
                going[ids[0]] = False
                reasons[int(ids[0])] = f"node {step.node.name!r} would be left without values"


def _obstacles(ids: npt.NDArray[np.int64], staying: Flags, reasons: Mapping[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in ids[staying[ids]].tolist():
        found[reasons[one]] = found.get(reasons[one], 0) + 1
    return found
