"""Derives the network of a torch module from its trace by torch.fx.

What the contract cannot express becomes Unbounded: nothing is guessed.
"""

import copy
import operator
from collections.abc import Container
from typing import Any

from ellq_client.errors import ExtraMissing, UnderivableNetwork
from ellq_client.formats.torch_storages import overlapping
from ellq_client.networks.activations import Identity
from ellq_client.networks.network import FreshNames, Network, Node
from ellq_client.networks.operations import Add, Concat, Conv, Input, Linear, Reshape, Unbounded
from ellq_client.networks.torch_calls import Call
from ellq_client.networks.torch_memory import Memory
from ellq_client.networks.torch_operations import operations_of
from ellq_client.networks.tracing import Inexpressible, Operations, Shape, Value

try:
    import torch
    from torch import fx, nn
    from torch.fx.passes.shape_prop import ShapeProp
    from torch.nn import functional
except ImportError as missing:
    raise ExtraMissing("deriving the network of a module needs torch: pip install 'ellq[torch]'") from missing

BATCH = 2
"""Samples that shapes are measured with: two, so that a reshape across samples shows."""


def network_of(module: nn.Module, input_shape: tuple[int, ...]) -> Network:
    """Return the network of a module at inference; `input_shape` is that of one sample, without the batch axis.

    Tensors have the names of the module's state_dict, nodes those of its modules. A copy of the module runs on two random
    samples, to learn shapes and to hold the trace against it. Errors: UnderivableNetwork when torch.fx cannot trace it, it
    cannot run, the trace computes something else, or there are several inputs or outputs.
    """
    copied = copy.deepcopy(module).cpu().float().eval()
    samples = torch.randn(BATCH, *input_shape, generator=torch.Generator().manual_seed(0))
    try:
        traced = fx.symbolic_trace(copied)
        with torch.no_grad():
            expected, found = copied(samples.clone()), ShapeProp(traced).propagate(samples.clone())
    except Exception as error:  # whatever a module's own code may raise
        reason = f"{type(module).__name__} cannot be traced: {error}"
        raise UnderivableNetwork(f"{reason}; describe its network by hand, see docs/networks.md") from error
    # A trace takes += for +, and numbers that depend on values for constants: then it computes something else.
    if isinstance(expected, torch.Tensor) and not torch.allclose(expected, found, rtol=0, atol=0, equal_nan=True):
        reason = f"the trace of {type(module).__name__} computes something else than the module"
        raise UnderivableNetwork(f"{reason}; describe its network by hand, see docs/networks.md")
    return _Walk(traced, tuple(input_shape), tied=_tied(module)).network()


