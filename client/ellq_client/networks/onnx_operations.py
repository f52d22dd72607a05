"""What one node of an ONNX graph does, as operations of the contract: by its type and numbers, never by a guess.

No onnx is imported here.
"""

from collections.abc import Callable
from math import prod

import numpy as np

from ellq_client.networks.onnx_activations import ACTIVATIONS
from ellq_client.networks.onnx_calls import Call, Constant
from ellq_client.networks.operations import (
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Linear,
    MaxPool,
    MeanPool,
    Reshape,
    Softmax,
)
from ellq_client.networks.tracing import Inexpressible, Operations, Shape, Value


def operations_of(call: Call) -> Operations:
    """Return what a node does; only the first operation may take several nodes. Errors: Inexpressible."""
    if call.kind in ACTIVATIONS:
        _ = call.input
        return (ACTIVATIONS[call.kind](call),)
    if call.kind in OTHERS:
        return OTHERS[call.kind](call)
    raise Inexpressible(call.kind)


def per_channel(call: Call, constant: Constant) -> tuple[float, ...]:
    """Return one number for each channel, or one for all.

    Errors: Inexpressible for constants that differ within a channel, and for initializers that a rule could cut: the network
    would hold the numbers of before, and its certificate would know nothing of the cut.
    """
    array = constant.array
    call.require(constant.name is None or array.ndim < 2, "of an initializer with two axes or more, which compression may cut")
    if array.size == 1 and array.ndim <= len(call.shape) + 1:
        return (float(array.reshape(())),)
    trailing = (call.shape[0], *(1,) * (len(call.shape) - 1))
    call.require(array.shape in (trailing, (1, *trailing)), "of a constant that is none of one number for each channel")
    return tuple(array.reshape(-1).astype(np.float64).tolist())


def _gemm(call: Call) -> Operations:
    given = call.attributes
    plain = given.get("alpha", 1.0) == 1 and given.get("beta", 1.0) == 1 and not given.get("transA", 0)
    call.require(plain and len(call.shape) == 1, "with alpha, beta or transA")
    return (Linear(call.needed_tensor(1, 2), call.tensor(2, 1), transposed=not given.get("transB", 0)),)


def _matmul(call: Call) -> Operations:
    weight = call.needed_tensor(1, 2)
    call.require(len(call.shape) == 1, f"on shape {call.shape}")
    return (Linear(weight, transposed=True),)


def _conv(call: Call) -> Operations:
    given, axes = call.attributes, len(call.shape) - 1
    weight = call.needed_tensor(1, axes + 2)
    call.require(axes in (1, 2), f"in {axes} dimensions")
    ones = (1,) * axes
    strides, dilations = tuple(given.get("strides", ones)), tuple(given.get("dilations", ones))
    return (Conv(weight, call.tensor(2, 1), strides, _pads(call, axes), dilations, given.get("group", 1)),)


def _pads(call: Call, axes: int) -> Shape:
    """Return (begin, end) of each axis; ONNX has all beginnings first."""
    call.require(call.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "with auto_pad")
    pads = call.attributes.get("pads", (0,) * (2 * axes))
    return tuple(side for axis in range(axes) for side in (pads[axis], pads[axes + axis]))


def _batch_norm(call: Call) -> Operations:
    call.require(not call.attributes.get("training_mode", 0), "with the statistics of each batch")
    weight, bias, mean, variance = (call.needed_tensor(place, 1) for place in (1, 2, 3, 4))
    epsilon = call.attributes.get("epsilon", float(np.float32(1e-5)))
    return (BatchNorm(mean=mean, variance=variance, epsilon=epsilon, weight=weight, bias=bias),)


def _pool(call: Call, kind: type[MaxPool] | type[MeanPool]) -> Operations:
    given, axes = call.attributes, len(call.shape) - 1
    call.require(axes in (1, 2), f"in {axes} dimensions")
    call.require(not given.get("ceil_mode", 0), "whose last windows reach beyond the padding (ceil_mode)")
    call.require(set(given.get("dilations", (1,))) == {1}, "with dilation")
    # The contract's default stride is the kernel, that of ONNX is 1.
    return (kind(tuple(call.needed_attribute("kernel_shape")), tuple(given.get("strides", (1,) * axes)), _pads(call, axes)),)


