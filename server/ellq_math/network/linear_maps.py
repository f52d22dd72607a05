"""The linear steps of a network: the same weights applied to numbers, or to intervals with every rounding paid for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ellq_math.interruption import end_if_unwanted
from ellq_math.network.intervals import Interval, centre_and_radius, down, point, up
from ellq_math.network.nodes import Affine, BatchNorm, Conv, Pool
from ellq_math.network.tensors import Tensors
from ellq_math.network.topology import Step
from ellq_math.sums import UNIT_ROUNDOFF, Array, round_down, round_up

BUFFER = 1 << 19
"""Values of windows that are laid out at once (4 MiB); at least one position's."""

UNDERFLOW = 2.0**-1020
"""More than a product and its addition can lose where they underflow."""


class LinearMap(Protocol):
    """A linear step without its weights. They come as rows: (neurons, fan_in) float64."""

    @property
    def terms(self) -> int:
        """How many products each value is a sum of."""
        ...

    def apply(self, rows: Array, values: Array) -> Array:
        """Return the rows on the values, in float64 and added in any order. Shape: input shape -> output shape."""
        ...


@dataclass(frozen=True)
class Dense:
    """A matrix on a vector."""

    terms: int

    def apply(self, rows: Array, values: Array) -> Array:
        """Return rows @ values. Shape: (fan_in,) -> (neurons,)."""
        return rows @ values