class _Walk:
    """One walk over the calls of a traced module, in their order."""

    def __init__(self, traced: fx.GraphModule, input_shape: Shape, *, tied: Container[str]) -> None:
        self._traced = traced
        self._input_shape = input_shape
        self._stored = traced.state_dict().keys()
        self._tied = tied
        self._names = FreshNames()
        self._nodes: list[Node] = []
        self._values: dict[fx.Node, Value] = {}
        """Of every call that gives one tensor or several."""
        self._memory = Memory()

    def network(self) -> Network:
        """Return the network. Errors: UnderivableNetwork."""
        for node in self._traced.graph.nodes:
            if node.op == "placeholder":
                self._take_input(node)
            elif node.op == "output":
                return Network(self._nodes, self._output(node))
            elif node.op != "get_attr":
                self._take_call(node)
        raise AssertionError("every trace ends with its output")

    def _take_input(self, node: fx.Node) -> None:
        if node.args:  # an argument with a default, which is what it gets
            return
        if self._nodes:
            raise UnderivableNetwork(f"the module has several inputs ({self._nodes[0].name}, {node.target}); a network has one")
        self._nodes.append(Node(self._names.fresh(str(node.target)), Input(*self._input_shape)))
        self._values[node] = Value(self._nodes[0].name, self._input_shape)
        self._memory.fresh(node)

    def _output(self, node: fx.Node) -> str:
        given = node.args[0]
        if not isinstance(given, fx.Node) or given not in self._values or self._memory.is_changed(given):
            trouble = "the module returns no single tensor that depends on its input and is not changed in place after that"
            raise UnderivableNetwork(f"{trouble}; a network has one output")
        return self._values[given].node

    def _take_call(self, node: fx.Node) -> None:
        flowing = [one for one in node.all_input_nodes if one in self._values]
        if not flowing:
            return  # a constant
        if "tensor_meta" not in node.meta:  # a number, such as a size, or nothing at all
            if node.meta.get("type") is type(None):
                self._memory.change(flowing)
            return
        name, module = self._called(node)
        operations = self._operations(node, name, module, flowing)
        if isinstance(operations[0], Unbounded | Reshape | Identity):
            self._memory.share(node, flowing)
        else:
            self._memory.fresh(node)
        if _is_in_place(node, name, module) and operations != (Identity(),):
            self._memory.change(flowing[:1], but=node)
        self._append(node, str(node.target) if module is not None else name, operations, flowing)

    def _operations(self, node: fx.Node, name: str, module: Any, flowing: list[fx.Node]) -> Operations:
        shapeless = any(self._values[one].shape is None for one in flowing)
        output = _shape(node)
        try:
            if any(self._memory.is_changed(one) for one in flowing):
                raise Inexpressible(f"{name} of values that were changed in place")
            if shapeless or output is None or "out" in node.kwargs:
                raise Inexpressible(f"{name}, which has or gives several tensors or mixes samples")
            path = str(node.target) if module is not None else ""
            operands, named = self._with_values(node.args), self._with_values(node.kwargs)
            found = operations_of(Call(name, module, path, self._stored, operands, named, output))
            if tied := [one.weight for one in found if isinstance(one, Linear | Conv) and one.weight in self._tied]:
                raise Inexpressible(
                    f"{name} whose weight {tied[0]!r} is that of another name, too, by which it may be cut otherwise"
                )
            return found
        except Inexpressible as trouble:
            return (Unbounded(str(trouble)),)

    def _with_values(self, arguments: Any) -> Any:
        """Return arguments, nested as they are, with Values in the place of calls that give tensors."""

        def look_up(one: fx.Node) -> Any:
            return self._values.get(one, one)

        return fx.map_arg(arguments, look_up)

    def _append(self, node: fx.Node, wanted: str, operations: Operations, flowing: list[fx.Node]) -> None:
        taken = [self._values[one].node for one in flowing]
        for operation in operations:
            takes = taken if isinstance(operation, Add | Concat) else taken[:1]
            self._nodes.append(Node(self._names.fresh(wanted), operation, *takes))
            taken = [self._nodes[-1].name]
        self._values[node] = Value(taken[0], _shape(node))

    def _called(self, node: fx.Node) -> tuple[str, Any]:
        """Return what is called, by torch's name, and the module if it is one. Others than torch's own have a longer name."""
        if node.op == "call_method":
            return str(node.target), None
        if node.op == "call_function":
            target: Any = node.target
            name = getattr(target, "__name__", repr(target))
            known = any(getattr(home, name, None) is target for home in (torch, functional, operator))
            return (name if known else f"the function {name}"), None
        module = self._traced.get_submodule(str(node.target))
        name = type(module).__name__
        if not type(module).__module__.startswith("torch.nn.modules."):
            return f"the module {name}", module
        hooked = any(getattr(module, hooks) for hooks in ("_forward_hooks", "_forward_pre_hooks"))  # no other way to ask
        return (f"{name} with hooks" if hooked else name), module


def _tied(module: nn.Module) -> Container[str]:
    """Return the names of tensors of the state dict that share memory with another one, or with themselves."""
    return overlapping({name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)})


def _shape(node: fx.Node) -> Shape | None:
    """Return the shape of one sample of what a call gives; None for several tensors, or one that is not split by samples."""
    shape = getattr(node.meta["tensor_meta"], "shape", None)
    return tuple(shape[1:]) if shape is not None and len(shape) > 1 and shape[0] == BATCH else None


def _is_in_place(node: fx.Node, name: str, module: Any) -> bool:
    """Tell whether a call may write over its first tensor; a call that only looks like it costs nothing but a bound."""
    if module is not None:
        return bool(getattr(module, "inplace", False))
    told = node.kwargs.get("inplace") or any(one is True for one in node.args)
    return bool(told) or name.endswith("_") or (name.startswith("i") and hasattr(operator, f"__{name}__"))
