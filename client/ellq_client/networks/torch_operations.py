"""What one call in a traced torch module does, as operations of the contract: by its name and numbers, never by a guess.

No torch is imported here.
"""

from collections.abc import Callable
from typing import Any

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
from ellq_client.networks.torch_activations import ACTIVATIONS
from ellq_client.networks.torch_calls import Call, flat
from ellq_client.networks.torch_paddings import paddings_of
from ellq_client.networks.tracing import Inexpressible, Operations, Shape, Value


def operations_of(call: Call) -> Operations:
    """Return what a call does. Errors: Inexpressible."""
    name = call.name.lower().replace("_", "")
    if name in ACTIVATIONS:
        _ = call.input
        return (ACTIVATIONS[name](call),)
    if name in OTHERS and (call.module is not None or name not in MODULES_ONLY):
        return OTHERS[name](call)
    raise Inexpressible(call.name)


def _linear(call: Call) -> Operations:
    call.require(len(call.input) == 1, f"on shape {call.input}")
    weight = call.tensor("weight", 1)
    assert weight is not None, "every Linear has a weight"
    return (Linear(weight, call.tensor("bias", 2)),)


def _conv(call: Call) -> Operations:
    module = call.module
    call.require(module.padding_mode == "zeros", f"with padding mode {module.padding_mode!r}")
    call.require(len(call.input) == 1 + len(module.kernel_size), "on samples without a batch axis")
    weight = call.tensor("weight")
    assert weight is not None, "every convolution has a weight"
    return (Conv(weight, call.tensor("bias"), module.stride, paddings_of(module), module.dilation, module.groups),)


def _batch_norm(call: Call) -> Operations:
    mean, variance = call.tensor("running_mean"), call.tensor("running_var")
    if mean is None or variance is None:
        raise Inexpressible(f"{call.name} with the statistics of each batch")
    one = BatchNorm(
        mean=mean, variance=variance, epsilon=call.module.eps, weight=call.tensor("weight"), bias=call.tensor("bias")
    )
    return (one,)


def _pool(call: Call, kind: type[MaxPool] | type[MeanPool]) -> Operations:
    axes = len(call.input) - 1
    kernel, stride, padding = (
        _sizes(given, axes)
        for given in (
            call.argument("kernel_size", 1),
            call.argument("stride", 2) or call.argument("kernel_size", 1),
            call.argument("padding", 3, 0),
        )
    )
    whole = tuple(
        (size + 2 * pad - taps) // step + 1
        for size, taps, step, pad in zip(call.input[1:], kernel, stride, padding, strict=True)
    )
    call.require(call.output == (call.input[0], *whole), "whose last windows reach beyond the padding (ceil_mode)")
    return (kind(kernel, stride, padding),)


def _max_pool(call: Call) -> Operations:
    call.require(set(_sizes(call.argument("dilation", 4, 1), 1)) == {1}, "with dilation")
    call.require(not call.argument("return_indices", 6, default=False), "that returns indices")
    return _pool(call, MaxPool)


def _mean_pool(call: Call) -> Operations:
    unpadded = not any(_sizes(call.argument("padding", 3, 0), 1))
    call.require(unpadded or call.argument("count_include_pad", 5, default=True), "that leaves its padding out of the mean")
    call.require(call.argument("divisor_override", 6) is None, "with a divisor of its own")
    return _pool(call, MeanPool)


def _adaptive_mean_pool(call: Call) -> Operations:
    taken, given = call.input, call.output
    if all(size == 1 for size in given[1:]):
        return (GlobalMean(), Reshape(*given))
    divides = all(size % new == 0 for size, new in zip(taken[1:], given[1:], strict=True))
    call.require(divides, f"from {taken[1:]} to {given[1:]}, whose windows differ in length")
    kernel = tuple(size // new for size, new in zip(taken[1:], given[1:], strict=True))
    return (MeanPool(kernel, kernel),)


def _mean(call: Call) -> Operations:
    axes = len(call.input) + 1  # with the batch
    dims = {dim % axes for dim in flat(call.argument("dim", 1)) if isinstance(dim, int)}
    call.require(axes > 2 and dims == set(range(2, axes)), "over other axes than all but the channels")
    return (GlobalMean(), Reshape(*call.output)) if len(call.output) > 1 else (GlobalMean(),)


def _reshape(call: Call) -> Operations:
    _ = call.input
    return (Reshape(*call.output) if len(call.output) > 1 else Reshape(),)


def _softmax(call: Call) -> Operations:
    dim = call.argument("dim", 1)
    call.require(len(call.input) == 1 and dim in (None, 1, -1), f"over axis {dim} of shape {call.input}")
    return (Softmax(),)


def _add(call: Call) -> Operations:
    call.require(call.argument("alpha", 2, 1) == 1, "with a factor alpha")
    values = call.values
    if len(values) == 1:
        return (Affine(shift=_number(call)),)
    call.require(len(values) == 2 and values[0].shape == values[1].shape, "of shapes that are not equal")
    return (Affine(scale=2),) if values[0] == values[1] else (Add(),)


def _scaled(call: Call) -> Operations:
    return (Affine(scale=_number(call)),)


def _number(call: Call) -> float:
    """Return the number in `value + number` or `number * value`."""
    others = [one for one in call.operands if not isinstance(one, Value)]
    call.require(len(call.values) == 1 and len(others) == 1 and isinstance(others[0], int | float), "of other than a number")
    return float(others[0])


def _concat(call: Call) -> Operations:
    dim = call.argument("dim", 1, 0)
    call.require(dim in (1, -len(call.output)), f"along axis {dim}")
    nodes = [value.node for value in call.values]
    call.require(len(nodes) > 1 and len(nodes) == len(set(nodes)), "of one tensor")
    return (Concat(),)


def _sizes(given: Any, axes: int) -> Shape:
    """Return one entry for each spatial axis."""
    found = tuple(flat(given))
    return found if len(found) > 1 else found * axes


OTHERS: dict[str, Callable[[Call], Operations]] = {
    "linear": _linear,
    "conv1d": _conv,
    "conv2d": _conv,
    "batchnorm1d": _batch_norm,
    "batchnorm2d": _batch_norm,
    "maxpool1d": _max_pool,
    "maxpool2d": _max_pool,
    "avgpool1d": _mean_pool,
    "avgpool2d": _mean_pool,
    "adaptiveavgpool1d": _adaptive_mean_pool,
    "adaptiveavgpool2d": _adaptive_mean_pool,
    "mean": _mean,
    "flatten": _reshape,
    "unflatten": _reshape,
    "view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "softmax": _softmax,
    "add": _add,
    "iadd": _add,
    "mul": _scaled,
    "imul": _scaled,
    "cat": _concat,
    "concat": _concat,
}
"""Everything else."""

MODULES_ONLY = ("conv1d", "conv2d", "batchnorm1d", "batchnorm2d")
"""What reads the settings of a module."""