def _mean_pool(call: Call) -> Operations:
    whole = call.attributes.get("count_include_pad", 0) or not any(call.attributes.get("pads", ()))
    call.require(bool(whole), "that leaves its padding out of the mean")
    return _pool(call, MeanPool)


def _global_mean(call: Call) -> Operations:
    return GlobalMean(), Reshape(call.shape[0], *(1,) * (len(call.shape) - 1))


def _reduce_mean(call: Call) -> Operations:
    constant = call.constant(1)
    axes = call.attributes.get("axes", ()) if constant is None else constant.array.tolist()
    rank = len(call.shape) + 1
    call.require(
        rank > 2 and {axis % rank for axis in axes} == set(range(2, rank)), "over other axes than all but the channels"
    )
    return _global_mean(call) if call.attributes.get("keepdims", 1) else (GlobalMean(),)


def _flatten(call: Call) -> Operations:
    call.require(call.attributes.get("axis", 1) == 1, "that mixes samples")
    return (Reshape(),)


def _reshape(call: Call) -> Operations:
    wanted = call.constant(1)
    call.require(wanted is not None and not call.attributes.get("allowzero", 0), "to a shape that is no constant")
    assert wanted is not None, "just refused"
    first, *given = wanted.array.reshape(-1).tolist()
    rest = [call.shape[axis] if size == 0 and axis < len(call.shape) else size for axis, size in enumerate(given)]
    if -1 in rest and first in (0, call.batch):  # the samples are split as before, so that one size may follow
        rest[rest.index(-1)] = prod(call.shape) // max(1, prod(size for size in rest if size != -1))
    fits = min(rest, default=0) > 0 and prod(rest) == prod(call.shape)
    call.require(fits and first in (0, -1, call.batch), f"to {(first, *given)}, which may mix samples")
    return (Reshape(*rest),)


def _add(call: Call) -> Operations:
    left, right = call.pair()
    if isinstance(left, Value) and isinstance(right, Value):
        call.require(left.shape is not None and left.shape == right.shape, "of shapes that are not equal")
        return (Affine(scale=2),) if left == right else (Add(),)
    return (Affine(shift=per_channel(*_turned(call))),)


def _mul(call: Call) -> Operations:
    return (Affine(scale=per_channel(*_turned(call))),)


def _turned(call: Call) -> tuple[Call, Constant]:
    """Return a commutative call with its constant last, and the constant."""
    left, right = call.pair()
    if isinstance(left, Constant):
        left, right = right, left
    call.require(isinstance(left, Value) and isinstance(right, Constant), "of two tensors")
    assert isinstance(right, Constant), "just refused"
    return Call(call.kind, (left, right), call.attributes, call.batch), right


def _concat(call: Call) -> Operations:
    nodes = [one.node for one in call.inputs if isinstance(one, Value)]
    call.require(len(nodes) == len(call.inputs) == len(set(nodes)) > 1, "of constants, or of one tensor")
    axis = call.needed_attribute("axis")
    call.require(axis in (1, -len(call.shape)), f"along axis {axis}")
    return (Concat(),)


def _softmax(call: Call) -> Operations:
    call.require(len(call.shape) == 1 and call.attributes.get("axis", -1) in (1, -1), "of more than a vector")
    return (Softmax(),)


OTHERS: dict[str, Callable[[Call], Operations]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "MaxPool": lambda call: _pool(call, MaxPool),
    "AveragePool": _mean_pool,
    "GlobalAveragePool": _global_mean,
    "ReduceMean": _reduce_mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Add": _add,
    "Mul": _mul,
    "Concat": _concat,
    "Softmax": _softmax,
}
"""Everything else."""
