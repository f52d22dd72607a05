"""Nodes of a network to their messages and back, by the names of their fields."""

from dataclasses import fields
from typing import Any, get_args

from ellq.v1 import compression_pb2 as pb
from ellq_client.errors import InvalidNetwork
from ellq_client.mirror import enum_name, enum_word
from ellq_client.networks.activations import Activation
from ellq_client.networks.operations import MaxPool, MeanPool, Operation

_ACTIVATIONS: dict[str, Any] = {one.function: one for one in get_args(Activation)}
_POOLS: dict[str, Any] = {one.function: one for one in (MaxPool, MeanPool)}
_OTHERS: dict[str, Any] = {one.kind: one for one in get_args(Operation) if not hasattr(one, "function")}
_VARIADIC = ("input", "reshape")
_ACTIVATION_KIND = pb.DESCRIPTOR.enum_types_by_name["ActivationKind"]
_POOL_KIND = pb.DESCRIPTOR.enum_types_by_name["PoolKind"]


def operation_to_proto(operation: Operation, message: pb.Node) -> None:
    """Write the operation into the message of its node. Errors: InvalidNetwork naming node and field."""
    if not isinstance(operation, Operation):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without a type checker
        raise InvalidNetwork(f"node {message.name!r}: {operation!r} is no operation")
    part = getattr(message, operation.kind)
    part.SetInParent()
    for name, value in _wire_fields(operation).items():
        try:
            if isinstance(value, tuple):
                getattr(part, name).extend(value)
            elif value is not None:
                setattr(part, name, value)
        except (TypeError, ValueError) as error:
            raise InvalidNetwork(f"node {message.name!r}: {value!r} is no {name} of {operation.kind}: {error}") from error


def operation_from_proto(message: pb.Node) -> Operation:
    """Return the operation of a node. Errors: InvalidNetwork for one that this version does not know."""
    kind = message.WhichOneof("operation")
    part: Any = getattr(message, kind) if kind else None
    if kind == "activation":
        made = _ACTIVATIONS.get(enum_word(_ACTIVATION_KIND, part.kind) or "")
        values = {} if made is None else dict(zip((one.name for one in fields(made)), part.parameters, strict=False))
        complete = made is not None and len(fields(made)) == len(part.parameters)
    elif kind == "pool":
        made = _POOLS.get(enum_word(_POOL_KIND, part.kind) or "")
        values, complete = _values_of(made, part), made is not None
    else:
        made = _OTHERS.get(kind or "")
        values, complete = _values_of(made, part), made is not None
    if made is None or not complete:
        raise InvalidNetwork(f"node {message.name!r} has no operation that this version knows")
    return made(*values["shape"]) if kind in _VARIADIC else made(**values)


def _wire_fields(operation: Operation) -> dict[str, Any]:
    """Return what goes into the message of an operation, by the contract's names."""
    values = {one.name: getattr(operation, one.name) for one in fields(operation)}
    if isinstance(operation, Activation):
        return {"kind": enum_name(_ACTIVATION_KIND, operation.function), "parameters": tuple(values.values())}
    if isinstance(operation, MaxPool | MeanPool):
        return {"kind": enum_name(_POOL_KIND, operation.function), **values}
    return values


def _values_of(made: Any, part: Any) -> dict[str, Any]:
    """Return the fields of a message as those of a value: lists are tuples, a missing name is None, no groups are one."""
    values: dict[str, Any] = {}
    for one in () if made is None else fields(made):
        value = getattr(part, one.name)
        if isinstance(value, str):
            values[one.name] = value or None
        elif one.name == "groups":
            values[one.name] = value or 1
        else:
            values[one.name] = value if isinstance(value, bool | float) else tuple(value)
    return values
