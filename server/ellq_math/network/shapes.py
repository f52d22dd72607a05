"""The shape that each operation gives, and whether what it takes and its tensors agree. Shapes leave out the batch axis."""

import math
from collections.abc import Mapping, Sequence

from ellq_math.network.nodes import (
    Activation,
    Add,
    Affine,
    BatchNorm,
    Concat,
    Conv,
    GlobalMean,
    Input,
    Linear,
    Operation,
    Pool,
    Reshape,
    Softmax,
    Unbounded,
)
from ellq_math.network.parameters import Misfit, check_parameters, complete_conv, complete_pool

Shape = tuple[int, ...]

MAX_VALUES = 2**31
"""Most values that a step may have, its padding counted."""

MAX_AXES = 8
"""Most axes of a shape."""


def settle(operation: Operation, taken: Sequence[Shape | None], tensors: Mapping[str, Shape]) -> tuple[Operation, Shape | None]:
    """Return the operation with complete parameters, and the shape it gives; `taken` are the shapes of what it takes.

    Behind a step whose shape nobody knows, no shape is known, and only what does not hang on it is checked and completed.
    Errors: Misfit.
    """
    operation = _complete(operation, taken, tensors)
    known = [shape for shape in taken if shape is not None]
    if isinstance(operation, Unbounded) or len(known) < len(taken):
        return operation, None
    shape = _shape(operation, known, tensors)
    if min(shape) < 1:
        raise Misfit(f"the shape is {shape}; allowed is 1 or more along every axis")
    if max(math.prod(shape), padded_values(operation, known)) > MAX_VALUES:
        raise Misfit(
            f"the values of shape {shape}, or what they are computed from with its padding, are more than {MAX_VALUES}"
        )
    return operation, shape


def padded_values(operation: Operation, taken: Sequence[Shape]) -> int:
    """Return how many values a convolution or pool takes with its padding; 0 for all others."""
    if not isinstance(operation, Conv | Pool):
        return 0
    channels, *lengths = taken[0]
    return channels * math.prod(_padded(lengths, operation.padding))


def _complete(operation: Operation, taken: Sequence[Shape | None], tensors: Mapping[str, Shape]) -> Operation:
    """Return the operation with complete parameters, its tensors known and of the right rank."""
    match operation:
        case Linear():
            _check_linear(operation, tensors)
        case Conv():
            return _completed_conv(operation, tensors)
        case Pool() if taken[0] is not None:
            return complete_pool(operation, axes=_spatial_axes(taken[0]))
        case BatchNorm():
            check_parameters(operation)
            for name in batch_norm_tensors(operation):
                if len(_tensor(name, tensors)) != 1:
                    raise Misfit(f"tensor {name!r} has shape {tensors[name]}; allowed is (channels,)")
        case Activation() | Affine() | Unbounded():
            check_parameters(operation)
        case _:
            pass
    return operation


def _shape(operation: Operation, taken: list[Shape], tensors: Mapping[str, Shape]) -> Shape:
    match operation:
        case Input(shape):
            if not shape:
                raise Misfit("the input has no axes; allowed is one or more")
            _check_axes(shape)
            return shape
        case Linear():
            return _linear_shape(operation, taken[0], tensors)
        case Conv():
            return _conv_shape(operation, taken[0], tensors)
        case Pool():
            channels, *lengths = taken[0]
            spans = operation.kernel
            return (channels, *_positions(lengths, operation.padding, spans, operation.stride))
        case Add():
            if len(set(taken)) > 1:
                raise Misfit(f"it adds values of shapes {_listed(taken)}; allowed are equal shapes")
        case Concat():
            if len({shape[1:] for shape in taken}) > 1:
                raise Misfit(f"it joins values of shapes {_listed(taken)}; allowed are shapes that agree beyond axis 0")
            return (sum(shape[0] for shape in taken), *taken[0][1:])
        case GlobalMean():
            if len(taken[0]) < 2:
                raise Misfit(f"it takes the mean of values of shape {taken[0]}; allowed is (channels, ...)")
            return taken[0][:1]
        case Reshape():
            return _reshaped(operation, taken[0])
        case BatchNorm() | Affine():
            _check_channels(operation, taken[0][0], tensors)
        case Softmax() if len(taken[0]) != 1:
            raise Misfit(f"it takes values of shape {taken[0]}; allowed is a vector, (values,)")
        case _:
            pass
    return taken[0]


def _check_linear(linear: Linear, tensors: Mapping[str, Shape]) -> None:
    weight = _tensor(linear.weight, tensors)
    if len(weight) != 2:
        raise Misfit(f"tensor {linear.weight!r} has shape {weight}; allowed is a matrix")
    _check_bias(linear.bias, weight[1 if linear.transposed else 0], tensors)


