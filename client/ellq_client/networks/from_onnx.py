"""Derives the network of an ONNX model. What the contract cannot express becomes Unbounded: nothing is guessed."""

import os
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ellq_client.errors import ExtraMissing, SourceError, UnderivableNetwork
from ellq_client.networks.activations import Silu
from ellq_client.networks.network import FreshNames, Network, Node
from ellq_client.networks.onnx_calls import Call, Constant
from ellq_client.networks.onnx_operations import operations_of
from ellq_client.networks.operations import Add, Concat, Input, Linear, Unbounded
from ellq_client.networks.tracing import Inexpressible, Operations, Shape, Value
from ellq_client.uris import AnyPath

try:
    import onnx
    from onnx import numpy_helper, shape_inference
except ImportError as missing:
    raise ExtraMissing("reading an ONNX model needs onnx: pip install 'ellq[onnx]'") from missing

Model: TypeAlias = "AnyPath | onnx.ModelProto"

DOMAINS = ("", "ai.onnx")
"""Of the operators that ONNX itself defines."""


def network_of_onnx(model: Model) -> Network:
    """Return the network of an ONNX model. Tensors have the names of its initializers; the batch axis is the first one.

    Errors: SourceError when the file cannot be read; UnderivableNetwork when the model has several inputs or outputs, or an
    input whose shape is not fixed.
    """
    return _Walk(_loaded(model)).network()


def weights_of_onnx(model: Model) -> dict[str, np.ndarray]:
    """Return the initializers of an ONNX model by name: what `Client.compress` takes. Errors: SourceError."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in _loaded(model).graph.initializer}


def _loaded(model: Model) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        return onnx.load(os.fspath(model))  # pyright: ignore[reportUnknownMemberType]  # onnx leaves the kind of a path open
    except OSError as error:
        raise SourceError(f"cannot read {os.fspath(model)}: {error.strerror}") from error
    except Exception as error:  # protobuf's own errors have no class of their own in all of its versions
        raise SourceError(f"{os.fspath(model)} is no ONNX model: {error}") from error


class _Walk:
    """One walk over the nodes of a graph, which ONNX keeps in order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        inferred = shape_inference.infer_shapes(model).graph
        told = (*inferred.input, *inferred.value_info, *inferred.output)
        self._dims = {one.name: _dims(one) for one in told}
        self._batch: int | None = None
        self._constants = {one.name: Constant(one.name, numpy_helper.to_array(one)) for one in model.graph.initializer}
        self._values: dict[str, Value] = {}
        self._names = FreshNames()
        self._nodes: dict[str, Node] = {}

    def network(self) -> Network:
        """Return the network. Errors: UnderivableNetwork."""
        self._take_input()
        for node in self._graph.node:
            self._take_node(node)
        outputs = [one.name for one in self._graph.output]
        if len(outputs) != 1 or outputs[0] not in self._values:
            trouble = f"the model has outputs {', '.join(outputs)}"
            raise UnderivableNetwork(f"{trouble}; a network has one, which depends on its input")
        return Network(tuple(self._nodes.values()), self._values[outputs[0]].node)

    def _take_input(self) -> None:
        names = [one.name for one in self._graph.input if one.name not in self._constants]
        if len(names) != 1:
            raise UnderivableNetwork(f"the model has inputs {', '.join(names)}; a network has one")
        batch, *shape = self._dims.get(names[0]) or [None]
        fixed = [size for size in shape if size is not None]
        if not fixed or len(fixed) < len(shape):
            raise UnderivableNetwork(f"input {names[0]!r} has no fixed shape behind its batch axis; export the model with one")
        self._batch = batch
        self._append(names[0], names[0], (Input(*fixed),), [], tuple(fixed))

    def _take_node(self, node: onnx.NodeProto) -> None:
        attributes = {one.name: _plain(onnx.helper.get_attribute_value(one)) for one in node.attribute}
        if node.op_type == "Constant" and isinstance(attributes.get("value"), onnx.TensorProto):
            self._constants[node.output[0]] = Constant(None, numpy_helper.to_array(attributes["value"]))
        inputs = tuple(self._values.get(name, self._constants.get(name)) for name in node.input)
        flowing = [one.node for one in inputs if isinstance(one, Value)]
        if not flowing:
            return  # what depends on no input is no step; whoever takes it is told that it is unknown
        call = Call(node.op_type, inputs, attributes, self._batch)
        if self._folded_bias(node, call) or self._folded_silu(node, call):
            return
        unknown = [name for name, one in zip(node.input, inputs, strict=True) if name and one is None]
        operations: Operations
        try:
            if node.domain not in DOMAINS:
                raise Inexpressible(f"{node.domain}.{node.op_type}")
            if unknown or any(node.output[1:]):
                raise Inexpressible(f"{node.op_type} of something computed, or with several outputs")
            operations = operations_of(call)
        except Inexpressible as trouble:
            operations = (Unbounded(str(trouble)),)
        wanted = node.name or node.output[0]
        for output in filter(None, node.output):
            self._append(output, wanted, operations, flowing, self._sample_shape(output))

    def _folded_bias(self, node: onnx.NodeProto, call: Call) -> bool:
        """Turn MatMul and Add into one linear node when nobody else takes the product."""
        vectors = [one for one in call.inputs if isinstance(one, Constant) and one.name is not None and one.array.ndim == 1]
        products = [name for name in node.input if name in self._values]
        if node.op_type != "Add" or len(vectors) != 1 or len(products) != 1:
            return False
        before = self._nodes[self._values[products[0]].node]
        users = sum(products[0] in other.input for other in self._graph.node) + sum(
            products[0] == one.name for one in self._graph.output
        )
        width = self._values[products[0]].shape
        if not isinstance(before.operation, Linear) or before.operation.bias or users > 1 or vectors[0].array.shape != width:
            return False
        self._nodes[before.name] = Node(before.name, replace(before.operation, bias=vectors[0].name), *before.inputs)
        self._values[node.output[0]] = self._values[products[0]]
        return True

    def _folded_silu(self, node: onnx.NodeProto, call: Call) -> bool:
        """Turn x times the sigmoid of x, which exporters write for SiLU, into one node; the sigmoid is left to nobody."""
        values = [one for one in call.inputs if isinstance(one, Value)]
        if node.op_type != "Mul" or len(values) != 2:
            return False
        for value, gate in (values, reversed(values)):
            made = self._nodes[gate.node]
            if getattr(made.operation, "function", "") == "sigmoid" and made.inputs == (value.node,):
                self._append(node.output[0], node.name or node.output[0], (Silu(),), [value.node], value.shape)
                return True
        return False

    def _append(self, output: str, wanted: str, operations: Operations, taken: list[str], shape: Shape | None) -> None:
        for operation in operations:
            name = self._names.fresh(wanted)
            self._nodes[name] = Node(name, operation, *(taken if isinstance(operation, Add | Concat) else taken[:1]))
            taken = [name]
        self._values[output] = Value(taken[0], shape)

    def _sample_shape(self, name: str) -> Shape | None:
        _, *shape = self._dims.get(name) or [None]
        fixed = tuple(size for size in shape if size is not None)
        return fixed if fixed and len(fixed) == len(shape) else None


def _dims(value: onnx.ValueInfoProto) -> list[int | None] | None:
    """Return the sizes that are fixed, None for others; None for a tensor of unknown rank."""
    kind: Any = value.type.tensor_type
    return [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim] if kind.HasField("shape") else None


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