@dataclass(frozen=True)
class Windows:
    """The same rows on every window of zero-padded channels: all but `kernel` as in a completed nodes.Conv."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    terms: int

    def apply(self, rows: Array, values: Array) -> Array:
        """Return every row on every window. Shape: (channels, ...) -> (neurons, ...)."""
        neurons = len(rows)
        grouped = rows.reshape(self.groups, neurons // self.groups, self.terms)
        windows = self._windows(values)
        out = windows.shape[1 : 1 + len(self.kernel)]
        found = np.empty((self.groups, neurons // self.groups, *out))
        for part in position_blocks(out, len(values) * prod(self.kernel)):
            block = np.moveaxis(windows[:, *part], range(1, 1 + len(out)), range(-len(out), 0))
            laid_out = block.reshape(self.groups, self.terms, -1)
            found[:, :, *part] = (grouped @ laid_out).reshape(found[:, :, *part].shape)
        return found.reshape(neurons, *out)

    def _windows(self, values: Array) -> Array:
        """Return a view of all windows. Shape: (channels, ...) -> (channels, *positions, *kernel)."""
        padded = with_padding(values, self.padding, 0.0)
        spans = tuple((length - 1) * gap + 1 for length, gap in zip(self.kernel, self.dilation, strict=True))
        windows = sliding_window_view(padded, spans, axis=tuple(range(1, padded.ndim)))
        return windows[:, *(slice(None, None, step) for step in self.stride + self.dilation)]


@dataclass(frozen=True)
class ChannelRows:
    """One row for each channel, on all of its values."""

    terms: int

    def apply(self, rows: Array, values: Array) -> Array:
        """Return every row on the values of its channel. Shape: (channels, ...) -> (channels,)."""
        return np.einsum("ct,ct->c", rows, values.reshape(rows.shape))


def with_padding(values: Array, padding: Sequence[int], padder: float) -> Array:
    """Return values with padding, begin and end of each axis in turn, behind the channels."""
    sides = [(0, 0), *zip(padding[::2], padding[1::2], strict=True)]
    return np.pad(values, sides, constant_values=padder)


def position_blocks(positions: Sequence[int], window: int) -> Iterator[tuple[slice, ...]]:
    """Yield boxes that make up all positions; the windows in each, of `window` values, fit in the buffer, or it is only one."""
    room = max(1, BUFFER // window)
    cuts: list[list[slice]] = []
    for length in reversed(positions):
        cuts.insert(0, [slice(start, start + room) for start in range(0, length, room)])
        room = max(1, room // length)
    for part in product(*cuts):
        end_if_unwanted()
        yield part


def layer_map(step: Step, weight_shape: tuple[int, ...]) -> LinearMap:
    """Return the map of a Linear or Conv whose tensor is stored in this shape."""
    match step.node.operation:
        case Conv(stride=stride, padding=padding, dilation=dilation, groups=groups):
            return Windows(weight_shape[2:], stride, padding, dilation, groups, step.fan_in)
        case _:
            return Dense(step.fan_in)


def mean_map(step: Step) -> tuple[LinearMap, Array]:
    """Return the map and the rows of a mean pool or global mean. The weights of the rows have met one rounding."""
    channels, *lengths = step.input_shapes[0] or (0,)
    match step.node.operation:
        case Pool(kernel=kernel, stride=stride, padding=padding):
            linear = Windows(kernel, stride, padding, (1,) * len(kernel), channels, prod(kernel))
        case _:
            linear = ChannelRows(prod(lengths))
    return linear, np.full((channels, linear.terms), 1 / linear.terms)


def enclose(linear: LinearMap, rows: Array, values: Interval, *, roundings: int = 0) -> Interval:
    """Return bounds of the rows on any values in the intervals, `roundings` being those that each weight has met.

    Around the image of the centres, whose roundings are at most gamma_n times that of the centres' magnitudes (n terms, any
    order); they ride in the radius, so that one product pays for both. Rows of zeros give exactly zero, as do values of zero.
    A sum that has overflowed on its way says nothing of where it would have ended: then there is no bound.
    """
    if values.zeros().all():
        return point(linear.apply(np.zeros_like(rows), values.low))
    centre, radius = centre_and_radius(values)
    growth = 2 * (linear.terms + roundings + 4) * UNIT_ROUNDOFF
    widened = np.where((centre == 0) & (radius == 0), 0.0, up(radius + growth * np.abs(centre)))
    reach = linear.apply(np.abs(rows), widened)
    live = rows.any(axis=1).reshape(-1, *[1] * (reach.ndim - 1))
    reach = np.where(live, up(reach * (1 + growth)) + linear.terms * UNDERFLOW, 0.0)
    middle = linear.apply(rows, centre)
    finite = np.isfinite(middle) & np.isfinite(reach)
    low, high = np.where(finite, down(middle - reach), -np.inf), np.where(finite, up(middle + reach), np.inf)
    return Interval(np.where(live, low, 0.0), np.where(live, high, 0.0))


def channel_line(step: Step, tensors: Tensors) -> tuple[Interval, Interval]:
    """Return bounds of scale and shift of a BatchNorm or Affine, scale x + shift; one for each channel, or one for all.

    Shape: (channels, 1, ...) or (1, 1, ...), to go with values. Variances are those that check_variances lets pass.
    """
    operation = step.node.operation
    if isinstance(operation, BatchNorm):
        scale, shift = _normalisation(operation, tensors)
    elif isinstance(operation, Affine):
        scale, shift = point(np.array(operation.scale or (1.0,))), point(np.array(operation.shift or (0.0,)))
    else:
        raise TypeError(f"node {step.node.name!r} has no scale and shift")
    rest = [1] * (len(step.shape or ()) - 1)
    return scale.reshape(-1, *rest), shift.reshape(-1, *rest)


def _normalisation(norm: BatchNorm, tensors: Tensors) -> tuple[Interval, Interval]:
    variance = tensors.original(norm.variance)
    root = np.sqrt(variance + norm.epsilon)
    root = np.where(np.isinf(root), np.nan, root)  # an overflow must not end as a factor of 0
    inverse = Interval(down(1 / round_up(root, roundings=2)), up(1 / round_down(root, roundings=2)))
    weight = tensors.original(norm.weight) if norm.weight is not None else np.ones(len(variance))
    shift = tensors.original(norm.bias) if norm.bias is not None else np.zeros(len(variance))
    scale = point(weight) * inverse
    return scale, point(shift) - point(tensors.original(norm.mean)) * scale
