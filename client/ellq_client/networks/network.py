"""How tensors make up a network: nodes that name the nodes whose values they take, from one input to one output."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidNetwork, SourceError
from ellq_client.networks.activations import Activation
from ellq_client.networks.inputs import InputKnowledge, Values, box_of, numbers_of
from ellq_client.networks.operations import MaxPool, MeanPool, Operation
from ellq_client.networks.wire import operation_from_proto, operation_to_proto
from ellq_client.partial_file import write_file
from ellq_client.permissions import ORDINARY
from ellq_client.uris import AnyPath


@dataclass(frozen=True, init=False)
class Node:
    """One step: `Node("sum", Add(), "left", "right")` takes the values of the nodes named left and right."""

    name: str
    operation: Operation
    inputs: tuple[str, ...]

    def __init__(self, name: str, operation: Operation, *inputs: str) -> None:
        for key, value in (("name", name), ("operation", operation), ("inputs", inputs)):
            object.__setattr__(self, key, value)


@dataclass(frozen=True)
class Network:
    """All nodes, in any order, and what is known of the inputs."""

    nodes: Sequence[Node]
    """Kept as a tuple."""
    output: str = ""
    """Name of the node whose values are the outputs. Empty: the one node that no other takes."""
    inputs: InputKnowledge = field(default_factory=InputKnowledge)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))

    def with_inputs(
        self, *, box: tuple[Values, Values] | None = None, l2_radius: float | None = None, margins: Values | None = None
    ) -> "Network":
        """Return the network with more known of its inputs; what is not given stays as it was.

        `box` is (low, high), each a number for all values or an array of one for each; `margins` has one for each sample.
        Errors: InvalidNetwork when these are no numbers.
        """
        known = self.inputs
        if box is not None:
            known = replace(known, box=box_of(box))
        if l2_radius is not None:
            known = replace(known, l2_radius=float(l2_radius))
        if margins is not None:
            known = replace(known, margins=numbers_of(margins, "margins"))
        return replace(self, inputs=known)

    def to_proto(self) -> pb.Network:
        """Return the message. Errors: InvalidNetwork for a node that the message cannot hold."""
        message = pb.Network(topology=pb.Topology(output=self.output))
        for node in self.nodes:
            added = message.topology.nodes.add(name=node.name, inputs=node.inputs)
            operation_to_proto(node.operation, added)
        if self.inputs != InputKnowledge():
            message.inputs.CopyFrom(self.inputs.to_proto())
        return message

    @classmethod
    def from_proto(cls, message: pb.Network) -> "Network":
        """Return the network of a message. Errors: InvalidNetwork for a node that this version does not know."""
        nodes = tuple(Node(node.name, operation_from_proto(node), *node.inputs) for node in message.topology.nodes)
        return cls(nodes, message.topology.output, InputKnowledge.from_proto(message.inputs))

    def save(self, path: AnyPath, *, permissions: int = ORDINARY, replace: bool = True) -> None:
        """Write the network as JSON, which any language reads as the message ellq.v1.Network. Errors: OutputError.

        The file gets at most these permission bits: those of what the network is made of. Without `replace` what is there
        stays, and that is an error.
        """
        text = json_format.MessageToJson(self.to_proto(), preserving_proto_field_name=True, indent=1)
        write_file(Path(path), [text.encode() + b"\n"], permissions=permissions, replace=replace)

    @classmethod
    def load(cls, path: AnyPath) -> "Network":
        """Return the network in a JSON file. Errors: SourceError when it cannot be read, InvalidNetwork when it is none."""
        try:
            text = Path(path).read_text(encoding="utf-8")
            message = json_format.Parse(text, pb.Network())
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror}") from error
        except (json_format.ParseError, UnicodeDecodeError) as error:
            raise InvalidNetwork(f"{path} describes no network: {error}") from error
        return cls.from_proto(message)


def chain(*operations: Operation) -> Network:
    """Return the network that does one operation after the other.

    A node is named after its tensor ("conv1" for conv1.weight), else after what it does ("relu", "relu_2", ...).
    """
    nodes: list[Node] = []
    taken = FreshNames()
    for operation in operations:
        before = [nodes[-1].name] if nodes else []
        nodes.append(Node(taken.fresh(_wanted_name(operation)), operation, *before))
    return Network(nodes)


class FreshNames:
    """Names that are not taken yet."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def fresh(self, wanted: str) -> str:
        """Return the name that is wanted, with a number if it is taken: relu, relu_2, ..."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _wanted_name(operation: Operation) -> str:
    values: dict[str, Any] = {one.name: getattr(operation, one.name) for one in fields(operation)}
    tensor = values.get("weight") or values.get("mean")
    if tensor:
        return tensor.rpartition(".")[0] or tensor
    if isinstance(operation, MaxPool | MeanPool):
        return f"{operation.function}_pool"
    return operation.function if isinstance(operation, Activation) else operation.kind
