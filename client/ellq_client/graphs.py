"""Between the contract's network and the math's values, field by field: both use the same names."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, get_args, get_type_hints

import numpy as np

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidNetwork
from ellq_client.mirror import enum_name, enum_word
from ellq_math.network import nodes
from ellq_math.network.knowledge import Box, InvalidInputs, Knowledge, Moments

_OPERATIONS: dict[str, type[nodes.Operation]] = {
    "input": nodes.Input,
    "linear": nodes.Linear,
    "conv": nodes.Conv,
    "activation": nodes.Activation,
    "add": nodes.Add,
    "concat": nodes.Concat,
    "pool": nodes.Pool,
    "global_mean": nodes.GlobalMean,
    "reshape": nodes.Reshape,
    "batch_norm": nodes.BatchNorm,
    "affine": nodes.Affine,
    "softmax": nodes.Softmax,
    "unbounded": nodes.Unbounded,
}
_KINDS = {kind: name for name, kind in _OPERATIONS.items()}


def read_topology(topology: pb.Topology) -> nodes.Topology:
    """Return the math's topology. Errors: InvalidNetwork for an operation or a word that this version does not know."""
    return nodes.Topology(tuple(_read_node(node) for node in topology.nodes), topology.output)


def write_topology(topology: nodes.Topology) -> pb.Topology:
    """Return the contract's topology."""
    message = pb.Topology(output=topology.output)
    for node in topology.nodes:
        added = message.nodes.add(name=node.name, inputs=node.inputs)
        operation = getattr(added, _KINDS[type(node.operation)])
        operation.SetInParent()
        for field in fields(node.operation):
            _write(operation, field.name, getattr(node.operation, field.name))
    return message


def read_knowledge(inputs: pb.InputKnowledge, moments: Mapping[str, Moments]) -> Knowledge:
    """Return what is known of the inputs. Errors: InvalidNetwork when no inputs are like that."""
    try:
        return Knowledge(
            box=Box(np.array(inputs.box.low), np.array(inputs.box.high)) if inputs.HasField("box") else None,
            l2_radius=inputs.l2_radius if inputs.HasField("l2_radius") else None,
            moments=moments,
            margins=np.array(inputs.margins) if inputs.margins else None,
        )
    except InvalidInputs as error:
        raise InvalidNetwork(str(error), field=f"network.inputs.{error.where}", reason="INVALID_INPUTS") from error


def read_moments(frames: Iterable[pb.Moments], fan_ins: Mapping[str, int]) -> dict[str, Moments]:
    """Return the moments by tensor; `fan_ins` are those of all tensors.

    Errors: InvalidNetwork when their lengths do not fit.
    """
    second: dict[str, Any] = {}
    matrices: dict[str, bytearray] = {}
    for frame in frames:
        if frame.second_moments:
            second[frame.tensor] = np.array(frame.second_moments)
        matrices.setdefault(frame.tensor, bytearray()).extend(frame.matrix)
    try:
        return {name: _moments(name, found, matrices[name], fan_ins) for name, found in second.items()}
    except ValueError as error:
        raise InvalidNetwork(f"these moments are not of these tensors: {error}", reason="INVALID_MOMENTS") from error


def _moments(name: str, second: Any, matrix: bytearray, fan_ins: Mapping[str, int]) -> Moments:
    if name not in fan_ins:
        raise ValueError(f"there are moments of {name!r}, and no tensor of weights has that name")
    fan_in = fan_ins[name]
    if len(second) % fan_in:
        raise ValueError(f"{name!r} has {len(second)} moments for neurons of {fan_in} weights")
    if not matrix:
        return Moments(name, second)
    return Moments(name, second, np.frombuffer(matrix, "<f8").reshape(len(second) // fan_in, fan_in, fan_in))


def _read_node(node: pb.Node) -> nodes.Node:
    name = node.WhichOneof("operation")
    if name is None:
        raise InvalidNetwork(f"node {node.name!r} has no operation, or one that this version does not know")
    kind, message = _OPERATIONS[name], getattr(node, name)
    values = {field: _read(message, field, hint) for field, hint in get_type_hints(kind).items()}
    if kind is nodes.Conv:
        values["groups"] = values["groups"] or 1  # absent, on the wire
    return nodes.Node(node.name, tuple(node.inputs), kind(**values))


def _read(message: Any, name: str, hint: Any) -> Any:
    value, described = getattr(message, name), message.DESCRIPTOR.fields_by_name[name]
    if described.is_repeated:
        return tuple(value)
    if described.enum_type is None:
        return None if value == "" and type(None) in get_args(hint) else value
    word = enum_word(described.enum_type, value)
    if word not in {known.value for known in hint}:
        raise InvalidNetwork(f"{name} is {word!r}, which this version does not know", reason="INVALID_ENUM")
    return hint(word)


def _write(message: Any, name: str, value: Any) -> None:
    described = message.DESCRIPTOR.fields_by_name[name]
    if described.is_repeated:
        getattr(message, name).extend(value)
    elif isinstance(value, Enum):
        setattr(message, name, described.enum_type.values_by_name[enum_name(described.enum_type, value.value)].number)
    elif value is not None:
        setattr(message, name, value)
