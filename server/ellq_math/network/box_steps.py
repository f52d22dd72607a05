"""What each step makes of bounds that hold at every input in a box."""

from collections.abc import Callable
from dataclasses import dataclass

from ellq_math.network.activations import difference, image
from ellq_math.network.intervals import Interval, concatenate
from ellq_math.network.linear_maps import channel_line, enclose, mean_map
from ellq_math.network.max_pool import pooled_largest, pooled_largest_difference
from ellq_math.network.nodes import Activation, Add, Affine, BatchNorm, Concat, GlobalMean, Pool, PoolKind, Reshape, Softmax
from ellq_math.network.softmax import softmax_difference, softmax_image
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Step


@dataclass(frozen=True)
class Bounds:
    """Where the values of a node lie at every input in the box. All three of the node's shape."""

    before: Interval
    """In the original network."""
    after: Interval
    """In the changed one."""
    error: Interval
    """The one less the other: after - before, at one and the same input."""

    def settled(self) -> "Bounds":
        """Return the same with each bound narrowed by the others."""
        error = self.error & (self.after - self.before)
        return Bounds(self.before, self.after & (self.before + error), error)

    def is_finite(self) -> bool:
        """Tell whether nothing has overflowed."""
        return self.before.is_bounded() and self.after.is_bounded() and self.error.is_bounded()


def advance(step: Step, taken: list[Bounds], tensors: Tensors) -> Bounds:
    """Return the bounds of a step without neurons and with a bound, from those of what it takes."""
    first = taken[0]
    match step.node.operation:
        case Activation() as activation:
            error = difference(activation, first.before, first.after, first.error)
            return Bounds(image(activation, first.before), image(activation, first.after), error)
        case Pool(kind=PoolKind.MAX) as pool:
            error = pooled_largest_difference(pool, first.before, first.after, first.error)
            return Bounds(pooled_largest(pool, first.before), pooled_largest(pool, first.after), error)
        case Softmax():
            error = softmax_difference(first.before | first.after, first.error)
            return Bounds(softmax_image(first.before), softmax_image(first.after), error)
        case _:
            return _linear(step, taken, tensors)


def _linear(step: Step, taken: list[Bounds], tensors: Tensors) -> Bounds:
    """Return the bounds of a step by which errors go as values do, but for what it adds to them."""
    match step.node.operation:
        case Add():
            return _each(taken, lambda parts: sum(parts[1:], start=parts[0]))
        case Concat():
            return _each(taken, concatenate)
        case Reshape():
            return _each(taken, lambda parts: parts[0].reshape(*(step.shape or ())))
        case Pool() | GlobalMean():
            linear, rows = mean_map(step)
            return _each(taken, lambda parts: enclose(linear, rows, parts[0], roundings=1).reshape(*(step.shape or ())))
        case BatchNorm() | Affine():
            scale, shift = channel_line(step, tensors)
            before, after, error = (scale * part for part in (taken[0].before, taken[0].after, taken[0].error))
            return Bounds(before + shift, after + shift, error)
        case _:
            raise TypeError(f"node {step.node.name!r} has no bound of this kind")


def _each(taken: list[Bounds], function: Callable[[list[Interval]], Interval]) -> Bounds:
    return Bounds(
        function([one.before for one in taken]),
        function([one.after for one in taken]),
        function([one.error for one in taken]),
    )