def _completed_conv(conv: Conv, tensors: Mapping[str, Shape]) -> Conv:
    weight = _tensor(conv.weight, tensors)
    if len(weight) not in (3, 4) or min(weight) < 1:
        raise Misfit(f"tensor {conv.weight!r} has shape {weight}; allowed is (out, in / groups, kernel...), three or four axes")
    conv = complete_conv(conv, axes=len(weight) - 2)
    if weight[0] % conv.groups:
        raise Misfit(f"groups is {conv.groups}; allowed is what divides the {weight[0]} channels that come out")
    _check_bias(conv.bias, weight[0], tensors)
    return conv


def _check_bias(name: str | None, neurons: int, tensors: Mapping[str, Shape]) -> None:
    if name is not None and _tensor(name, tensors) != (neurons,):
        raise Misfit(f"tensor {name!r} has shape {tensors[name]}; allowed is {(neurons,)}, one for each neuron")


def _linear_shape(linear: Linear, taken: Shape, tensors: Mapping[str, Shape]) -> Shape:
    weight = tensors[linear.weight]
    neurons, fan_in = reversed(weight) if linear.transposed else weight
    if taken != (fan_in,):
        raise Misfit(f"it takes values of shape {taken}; allowed is {(fan_in,)} for tensor {linear.weight!r} of shape {weight}")
    return (neurons,)


def _conv_shape(conv: Conv, taken: Shape, tensors: Mapping[str, Shape]) -> Shape:
    neurons, channels, *kernel = weight = tensors[conv.weight]
    if len(taken) != len(weight) - 1 or taken[0] != channels * conv.groups:
        axes = "length" if len(kernel) == 1 else "height, width"
        raise Misfit(
            f"it takes values of shape {taken}; allowed is ({channels * conv.groups}, {axes}) for tensor {conv.weight!r} of "
            f"shape {weight} in {conv.groups} groups"
        )
    spans = [(length - 1) * step + 1 for length, step in zip(kernel, conv.dilation, strict=True)]
    return (neurons, *_positions(taken[1:], conv.padding, spans, conv.stride))


def _check_axes(shape: Shape) -> None:
    if len(shape) > MAX_AXES:
        raise Misfit(f"the shape has {len(shape)} axes; allowed are {MAX_AXES}")


def _reshaped(reshape: Reshape, taken: Shape) -> Shape:
    _check_axes(reshape.shape)
    values = math.prod(taken)
    if reshape.shape and (min(reshape.shape) < 1 or math.prod(reshape.shape) != values):
        raise Misfit(f"it gives shape {reshape.shape} to values of shape {taken}; allowed are shapes of {values} values")
    return reshape.shape or (values,)


def _check_channels(operation: BatchNorm | Affine, channels: int, tensors: Mapping[str, Shape]) -> None:
    if isinstance(operation, Affine):
        for what, values in (("scale", operation.scale), ("shift", operation.shift)):
            if len(values) not in (0, 1, channels):
                raise Misfit(f"{what} has {len(values)} entries; allowed is one, or one for each of {channels} channels")
        return
    for name in batch_norm_tensors(operation):
        if tensors[name] != (channels,):
            raise Misfit(f"tensor {name!r} has shape {tensors[name]}; allowed is {(channels,)}, one for each channel")


def batch_norm_tensors(norm: BatchNorm) -> list[str]:
    """Return the names of its tensors."""
    return [name for name in (norm.weight, norm.bias, norm.mean, norm.variance) if name is not None]


def _tensor(name: str, tensors: Mapping[str, Shape]) -> Shape:
    if name not in tensors:
        raise Misfit(f"tensor {name!r} is not in the stream")
    return tensors[name]


def _spatial_axes(taken: Shape) -> int:
    if len(taken) not in (2, 3):
        raise Misfit(f"it takes values of shape {taken}; allowed is (channels, length) or (channels, height, width)")
    return len(taken) - 1


def _padded(lengths: Sequence[int], padding: Sequence[int]) -> list[int]:
    return [length + sum(padding[2 * axis : 2 * axis + 2]) for axis, length in enumerate(lengths)]


def _positions(lengths: Sequence[int], padding: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> list[int]:
    """Return how many windows fit along each axis."""
    for axis, (length, span) in enumerate(zip(lengths, spans, strict=True)):
        sides = padding[2 * axis : 2 * axis + 2]
        if max(sides) >= length + span:
            allowed = f"less than {length + span}, the values and a window"
            raise Misfit(f"padding is {max(sides)} beside {length} values for windows of {span}; allowed is {allowed}")
        if span > length + sum(sides):
            found = f"a window spans {span} positions of {length + sum(sides)}"
            raise Misfit(f"{found}, padding counted; allowed are windows that fit")
    padded = _padded(lengths, padding)
    return [(length - span) // stride + 1 for length, span, stride in zip(padded, spans, strides, strict=True)]


def _listed(shapes: Sequence[Shape]) -> str:
    distinct = list(dict.fromkeys(shapes))
    return ", ".join(str(shape) for shape in distinct[:3]) + (", ..." if len(distinct) > 3 else "")
