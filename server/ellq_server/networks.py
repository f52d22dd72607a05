"""From the network of a request to the math's values; whether they hold together is the math's to say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_math.network import nodes
from ellq_math.network.knowledge import Box, InvalidInputs, InvalidMoments, Knowledge, Moments
from ellq_math.network.topology import MAX_NODES, Graph, InvalidTopology, read_graph
from ellq_math.sums import Array
from ellq_server.refusals import InvalidRequest, shorten

MOST_MARGINS = 1 << 18

FIELD = "options.network"


@dataclass(frozen=True)
class Network:
    """The network of a request, not yet held against the tensors of the stream."""

    topology: nodes.Topology
    box: Box | None
    l2_radius: float | None
    margins: Array | None

    def graph(self, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
        """Return the graph over tensors of these shapes. Errors: InvalidRequest (INVALID_TOPOLOGY)."""
        with network_refusals():
            return read_graph(self.topology, shapes)

    def knowledge(self, moments: Mapping[str, Moments]) -> Knowledge:
        """Return all that is known of the inputs, these moments included."""
        return Knowledge(box=self.box, l2_radius=self.l2_radius, moments=moments, margins=self.margins)


def network_from_wire(wire: pb.Network) -> Network:
    """Return the network. Errors: InvalidRequest (INVALID_TOPOLOGY, INVALID_ENUM, INVALID_INPUTS)."""
    if not 1 <= len(wire.topology.nodes) <= MAX_NODES:  # before any of them is read
        message = f"the topology has {len(wire.topology.nodes)} nodes; allowed are 1 to {MAX_NODES}"
        raise _bad_topology(message, f"{FIELD}.topology.nodes")
    found = tuple(_node(node, f"{FIELD}.topology.nodes[{index}]") for index, node in enumerate(wire.topology.nodes))
    inputs = wire.inputs
    if len(inputs.margins) > MOST_MARGINS:
        message = f"{len(inputs.margins)} margins; at most {MOST_MARGINS} are allowed"
        raise InvalidRequest(message, reason="INVALID_INPUTS", field=f"{FIELD}.inputs.margins")
    with network_refusals():
        known = Knowledge(
            box=Box(np.array(inputs.box.low), np.array(inputs.box.high)) if inputs.HasField("box") else None,
            l2_radius=inputs.l2_radius if inputs.HasField("l2_radius") else None,
            margins=np.array(inputs.margins) if inputs.margins else None,
        )
    return Network(nodes.Topology(found, wire.topology.output), known.box, known.l2_radius, known.margins)


@contextmanager
def network_refusals() -> Iterator[None]:
    """Turn the math's refusals of topologies, inputs and moments into ours."""
    try:
        yield
    except InvalidTopology as error:
        raise _bad_topology(str(error), f"{FIELD}.topology") from error
    except InvalidInputs as error:
        raise InvalidRequest(str(error), reason="INVALID_INPUTS", field=f"{FIELD}.inputs.{error.where}") from error
    except InvalidMoments as error:
        raise InvalidRequest(str(error), reason="INVALID_MOMENTS", field="moments") from error


def _node(wire: pb.Node, field: str) -> nodes.Node:
    kind = wire.WhichOneof("operation")
    if kind is None:
        known = ", ".join(one.name for one in pb.Node.DESCRIPTOR.oneofs_by_name["operation"].fields)
        message = f"node {shorten(repr(wire.name))} has no operation, or an unknown one; known are {known}"
        raise _bad_topology(message, field)
    return nodes.Node(wire.name, tuple(wire.inputs), _operation(getattr(wire, kind), f"{field}.{kind}"))


def _operation(wire: Any, field: str) -> nodes.Operation:
    match wire:
        case pb.InputNode():
            return nodes.Input(tuple(wire.shape))
        case pb.LinearNode():
            return nodes.Linear(wire.weight, wire.bias or None, transposed=wire.transposed)
        case pb.ConvNode():
            stride, padding, dilation = tuple(wire.stride), tuple(wire.padding), tuple(wire.dilation)
            return nodes.Conv(wire.weight, wire.bias or None, stride, padding, dilation, wire.groups or 1)
        case pb.ActivationNode():
            kind = _word(pb.ActivationKind, wire.kind, f"{field}.kind")
            return nodes.Activation(nodes.ActivationKind(kind), tuple(wire.parameters))
        case pb.PoolNode():
            kind = nodes.PoolKind(_word(pb.PoolKind, wire.kind, f"{field}.kind"))
            return nodes.Pool(kind, tuple(wire.kernel), tuple(wire.stride), tuple(wire.padding))
        case pb.ReshapeNode():
            return nodes.Reshape(tuple(wire.shape))
        case pb.BatchNormNode():
            return nodes.BatchNorm(wire.mean, wire.variance, wire.epsilon, wire.weight or None, wire.bias or None)
        case pb.AffineNode():
            return nodes.Affine(tuple(wire.scale), tuple(wire.shift))
        case pb.UnboundedNode():
            return nodes.Unbounded(wire.what)
        case pb.AddNode():
            return nodes.Add()
        case pb.ConcatNode():
            return nodes.Concat()
        case pb.GlobalMeanNode():
            return nodes.GlobalMean()
        case pb.SoftmaxNode():
            return nodes.Softmax()
        case _:
            raise TypeError(f"{field} is an operation of the contract that nobody reads")


def _word(enum: Any, value: int, field: str) -> str:
    """Return the math's word for an enum value. Errors: InvalidRequest (INVALID_ENUM)."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    known = [enum.Name(number) for number in enum.values() if number]
    if value not in enum.values() or value == 0:
        message = f"{field} is {value}; allowed are {', '.join(known)}"
        raise InvalidRequest(message, reason="INVALID_ENUM", field=field)
    return enum.Name(value).removeprefix(prefix).lower()


def _bad_topology(message: str, field: str) -> InvalidRequest:
    return InvalidRequest(message, reason="INVALID_TOPOLOGY", field=field)
